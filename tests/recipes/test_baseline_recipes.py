import inspect
import itertools
import json

import pytest
import torch
from recipes.facts import Fact

from isckit import config
from isckit.augment.pipelines import find
from isckit.models.members import build
from isckit.recipes import hashes, organisers, parajuli

FULL = {
    f().name: f
    for f in (
        hashes.pdq, hashes.phash, organisers.gist, organisers.multigrain,
        parajuli.orb, parajuli.triplet, parajuli.deeprank,
    )
}  # fmt: skip
MINIS = {f().name: f for f in (organisers.multigrain_mini, parajuli.triplet_mini, parajuli.deeprank_mini)}
EVERY = FULL | MINIS
NET, VIEWS = "members.network", "matching.branches.views"
RAW: list[Fact] = [(f"{VIEWS}.norm_factor", 0.0, "C", "no normalisation"), ("normalise", (), "C", "no normalisation")]
STAGES: list[Fact] = [
    (f"{NET}.image_size", 160, "C", "input"),
    (f"{NET}.stages.semi_hard.loss.margin", 0.2, "R", "slides"),
    (f"{NET}.stages.semi_hard.loss.improved", True, "R", "slides"),
    (f"{NET}.stages.semi_hard.loss.mining", "semi_hard", "R", "order"),
    (f"{NET}.stages.hard.loss.mining", "hard", "R", "order"),
    (f"{NET}.stages.semi_hard.batch_images", 100, "C", "triplets drawn"),
    (f"{NET}.stages.semi_hard.loss.triplets", 32, "C", "triplets kept, 16 to 32"),
    (f"{NET}.stages.semi_hard.images_per_epoch", 25_000, "R", "queries an epoch"),
    (f"{NET}.stages.semi_hard.data.every", 5, "R", "200,000 of a million train images"),
    (f"{NET}.stages.semi_hard.optim.name", "adam", "C", "optimiser"),
    (f"{NET}.stages.semi_hard.optim.lr", 1e-4, "C", "first rate"),
    (f"{NET}.stages.mined_5.optim.lr", 1e-7, "C", "last rate"),
    (f"{NET}.stages.mined_1.data.negatives", "mined", "C", "offline mining"),
    (f"{NET}.backbone.name", "resnet50.a1_in1k", "I", "in place of Keras' weights"),
]
PUBLISHED: dict[str, list[Fact]] = {
    "pdq": [*RAW, ("members.hash.method", "pdq", "C", ""), ("ensemble.dim", 256, "C", "bits")],
    "phash": [*RAW, ("members.hash.method", "phash", "C", ""), ("ensemble.dim", 64, "C", "bits")],
    "gist": [
        *RAW,
        (f"{VIEWS}.space.dim", 0, "C", "960 values as they are"),
        ("ensemble.dim", 256, "C", "PCA"),
        ("ensemble.whiten", 0.0, "C", "no whitening"),
        ("ensemble.fit_images", 10_000, "C", "the tool's default"),
    ],
    "multigrain": [
        (f"{NET}.backbone.name", "resnet50", "C", "trunk"),
        (f"{NET}.backbone.normalisation", "imagenet", "C", "statistics"),
        (f"{NET}.head.kind", "none", "C", "no classifier"),
        (f"{NET}.gem_p", 7.0, "C", "GeM"),
        (f"{NET}.gem_learnable", False, "C", "GeM"),
        (f"{NET}.image_size", 512, "C", "longer side"),
        (f"{VIEWS}.space.dim", 1_500, "C", "PCA"),
        (f"{VIEWS}.space.whiten", 0.5, "C", "eigenvalue power -0.5"),
        (f"{VIEWS}.space.fit_images", 10_000, "C", "PCA"),
        (f"{VIEWS}.norm_factor", 2.0, "C", "score normalisation"),
        (f"{VIEWS}.norm_first", 10, "C", "the tenth train image"),
        (f"{VIEWS}.norm_last", 10, "C", "the tenth train image"),
    ],
    "orb": [
        ("matching.branches.orb.keypoints.kind", "orb", "C", "points"),
        ("matching.branches.orb.keypoints.points", 400, "C", "points"),
        ("matching.branches.orb.keypoints.levels", 8, "C", "pyramid"),
        ("matching.branches.orb.vote.radius", 60.0, "C", "Hamming distance"),
        ("matching.branches.orb.vote.least_votes", 10, "C", "matches"),
    ],
    "triplet": [
        *RAW,
        *STAGES,
        (f"{NET}.backbone.frozen", "but_last", "C", "trainable from conv5 on"),
        (f"{NET}.pooling", "flatten", "C", "head"),
        (f"{NET}.head.kind", "dense", "C", "head"),
        (f"{NET}.head.widths", (256, 256), "C", "head"),
        (f"{NET}.head.dropout", 0.3, "C", "0.3 to 0.5"),
        (f"{NET}.dim", 256, "C", "head"),
    ],
    "deeprank": [
        *RAW,
        *STAGES,
        (f"{NET}.backbone.frozen", "all", "C", "branch 1"),
        (f"{NET}.backbone.shallow", True, "C", "branches 2 and 3"),
        (f"{NET}.pooling", "mean", "C", "branch 1"),
        (f"{NET}.head.widths", (4_096, 4_096), "C", "branch 1"),
        (f"{NET}.head.dropout", 0.6, "C", "branch 1"),
        (f"{NET}.dim", 4_096, "C", "embedding"),
        (f"{VIEWS}.space.dim", 0, "C", "4096 values as they are"),
    ],
}


