"""The published table of the first prize's views, value by value."""

import numpy as np
import pytest

from isckit.augment import augly
from isckit.augment.draws import Choice
from isckit.augment.nodes import AnyOrder, OneOf
from isckit.augment.pipelines import find
from isckit.augment.steps import Pipeline, Step

OPS = ("colour_jitter", "pixelate", "pixel_shuffle", "jpeg", "grayscale", "blur", "perspective", "hflip", "vflip",
       "text", "emoji", "edge_enhance")  # fmt: skip
COLUMNS = {
    "weak": {
        "side": 256, "rotate": 0.25, "join": 0.05, "opacity": 0.6, "size": (0.4, 0.6), "jitter": 0.70,
        "probabilities": (1, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.5, 0.1, 0.25, 0.25, 0.25),
    },
    "intermediate": {
        "side": 384, "rotate": 0.30, "join": 0.075, "opacity": 0.5, "size": (0.3, 0.7), "jitter": 0.75,
        "probabilities": (1, 0.25, 0.25, 0.30, 0.25, 0.25, 0.30, 0.5, 0.1, 0.30, 0.30, 0.30),
    },
    "strong": {
        "side": 512, "rotate": 0.35, "join": 0.10, "opacity": 0.4, "size": (0.2, 0.8), "jitter": 0.80,
        "probabilities": (1, 0.25, 0.25, 0.35, 0.25, 0.25, 0.35, 0.5, 0.1, 0.35, 0.35, 0.30),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
def test_the_hard_view_is_the_table(name):
    table = COLUMNS[name]
    rotation, join, edits, erasing = find(f"lyakaap.{name}").steps
    assert rotation == Step("rotate", table["rotate"], {"angle": (0.0, 180.0)})

    assert isinstance(join, OneOf)
    (p_join, (either, light)), (p_crop, (strong,)) = join.branches
    assert (p_join, p_crop) == (table["join"], 1 - table["join"])
    laid = {"share": table["size"], "opacity": (table["opacity"], 1.0)}
    assert either == OneOf((
        (0.5, (Step("overlay_by_height", 1.0, laid),)), (0.5, (Step("underlay_by_height", 1.0, laid),)),
    ))  # fmt: skip
    assert light == Step("random_resized_crop", 1.0, {"scale": (0.7, 1.0)})
    assert strong == Step("random_resized_crop", 1.0, {"scale": (0.15, 1.0)})

    assert isinstance(edits, AnyOrder) and edits.some is None
    assert tuple(edit.op for edit in edits.steps) == OPS
    assert tuple(edit.probability for edit in edits.steps) == table["probabilities"]
    j = table["jitter"]
    assert {edit.op: dict(edit.ranges) for edit in edits.steps} == {
        "colour_jitter": {"brightness": j, "contrast": j, "saturation": j, "hue": 0.2},
        "pixelate": {"ratio": (0.1, 1.0), "look": ("soft",)},
        "pixel_shuffle": {"share": (0.1, 0.1)},
        "jpeg": {"quality": Choice((10, 20, 30, 50))},
        "grayscale": {},
        "blur": {"sigma": (0.0, 10 / table["side"])},
        "perspective": {"distortion": (0.5, 0.5)},
        "hflip": {},
        "vflip": {},
        "text": {"share": (0.1, 0.3), "letters": (5, 9), "lines": (1, 2)},
        "emoji": {"share": (0.1, 0.3), "category": "smileys"},
        "edge_enhance": {},
    }
    assert erasing == Step("erase", 0.25, {"scale": (0.02, 0.33), "ratio": (0.3, 3.3), "gaussian": True})


def test_the_moderate_view_is_a_light_crop_and_a_flip():
    assert find("lyakaap.moderate") == Pipeline((
        Step("random_resized_crop", 1.0, {"scale": (0.7, 1.0)}), Step("hflip", 0.5),
    ))  # fmt: skip


def test_there_are_92_smileys_and_neither_slow_font():
    assert len(augly.emoji_numbers("smileys")) == 92
    assert not any("TypeMyMusic" in font or "PainttheSky" in font for font in augly.FONTS)


def test_harder_views_differ_more_from_the_image(photo):
    from isckit.augment.geometry import square
    from isckit.augment.pipelines import view_rng

    image = photo(128, 128)
    plain = square(image, 64).astype(float)

    def change(name):
        views = [find(name)(image, view_rng(0, 0, k, 0), lambda: photo(99, 99, 5), 64) for k in range(60)]
        return np.mean([np.abs(view - plain).mean() for view in views])

    assert change("lyakaap.moderate") < change("lyakaap.weak") < change("lyakaap.strong")
