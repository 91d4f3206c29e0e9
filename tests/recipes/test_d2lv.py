"""D2LV's recipe against its published description, which stands here a second time, as tables."""

import numpy as np
import pytest
import torch
from PIL import Image

from isckit import config
from isckit.data.image_sets import open_folder
from isckit.data.training import TrainingData, stage_images
from isckit.engine.distributed import Process
from isckit.engine.loading import draw_epoch, loader
from isckit.models.network import greyed
from isckit.recipes import d2lv
from isckit.synthetic.procedural import picture
from isckit.tracks.train import seed_of
from isckit.types import Role

SETS = {  # set: (grey, radius of the blur on references and train, smallest side of query crops)
    "basic": (False, 0, 200),
    "blur": (False, 5, 100),
    "colour": (False, 0, 100),
    "dark": (False, 0, 100),
    "face": (False, 0, 100),
    "opaque": (False, 0, 200),
    "occlude": (False, 0, 200),
    "basic_grey": (True, 0, 200),
    "blur_grey": (True, 5, 100),
    "colour_grey": (True, 0, 200),
    "face_grey": (True, 0, 150),
}
BACKBONES = {"r50": ("resnet50", False), "r152": ("resnet152", False), "ibn": ("resnet50", True)}
RECIPE = d2lv.d2lv()
MEMBERS = {member.name: member for member in RECIPE.members}
BRANCHES = {branch.name: branch for branch in RECIPE.matching.branches}


def test_every_set_has_three_networks_at_three_scales_of_one_training():
    assert len(MEMBERS) == 99 and len(RECIPE.trained) == 33
    for name, (grey, blur, _) in SETS.items():
        for key, (backbone, ibn) in BACKBONES.items():
            for size in (200, 256, 320):
                member = MEMBERS[f"{name}_{key}_{size}"]
                assert (member.image_size, member.scales, member.grey, member.blur) == (size, (), grey, blur)
                assert (member.backbone.name, member.backbone.ibn) == (backbone, ibn)
                assert member.backbone.stride16 and member.backbone.wave
                assert bool(member.stages) == (size == 256)
                assert member.weights_of == ("" if size == 256 else f"{name}_{key}_256")


def test_the_wide_output_is_the_embedding_and_p_is_three_at_test():
    for member in MEMBERS.values():
        assert member.head == config.Head(kind="projector", widths=(4096, 8192)) and member.dim == 8192
        assert (member.gem_p, member.gem_learnable, member.gem_p_at_test) == (3.0, True, 3.0)


@pytest.mark.parametrize("name", SETS)
def test_training_is_that_of_both_systems_on_the_sets_own_edits(name):
    for key in BACKBONES:
        (stage,) = MEMBERS[f"{name}_{key}_256"].stages
        plain = name.removesuffix("_grey")
        assert stage.views == (f"d2lv.{'basic' if plain == 'face' else plain}",) * 4
        assert stage.data == config.Data(every=10, partners="others", faces=plain == "face")
        assert (stage.batch_images, stage.epochs, stage.images_per_epoch, stage.image_size) == (32, 25, 256_000, 256)
        assert (stage.optim.name, stage.optim.lr) == ("adam", 3.5e-4)
        assert (stage.optim.warmup_epochs, stage.optim.warmup_start, stage.optim.hold_epochs) == (5.0, 0.01, 5.0)
        loss = stage.loss
        assert isinstance(loss, config.TwoHeads)
        assert (loss.cross_entropy, loss.triplet, loss.soft, loss.smoothing) == (10.0, 1.0, 0.0, 0.1)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """drawn(name, own): the train images of a network, and its first views, with its own seed or with one."""
    folder = tmp_path_factory.mktemp("train")
    for k in range(60):
        Image.fromarray(picture(k, size=(70, 90))).save(folder / f"T{k:06d}.png")
    faces = np.array([5, 17, 23, 41])
    images = TrainingData(open_folder(folder, Role.TRAIN), faces=faces)

    def draw(name, own):
        (stage,) = MEMBERS[name].stages
        stage = config.replace(stage, images_per_epoch=0, batch_images=6, image_size=32)
        seed = seed_of(RECIPE, name) if own else 0
        epoch = draw_epoch(stage, stage_images(images, stage.data), seed=seed, number=0)
        (batch, *_) = loader(epoch, size=32, process=Process(torch.device("cpu")), workers=0)
        pixels = greyed(batch.pixels) if MEMBERS[name].grey else batch.pixels.float()
        return epoch.images.anchors, pixels.numpy()

    return draw


