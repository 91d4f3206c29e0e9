"""What the baselines have beside the tests of all recipes: rounds of mining, and minis that take the same way."""

import itertools

import pytest
import torch

from isckit import config
from isckit.models.members import build
from isckit.recipes import catalogue, parajuli

FULL = ("pdq", "phash", "gist", "multigrain", "how", "orb", "triplet", "deeprank")
MINIS = ("multigrain.mini", "triplet.mini", "deeprank.mini")


@pytest.mark.parametrize("name", [*FULL, *MINIS])
def test_members_of_a_baseline_can_be_built(name):
    for member in catalogue.recipe(name).members:
        if isinstance(member, config.Network):
            member = config.replace(member, backbone=config.replace(member.backbone, pretrained="none"))
        with torch.device("meta"):
            built = build(member)
        assert built.dim == getattr(member, "dim", built.dim)


@pytest.mark.parametrize(("name", "millions"), [("triplet", 36.8), ("deeprank", 72.7)])
def test_parajulis_networks_have_the_published_number_of_values_as_keras_counts_them(name, millions):
    (settings,) = catalogue.recipe(name).trained
    bare = config.replace(settings, backbone=config.replace(settings.backbone, pretrained="none"), stages=())
    with torch.device("meta"):
        network = build(bare)
    count = sum(parameter.numel() for parameter in network.parameters())
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            count += 2 * module.num_features  # running statistics are weights there
        elif isinstance(module, torch.nn.Conv2d) and module.bias is None:
            count += module.out_channels  # its convolutions have biases
    assert round(count / 1e6, 1) == millions


def test_rounds_of_mining_shrink_by_a_tenth_to_a_fifth():
    counts = [stage.epochs for stage in parajuli.STAGES if stage.data.negatives == "mined"]
    assert 5 <= len(counts) <= 7
    assert all(0.75 < later / earlier <= 0.9 for earlier, later in itertools.pairwise(counts))


@pytest.mark.parametrize("name", MINIS)
def test_minis_walk_the_path_of_the_full_baseline_from_random_weights(name):
    mini, full = catalogue.recipe(name), catalogue.recipe(name.removesuffix(".mini"))
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
