"""What every op promises, whatever it does: a new op is tested here without a line."""

import hashlib
import random

import numpy as np
import pytest

from isckit.augment.geometry import square
from isckit.augment.steps import NEEDS, OPS

SHAPES = [(1, 1), (1, 200), (200, 3), (37, 53), (480, 640)]
WITHOUT_DRAWS = {"hflip", "vflip", "grayscale", "stretch", "equalize"}
SAME_SHAPE = {
    "hflip", "vflip", "perspective", "corner_jitter", "rotate_in_place", "colour_jitter", "enhance", "fade",
    "swap_channels", "overlay_by_height", "text_inside", "brightness", "grayscale", "invert", "shuffle_channels",
    "solarize", "posterize", "blur", "motion_blur", "sharpen", "edge_enhance", "noise", "pixelate", "pixel_shuffle",
    "jpeg", "overlay", "blend", "erase", "shapes", "emoji", "text", "stripes", "occlude", "onto_black", "onto", "cover",
    "sticker", "shear", "pixel_edit", "corrupt", "equalize", "auto_augment",
}  # fmt: skip


@pytest.fixture
def run(photo, generator):
    def run(name, image, seed=0):
        given = {"other": photo(60, 90, seed=4), "size": 200}
        return OPS[name](image, generator(seed), **{key: given[key] for key in NEEDS[name]})

    return run


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OPS)
def test_a_picture_of_any_shape_gives_a_contiguous_picture_and_stays_as_it_was(run, photo, name, shape):
    image = photo(*shape)
    kept = image.copy()
    image.flags.writeable = False
    for seed in range(4 if image.size < 10_000 else 1):
        out = run(name, image, seed)
        assert out.dtype == np.uint8 and out.ndim == 3 and out.shape[2] == 3 and out.size > 0
        assert out.flags.c_contiguous and out.flags.writeable and not np.shares_memory(out, image)
        assert name not in SAME_SHAPE or out.shape == image.shape
    np.testing.assert_array_equal(image, kept)


@pytest.mark.parametrize("name", OPS)
def test_one_generator_state_gives_one_result_and_others_give_others(run, photo, name):
    image = photo(64, 80)
    first = run(name, image, 1)
    random.seed(3)
    np.random.seed(3)
    np.testing.assert_array_equal(first, run(name, image, 1))
    different = {hashlib.sha256(run(name, image, seed).tobytes()).digest() for seed in range(12)}
    assert len(different) == 1 if name in WITHOUT_DRAWS else len(different) > 1


@pytest.mark.parametrize("name", OPS)
def test_the_picture_is_changed(run, photo, name):
    image = photo(64, 80)
    changed = [run(name, image, seed) for seed in range(4)]
    assert any(out.shape != image.shape or (out != image).any() for out in changed)


@pytest.mark.parametrize("name", OPS)
def test_the_global_generators_are_left_as_found(run, photo, name):
    random.seed(11)
    np.random.seed(11)
    wanted = random.random(), np.random.random()
    random.seed(11)
    np.random.seed(11)
    run(name, photo(64, 80))
    assert (random.random(), np.random.random()) == wanted


def test_names_and_needs():
    assert set(WITHOUT_DRAWS | SAME_SHAPE) <= OPS.keys()
    assert {name for name in OPS if "other" in NEEDS[name]} == {
        "overlay", "underlay", "overlay_by_height", "underlay_by_height", "blend", "collage", "occlude", "onto",
        "cover",
    }  # fmt: skip
    assert {name for name in OPS if "size" in NEEDS[name]} == {
        "resized_crop", "random_resized_crop", "padded_crop", "stretch", "enlarge",
    }  # fmt: skip


def test_square_is_torchvisions_antialiased_bicubic(photo):
    import torch
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import resize

    for shape in [(200, 301), (1, 40), (20, 17), (48, 48)]:
        image = photo(*shape)
        planes = torch.from_numpy(image.transpose(2, 0, 1).copy())
        wanted = resize(planes, [48, 48], interpolation=InterpolationMode.BICUBIC, antialias=True)
        np.testing.assert_array_equal(square(image, 48), wanted.permute(1, 2, 0).numpy())
