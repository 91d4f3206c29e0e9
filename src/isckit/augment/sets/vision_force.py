"""The basic set of the Descriptor track's third prize (Wang et al. 2021, "Bag of Tricks and a Strong Baseline for
Image Copy Detection").

The paper names the operations; their ranges are those of the authors' later, published generators, stated for stored
pictures of 256 px. The last operation named, resize, ends every view anyway.
"""

from __future__ import annotations

from isckit.augment.nodes import AnyOrder, Node, OneOf
from isckit.augment.steps import Pipeline, Step, step

ORIGINAL = 1 / 20
"""Share of the pictures of a class that are the original: the first of twenty."""
EACH = 0.25
"""Probability of an operation where each has its own coin: 3.5 of 14 on average. Not published."""


def operations(probability: float) -> tuple[Step, ...]:
    """Return the named operations, in the paper's order."""
    return (
        step("random_resized_crop", probability, scale=(0.3, 1.0)),
        step("rotate", probability, angle=(0.0, 360.0)),
        step("pixelate", probability, ratio=(0.1, 1.0), look=("soft",)),
        step("pixel_shuffle", probability, share=(0.1, 0.5)),
        step("corner_jitter", probability, sigma=(10 / 256, 50 / 256)),
        step("pad", probability, share=(0.0, 0.5), even=True),
        step("underlay_by_height", probability, share=(0.5, 1.0), opacity=(0.6, 1.0), corner=(0.0, 0.5)),
        step("colour_jitter", probability, brightness=3.0, contrast=4.0, saturation=4.0, hue=0.5),
        step("blur", probability, sigma=(2 / 256, 5 / 256)),
        step("grayscale", probability),
        step("hflip", probability),
        step("emoji", probability, share=(0.2, 1.0), opacity=(0.2, 1.0), corner=(0.0, 0.5)),
        step("text", probability, share=(0.0, 1.0), opacity=(0.0, 1.0), letters=(0, 20), lines=(1, 1)),
        step("overlay_by_height", probability, share=(0.2, 0.5), opacity=(0.6, 1.0)),
    )


def stored_then_online(*augmented: Node) -> Pipeline:
    """Return the original or an augmented picture, as stored; then what training did with every stored picture."""
    return Pipeline((
        step("stretch"),
        OneOf(((ORIGINAL, ()), (1 - ORIGINAL, augmented))),
        step("hflip", 0.5),
        step("padded_crop", share=10 / 256),
    ))  # fmt: skip


PIPELINES = {
    "vision_force.basic": stored_then_online(AnyOrder(operations(1.0), some=(3, 3))),
    "vision_force.basic_all": stored_then_online(*operations(EACH)),
}
"""Name -> pipeline: three distinct operations in random order, or all in the paper's order, each with its coin."""