def test_no_two_sets_draw_equal_views_and_only_face_sets_draw_more_images(drawn):
    """With one seed for all, so that chance makes no difference between them."""
    seen = {name: drawn(f"{name}_r50_256", own=False) for name in SETS}
    assert len({pixels.tobytes() for _, pixels in seen.values()}) == len(SETS)
    every_tenth = {0, 10, 20, 30, 40, 50}
    for name, (rows, _) in seen.items():
        assert set(rows.tolist()) == every_tenth | ({5, 17, 23, 41} if name.startswith("face") else set()), name


def test_no_two_of_the_thirty_three_trainings_draw_the_same(drawn):
    seen = [drawn(f"{name}_{key}_256", own=True)[1].tobytes() for name in SETS for key in BACKBONES]
    assert len(set(seen)) == 33
    assert len({seed_of(RECIPE, member.name) for member in RECIPE.trained} | {seed_of(RECIPE, "detector")}) == 34
    assert seed_of(RECIPE, "basic_r50_256") == RECIPE.seed  # what has one network trains as before


def test_two_of_three_networks_agree_on_a_crop_for_every_set_and_scale():
    assert len(BRANCHES) == 34
    for name, (_, _, least) in SETS.items():
        for size in (200, 256, 320):
            branch = BRANCHES[f"{name}_{size}"]
            assert set(branch.members) == {f"{name}_{key}_{size}" for key in BACKBONES}
            assert (branch.need, branch.min_side, branch.faceless) == (2, least, False)
            assert set(branch.query_views) == {"rotations", "centre", "sixths", "proposals", "overlays"}
            assert branch.reference_views == ()
            assert branch.privileged == ("whole", "overlays")


def test_three_of_three_networks_of_the_basic_set_agree_on_reference_parts_without_faces():
    branch = BRANCHES["parts"]
    assert set(branch.members) == {f"basic_{key}_256" for key in BACKBONES}
    assert (branch.need, branch.faceless, branch.min_side, branch.privileged) == (3, True, 0, ())
    assert branch.query_views == ()
    assert set(branch.reference_views) == {"quarters", "centre", "thirds", "sixths"}


def test_space_normalisation_ranks_and_penalty_are_the_published_ones_everywhere():
    for branch in BRANCHES.values():
        assert branch.space == config.Space(dim=1500, whiten=0.5, fit_images=20_000)
        assert (branch.norm_factor, branch.norm_first, branch.norm_last) == (2.0, 1, 10)
        assert branch.crop_penalty == 0.05
        assert branch.cut == config.Cut(by="rows", amount=20.0)  # a million pairs for 50,000 queries
    assert RECIPE.matching.fusion == config.TopMean(rows=2)
    assert RECIPE.matching.max_rows == 500_000 == 50_000 * RECIPE.matching.rows_per_query


def test_the_variants_cut_by_share_and_differ_in_nothing_else():
    fixed = d2lv.fixed()
    assert {branch.cut for branch in fixed.matching.branches} == {config.Cut(by="share", amount=7e-7)}
    assert fixed.members == RECIPE.members
    back = [config.replace(branch, cut=config.Cut(amount=20.0)) for branch in fixed.matching.branches]
    assert tuple(back) == RECIPE.matching.branches


def test_the_mini_has_the_code_path_of_the_full_recipe_and_looks_at_pairs_alone():
    mini = d2lv.mini()
    crops, parts = mini.matching.branches
    assert (crops.need, parts.need, len(mini.trained)) == (2, 3, 3)
    assert all(branch.cut.by == "share" for branch in (crops, parts))
    assert crops.min_side and parts.faceless and "proposals" in crops.query_views
    assert "overlays" not in crops.query_views and mini.detector is None
    assert mini.matching.fusion == RECIPE.matching.fusion
    assert all(member.dim == member.head.widths[1] for member in mini.trained)
