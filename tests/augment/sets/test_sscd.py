"""The published list of SSCD's views, value by value."""

import pytest

from isckit.augment.draws import Choice
from isckit.augment.pipelines import find
from isckit.augment.steps import Step

CROP, FLIP = Step("random_resized_crop", 1.0, {"scale": (0.08, 1.0)}), Step("hflip", 0.5)
JITTER = Step("colour_jitter", 0.8, {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2})
GREY = Step("grayscale", 0.2)
STRONG_BLUR = Step("blur", 0.5, {"sigma": (1 / 224, 5 / 224)})


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("simclr", (CROP, FLIP, JITTER, GREY, Step("blur", 0.5, {"sigma": (0.1 / 224, 2 / 224)}))),
        ("blur", (CROP, FLIP, JITTER, GREY, STRONG_BLUR)),
        (
            "advanced",
            (
                FLIP,
                Step("rotate90", 0.05, {"turns": (1, 3)}),
                Step("text_inside", 0.1, {"share": (0.1, 0.3), "opacity": (0.1, 1.0)}),
                Step("emoji", 0.2, {"share": (0.1, 0.5), "opacity": (0.7, 1.0), "corner": (0.0, 0.5)}),
                Step("rotate_in_place", 0.05, {"angle": Choice(tuple(range(360)))}),
                CROP,
                JITTER,
                GREY,
                STRONG_BLUR,
                Step("jpeg", 0.2, {"quality": (0, 100)}),
            ),
        ),
    ],
)
def test_the_steps_and_their_order(name, steps):
    assert find(f"sscd.{name}").steps == steps
    assert not find(f"sscd.{name}").needs_other