def value_at(node, path):
    for part in path.split("."):
        if isinstance(node, dict):
            node = node[part]
        else:
            (node,) = [item for item in node if part in (item.get("name"), item.get("kind"))]
    return node


@pytest.mark.parametrize("name", FULL)
def test_every_published_value_is_the_recipes(name):
    values = config.to_dict(FULL[name]())
    assert not [(fact, value_at(values, fact[0])) for fact in PUBLISHED[name] if value_at(values, fact[0]) != fact[1]]


@pytest.mark.parametrize("name", EVERY)
def test_a_baseline_round_trips_through_json_and_says_how_it_is_run_and_where_it_comes_from(name):
    recipe = EVERY[name]()
    assert config.from_dict(json.loads(config.to_json(recipe))) == recipe
    text = inspect.getdoc(EVERY[name])
    assert name in text.split("Command:")[1].splitlines()[0].split() and "Published:" in text
    assert name in ("gist", *MINIS) or "Not reproduced:" in text


@pytest.mark.parametrize("name", EVERY)
def test_a_baselines_pipelines_and_backbones_exist_and_its_weights_are_declared(name):
    import timm

    recipe = EVERY[name]()
    assert all(find(view) for stage in recipe.stages for view in stage.views)
    networks = [member for member in recipe.members if isinstance(member, config.Network)]
    outside = [network for network in networks if network.backbone.pretrained != "none"]
    assert len(recipe.external) == len(outside)
    for network, entry in zip(outside, recipe.external, strict=True):
        assert timm.is_model(network.backbone.name) and entry.licence
        if network.backbone.pretrained == "hub":
            assert timm.get_pretrained_cfg(network.backbone.name).license == entry.licence.lower()
        else:
            assert network.backbone.pretrained == entry.name


@pytest.mark.parametrize("name", EVERY)
def test_members_of_a_baseline_can_be_built(name):
    for member in EVERY[name]().members:
        if isinstance(member, config.Network):
            member = config.replace(member, backbone=config.replace(member.backbone, pretrained="none"))
        with torch.device("meta"):
            built = build(member)
        assert built.dim == getattr(member, "dim", built.dim)


def test_rounds_of_mining_shrink_by_a_tenth_to_a_fifth():
    counts = [stage.epochs for stage in parajuli.STAGES if stage.data.negatives == "mined"]
    assert 5 <= len(counts) <= 7
    assert all(0.75 < later / earlier <= 0.9 for earlier, later in itertools.pairwise(counts))


@pytest.mark.parametrize("name", MINIS)
def test_minis_walk_the_path_of_the_full_baseline_from_random_weights(name):
    mini, full = EVERY[name](), FULL[name.removesuffix(".mini")]()
    (small,), (large,) = mini.trained, [m for m in full.members if isinstance(m, config.Network)]
    assert small.backbone.pretrained == "none" and not mini.external and small.stages[0].name == "head_start"
    assert (small.head.kind, small.pooling, small.backbone.shallow) == (
        large.head.kind,
        large.pooling,
        large.backbone.shallow,
    )
    ways = [{(s.loss.kind, getattr(s.loss, "mining", ""), s.data.negatives) for s in m.stages} for m in (large, small)]
    assert ways[0] <= ways[1]
    views = sum(s.epochs * s.images_per_epoch * len(s.views) for s in small.stages)
    assert views <= 40_000, "at 64 pixels about 150 views a second of one core"
    assert [branch.kind for branch in mini.matching.branches] == [branch.kind for branch in full.matching.branches]
