import numpy as np
import pytest
from spoiled import case_of, change_recipe

from isckit import config
from isckit.judge.rules.experiments.contestant import Drawn
from isckit.judge.rules.experiments.trials import Sample
from isckit.judge.rules.independence import (
    Gap,
    _verdict,
    dependences,
    independent_descriptors,
    independent_pairs,
    matching_steps,
)
from isckit.recipes.catalogue import recipe

NETWORK = config.PairNetwork()
ROWS, SHARE = config.Cut(by="rows", amount=10), config.Cut(by="share", amount=0.001)
NEIGHBOURS = config.Cut(by="neighbours", amount=10)


def settings(*branches, **more):
    return config.Recipe(
        name="x",
        members=(config.Gist(), config.Gist(name="network")),
        matching=config.Matching(branches=branches, **more),
    )


def agreement(cut):
    return config.Agreement(name="agreement", members=("gist",), need=1, cut=cut)


def pairs(keep):
    return config.Pairs(networks=(NETWORK,), candidates=("views",), keep=keep)


VIEWS, BY_SHARE = config.Views(cut=ROWS), config.Views(cut=SHARE)
NEAREST = config.Local(vote=config.Vote(by="nearest"))
CASES = [
    (settings(VIEWS), []),
    (settings(VIEWS, best_per_query=1), ["matching.best_per_query=1"]),
    (settings(config.Views(cut=NEIGHBOURS)), ["matching.branches.views.cut.by=neighbours"]),
    (settings(config.Views(cut=NEIGHBOURS), fusion=config.Ranks()),
     ["matching.branches.views.cut.by=neighbours", "matching.fusion.kind=ranks"]),
    (settings(BY_SHARE, NEAREST), ["matching.branches.local.vote.by=nearest"]),
    (settings(BY_SHARE, config.Local(vote=config.Vote(by="radius")), fusion=config.Sum()), []),
    (settings(BY_SHARE, config.Local(vote=None, candidates=("views",))), []),
    (settings(VIEWS, config.Local(vote=None, candidates=("views",))), ["matching.branches.views.cut.by=rows"]),
    (settings(VIEWS, config.Local(), fusion=config.Sum()), ["matching.branches.views.cut.by=rows"]),
    (settings(VIEWS, fusion=config.TopMean()), ["matching.branches.views.cut.by=rows"]),
    (settings(VIEWS, config.Local()), []),
    (settings(agreement(ROWS)), ["matching.branches.agreement.cut.by=rows"]),
    (settings(agreement(SHARE), fusion=config.TopMean()), []),
    (settings(BY_SHARE, pairs(100), fused=("pairs",)), ["matching.branches.pairs.keep=100"]),
    (settings(BY_SHARE, pairs(0), fused=("pairs",)), []),
    (settings(config.Asmk(member="gist", cut=NEIGHBOURS)), ["matching.branches.asmk.cut.by=neighbours"]),
]  # fmt: skip


@pytest.mark.parametrize(("system", "settings_told"), CASES)
def test_each_step_that_looks_at_other_images_is_told_and_no_other(system, settings_told):
    found = dependences(system)
    assert [step.setting for step in found] == settings_told
    assert all(step.source and step.remedy and step.setting in str(step) for step in found)


def test_the_remedy_of_each_is_a_setting_that_is_told_no_more():
    system = settings(config.Views(cut=NEIGHBOURS), NEAREST, best_per_query=1)
    told = [step.remedy.split(",")[0] for step in dependences(system)]
    assert dependences(config.override(system, [*told, "matching.branches.views.cut.amount=0.1"])) == []


@pytest.mark.parametrize("name", ["baseline", "baseline.mini", "baseline.tiny"])
def test_the_baseline_looks_at_no_other_images(name):
    assert dependences(recipe(name)) == []


def test_steps_are_branches_fusion_and_what_comes_after():
    system = settings(BY_SHARE, config.Local(name="sift"), fusion=config.Sum(), best_per_query=1)
    assert matching_steps(system) == [
        *("views", "local sift", "fusion sum", "best 1 of each query", "best rows of all")
    ]


# --- what the rule says of them


def test_without_experiments_each_track_is_told_by_its_own_steps(copy):
    change_recipe(copy, lambda values: values["matching"].update(best_per_query=1))
    vectors, scores = independent_descriptors(case_of(copy)), independent_pairs(case_of(copy))
    assert (vectors.status, vectors.level, vectors.detail) == ("passed", "declared", "not run")
    assert vectors.examined == "steps of the recipe: ensemble, subtract, stretch"
    assert (scores.status, scores.level) == ("passed", "declared")
    assert scores.examined == "steps of the recipe: views, fusion best, best 1 of each query, best rows of all"
    assert scores.detail.startswith("not run; looks at other images: matching.best_per_query=1: ")
    assert "separate (2nd) and imgFp (3rd)" in scores.detail and "matching.best_per_query=0" in scores.detail


def test_experiments_decide_and_the_steps_stand_beside(done):
    nothing = Drawn(None, np.arange(1), np.array(["Q0"]))
    drawn = Sample(nothing, nothing, {}, 0.05)
    case, notes = case_of(done), ["looks at other images: x"]
    passed = _verdict(case, [Gap("half", "Q0,R0", 0.0)], "scores", drawn=drawn, notes=notes)
    assert (passed.status, passed.level, passed.detail) == ("passed", "sampled", notes[0])
    failed = _verdict(case, [Gap("half", "Q0,R0", 1.0)], "scores", drawn=drawn, notes=notes)
    assert failed.status == "failed" and failed.detail.endswith(f"differ (Q0,R0 by 1); {notes[0]}")
    assert _verdict(case, [Gap("half", "Q0,R0", 0.0)], "scores", drawn=drawn).detail == ""
