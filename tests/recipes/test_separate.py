from isckit import config
from isckit.augment.pipelines import find
from isckit.recipes.separate import mini, separate

STAGES = {
    "pairs_a": [(50_500, 0), (18_500, 50_500), (30_000, 69_000)],
    "pairs_b": [(44_500, 300_000), (29_500, 400_000), (7_000, 440_000)],
    "pairs_c": [
        (67_500, 0), (32_000, 42_000), (15_500, 74_000), (44_500, 89_500), (10_500, 134_000), (46_000, 144_500),
        (14_000, 190_500), (6_000, 204_500), (9_500, 210_500),
    ],
}  # fmt: skip


def test_the_three_networks_have_the_published_stages():
    networks = {network.name: network for network in separate().pair_networks}
    assert {name: [(s.groups, s.start) for s in n.stages] for name, n in networks.items()} == STAGES
    assert [sum(s.groups for s in networks[f"pairs_{name}"].stages) for name in "abc"] == [99_000, 81_000, 245_500]
    for name, network in networks.items():
        assert network.image_size == 224 and network.tokens == 0 and network.grey is (name != "pairs_b")
        assert network.stages[-1].view == "separate.final"
        for stage in network.stages:
            assert stage.group == 24 and stage.grey == (0.5 if name == "pairs_b" else 0.0)
            assert (stage.optim.name, stage.optim.lr, stage.optim.weight_decay) == ("adam", 1e-5, 1e-6)
            assert (stage.optim.schedule, stage.optim.warmup_epochs, stage.amp) == ("constant", 0, False)
            assert find(stage.view).needs_other and not find(stage.plain).needs_other


def test_the_retrievers_are_as_published():
    trained, frozen = separate().members
    assert (trained.image_size, trained.dim, trained.grey, trained.pooling) == (384, 256, True, "token")
    assert [s.epochs * s.images_per_epoch // s.batch_images for s in trained.stages] == [15_500, 12_500]
    assert {(s.batch_images, s.loss.temperature, s.loss.koleo) for s in trained.stages} == {(56, 0.1, 0.0)}
    assert (frozen.dim, frozen.image_size, frozen.stages, frozen.head.kind) == (768, 224, (), "none")


def test_each_retriever_has_its_five_lists_and_the_grids_tell_the_half():
    recipe = separate()
    *views, pairs = recipe.matching.branches
    for member in ("r1", "r2"):
        own = {b.name.removeprefix(f"{member}_"): b for b in views if b.members == (member,)}
        assert {(name, b.cut.amount) for name, b in own.items()} == {
            ("full", 100), ("strips", 20), ("references", 10),
            *((f"half_grid_{side}", 10) for side in ("left", "vertical_center", "right")),
            *((f"third_grid_{side}", 5) for side in ("left", "vertical_center", "right")),
        }  # fmt: skip
        assert all(b.cut.by == "neighbours" and b.norm_factor == b.crop_penalty == 0 for b in own.values())
    assert set(pairs.candidates) == {branch.name for branch in views}
    assert len(pairs.halves) == 12 and all(half.branch.endswith(half.side) for half in pairs.halves)
    assert pairs.keep == 100 and pairs.views == ("pair_views",) and recipe.matching.best_per_query == 1


def test_the_mini_selects_by_the_pair_alone():
    matching = mini().matching
    *views, pairs = matching.branches
    assert all(branch.cut.by == "share" for branch in views)
    assert pairs.keep == 0 and matching.best_per_query == 0 and matching.fused == ("pairs",)


def test_both_recipes_survive_being_written_down():
    for recipe in (separate(), mini()):
        assert config.from_dict(config.to_dict(recipe)) == recipe
