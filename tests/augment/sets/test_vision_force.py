"""The third prize's basic set: the paper's operations, the later generators' ranges, both policies."""

import numpy as np
import pytest

from isckit.augment.geometry import padded_crop, square
from isckit.augment.nodes import AnyOrder, OneOf
from isckit.augment.pipelines import find, view_rng
from isckit.augment.steps import Step

TABLE = {
    "random_resized_crop": {"scale": (0.3, 1.0)},
    "rotate": {"angle": (0.0, 360.0)},
    "pixelate": {"ratio": (0.1, 1.0), "look": ("soft",)},
    "pixel_shuffle": {"share": (0.1, 0.5)},
    "corner_jitter": {"sigma": (10 / 256, 50 / 256)},
    "pad": {"share": (0.0, 0.5), "even": True},
    "underlay_by_height": {"share": (0.5, 1.0), "opacity": (0.6, 1.0), "corner": (0.0, 0.5)},
    "colour_jitter": {"brightness": 3.0, "contrast": 4.0, "saturation": 4.0, "hue": 0.5},
    "blur": {"sigma": (2 / 256, 5 / 256)},
    "grayscale": {},
    "hflip": {},
    "emoji": {"share": (0.2, 1.0), "opacity": (0.2, 1.0), "corner": (0.0, 0.5)},
    "text": {"share": (0.0, 1.0), "opacity": (0.0, 1.0), "letters": (0, 20), "lines": (1, 1)},
    "overlay_by_height": {"share": (0.2, 0.5), "opacity": (0.6, 1.0)},
}


@pytest.mark.parametrize("name", ["basic", "basic_all"])
def test_one_picture_of_twenty_is_the_original_and_all_go_through_the_online_transform(name):
    stored, choice, flip, crop = find(f"vision_force.{name}").steps
    assert stored == Step("stretch") and flip == Step("hflip", 0.5)
    assert crop == Step("padded_crop", 1.0, {"share": 10 / 256})
    assert isinstance(choice, OneOf)
    (p_original, nothing), (p_augmented, _) = choice.branches
    assert nothing == () and (p_original, p_augmented) == (1 / 20, 1 - 1 / 20)


def test_both_policies_hold_the_papers_operations_with_their_ranges():
    (drawn,) = find("vision_force.basic").steps[1].branches[1][1]
    assert isinstance(drawn, AnyOrder) and drawn.some == (3, 3)
    assert drawn.steps == tuple(Step(op, 1.0, ranges) for op, ranges in TABLE.items())
    fixed = find("vision_force.basic_all").steps[1].branches[1][1]
    assert fixed == tuple(Step(op, 0.25, ranges) for op, ranges in TABLE.items())


@pytest.mark.parametrize("name", ["basic", "basic_all"])
def test_originals_come_out_as_flipped_and_shifted_resizes(photo, name):
    image, originals = photo(40, 60), 0
    plain = square(image, 32)
    windows = set()
    for picture in (plain, plain[:, ::-1]):
        framed = np.pad(picture, ((1, 1), (1, 1), (0, 0)))
        windows |= {framed[y : y + 32, x : x + 32].tobytes() for y in range(3) for x in range(3)}
    for k in range(500):
        out = find(f"vision_force.{name}")(image, view_rng(0, 0, k, 0), lambda: photo(50, 40, 3), 32)
        originals += out.tobytes() in windows
    # Operations that change nothing (two flips, an empty text, no coin that falls) add to the twentieth.
    assert 15 < originals < 55
    assert padded_crop(image, view_rng(0, 0, 1, 0), size=32).tobytes() in windows
