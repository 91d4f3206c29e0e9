"""The edits of imgFp: their published ranges, and how many of them a view has."""

import dataclasses

import numpy as np

from isckit.augment.nodes import AnyOrder
from isckit.augment.pipelines import find, view_rng

PUBLISHED = {
    "meme": {"share": (50 / 256, 200 / 256)},
    "emoji": {"share": (0.2, 0.7), "opacity": (0.3, 1.0)},
    "text": {"share": (0.1, 0.4), "opacity": (0.5, 1.0), "lines": (1, 3)},
    "rotate_pad": {"angle": (-180.0, 180.0)},
    "pad": {"share": (0.1, 0.3)},
    "corner_crop": {"low": (0.1, 0.3), "high": (0.7, 0.9)},
    "underlay_by_height": {"share": (0.4, 0.8)},
    "rotate_in_place": {"angle": (20.0, 80.0)},
    "pixel_shuffle": {"share": (0.4, 0.6)},
    "pixelate": {"ratio": (0.1, 0.5)},
    "fade": {"level": (0.9, 0.9)},
    "brightness": {"factor": (0.1, 2.0)},
    "sharpen": {"factor": (10.0, 30.0)},
    "jpeg": {"quality": (5, 20)},
    "posterize": {"bits": (4, 4)},
    "solarize": {"threshold": (192 / 256, 192 / 256)},
}
WITHOUT_RANGES = {
    "screenshot", "pad_square", "hflip", "noise", "edge_enhance", "grayscale", "shift_channels", "invert",
    "other_format", "equalize",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Noted:
    """In the place of a step: it leaves the image and writes down that it was there."""

    number: int
    seen: list

    def apply(self, image, rng, other, size):
        self.seen.append(self.number)
        return image


def listed() -> AnyOrder:
    edits, last = find("imgfp").steps
    assert isinstance(edits, AnyOrder) and last.op == "stretch"
    return edits


def test_the_list_has_the_published_edits_in_their_ranges_and_each_is_done_when_it_is_drawn():
    steps = listed().steps
    ranges = {step.op: step.ranges for step in steps}
    assert all(ranges[op].items() >= wanted.items() for op, wanted in PUBLISHED.items())
    assert {op for op, given in ranges.items() if not given} == WITHOUT_RANGES
    assert {step.probability for step in steps} == {1.0}
    assert [step.ranges for step in steps if step.op == "auto_augment"] == [
        {"policy": "imagenet"},
        {"policy": "cifar10"},
    ]
    jitters = [step.ranges for step in steps if step.op == "colour_jitter"]
    assert {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1} in jitters


def test_a_view_has_one_to_three_edits_of_the_list_and_none_twice():
    edits, image = listed(), np.zeros((8, 8, 3), np.uint8)
    drawn = []
    for index in range(400):
        seen: list[int] = []
        noted = dataclasses.replace(edits, steps=tuple(Noted(k, seen) for k in range(len(edits.steps))))
        noted.apply(image, view_rng(2, 0, index, 1), None, 8)
        assert len(set(seen)) == len(seen)
        drawn.append(tuple(seen))
    lengths = np.bincount([len(seen) for seen in drawn], minlength=4)
    assert lengths[0] == 0 and len(lengths) == 4 and (lengths[1:] > 90).all()  # 133 each, by chance +- 9
    assert {number for seen in drawn for number in seen} == set(range(len(edits.steps)))
    assert any(a > b for a, b, *_ in (seen for seen in drawn if len(seen) > 1)), "in any order"
