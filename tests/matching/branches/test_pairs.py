from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isckit import config
from isckit.engine.distributed import Process
from isckit.matching.branches.pairs import first_pass, fused, matches, selected
from isckit.matching.inputs import MatchingInputs
from isckit.models.pair import PairClassifier
from isckit.runs.checkpoints import write_weights
from isckit.runs.run import Run
from isckit.runs.workspace import Workspace
from isckit.types import Matches, MissingInput
from isckit.views.geometry import view_set

NETWORKS = tuple(
    config.PairNetwork(
        name=name, backbone=config.Backbone(name="test_resnet"), image_size=32, canvas=64, tokens=8, grey=grey
    )
    for name, grey in (("a", True), ("b", False))
)
BRANCH = config.Pairs(
    networks=NETWORKS,
    candidates=("whole", "left"),
    halves=(config.Half(branch="left", side="left"), config.Half(branch="right", side="right")),
    keep=2,
)
ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 2), st.sampled_from([0.1, 0.2, 0.5, 0.9])),
    max_size=40,
)


def pairs(disc, rows):
    rows = np.array(rows, np.int64).reshape(-1, 2)
    return Matches(disc.queries.ids[rows[:, 0]], disc.references.ids[rows[:, 1]], np.zeros(len(rows)))


@given(ROWS, st.integers(0, 3), st.sampled_from([0.0, 0.2, 0.95]))
def test_the_pairs_that_go_on_are_the_best_of_each_query_by_brute_force(rows, keep, floor):
    table = np.array([row[:2] for row in rows], np.int64).reshape(-1, 2)
    scores = np.array([row[3] for row in rows])
    best = {}
    for query, reference, _, score in rows:
        best[query, reference] = max(score, best.get((query, reference), -1))
    wanted = []
    for query in range(4):
        own = sorted((-s, r) for (q, r), s in best.items() if q == query and s >= floor)
        wanted += sorted((query, r) for _, r in (own[:keep] if keep else own))
    assert list(map(tuple, selected(table, scores, floor=floor, keep=keep).tolist())) == wanted


def test_scores_are_fused_by_the_maximum_over_views_and_the_mean_over_networks():
    scores = np.random.default_rng(0).random((5 * 8, 3)).astype(np.float32)
    for k in range(5):
        wanted = np.mean([max(scores[8 * k + v, n] for v in range(8)) for n in range(3)])
        assert fused(scores, views=8)[k] == pytest.approx(wanted)


def test_the_first_pass_asks_for_all_candidates_whole_and_for_halves_where_their_views_lie(disc):
    views = view_set(("halves",))
    found = {
        "whole": pairs(disc, [(0, 1), (2, 3), (0, 1)]),
        "left": pairs(disc, [(0, 1), (1, 5)]),
        "right": pairs(disc, [(4, 4)]),
    }
    asked = first_pass(disc.queries, disc.references, BRANCH, found, views=views)
    named = sorted((q, r, views[v].name) for q, r, v in asked.tolist())
    assert named == [
        (0, 1, "left"), (0, 1, "whole"), (1, 5, "left"), (1, 5, "whole"), (2, 3, "whole"), (4, 4, "right")
    ]  # fmt: skip


@pytest.fixture
def scene(disc, tmp_path):
    recipe = config.Recipe(name="x", members=(config.Gist(),))
    run = Run(Workspace(tmp_path), "run", recipe)
    torch.manual_seed(1)
    weights = {
        f"{settings.name}.{key}": value
        for settings in NETWORKS
        for key, value in PairClassifier(settings).state_dict().items()
    }
    write_weights(run.weights, weights, recipe="")
    return MatchingInputs(
        run, "queries", "references", disc.queries.ids, disc.references.ids, 100,
        {"queries": disc.queries, "references": disc.references}, Process(torch.device("cpu")),
    )  # fmt: skip


EVERY = [(q, r) for q in range(5) for r in range(4)]


def table(found):
    return dict(
        zip(zip(found.query_ids.tolist(), found.reference_ids.tolist(), strict=True), found.scores, strict=True)
    )


def test_a_score_is_the_same_whatever_the_other_candidates(disc, scene):
    branch = replace(BRANCH, keep=0)
    empty = pairs(disc, [])
    many = table(matches(scene, branch, {"whole": pairs(disc, EVERY), "left": empty, "right": empty}))
    assert len(many) == len(EVERY) and all(0 < score < 1 for score in many.values())
    assert len(set(many.values())) > 5
    other = replace(scene, run=replace(scene.run, name="other"))
    write_weights(other.run.weights, _weights(scene), recipe="")
    few = table(matches(other, branch, {"whole": pairs(disc, EVERY[3:7]), "left": empty, "right": empty}))
    assert len(few) == 4
    for pair, score in few.items():
        assert score == pytest.approx(many[pair], abs=1e-5)


def test_only_so_many_of_a_query_are_kept_and_an_unopened_set_is_told(disc, scene):
    empty = pairs(disc, [])
    found = {"whole": pairs(disc, EVERY), "left": empty, "right": empty}
    kept = matches(scene, BRANCH, found)
    assert np.unique(kept.query_ids, return_counts=True)[1].tolist() == [2] * 5
    with pytest.raises(MissingInput, match="--data"):
        matches(replace(scene, images={}), BRANCH, found)


def _weights(scene):
    from isckit.runs.checkpoints import read_weights

    return read_weights(scene.run.weights)
