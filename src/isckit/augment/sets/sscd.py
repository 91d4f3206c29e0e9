"""The views of SSCD (Pizzi et al. 2022, "A Self-Supervised Descriptor for Image Copy Detection", and its code).

Blur radii are px at its training side of 224. Mixup and CutMix are no edits of one image: see the stage's `mix`.
"""

from __future__ import annotations

from isckit.augment.draws import Choice
from isckit.augment.steps import Pipeline, Step, step

_JITTER = (
    step("colour_jitter", 0.8, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2),
    step("grayscale", 0.2),
)
_CROP, _FLIP = step("random_resized_crop", scale=(0.08, 1.0)), step("hflip", 0.5)


def _blur(least: float, most: float) -> Step:
    return step("blur", 0.5, sigma=(least / 224, most / 224))


_PLACED = (
    step("rotate90", 0.05, turns=(1, 3)),
    step("text_inside", 0.1, share=(0.1, 0.3), opacity=(0.1, 1.0)),
    # The place of the emoji is not published: its corner in the first half of each side keeps it inside.
    step("emoji", 0.2, share=(0.1, 0.5), opacity=(0.7, 1.0), corner=(0.0, 0.5)),
    step("rotate_in_place", 0.05, angle=Choice(tuple(range(360)))),
    _CROP,
)
_JPEG = step("jpeg", 0.2, quality=(0, 100))

PIPELINES = {
    "sscd.simclr": Pipeline((_CROP, _FLIP, *_JITTER, _blur(0.1, 2))),
    "sscd.blur": Pipeline((_CROP, _FLIP, *_JITTER, _blur(1, 5))),
    "sscd.advanced": Pipeline((_FLIP, *_PLACED, *_JITTER, _blur(1, 5), _JPEG)),
    # What is left of it for the loader, where "sscd.device" does the rest; JPEG comes before colours and blur then.
    "sscd.rest": Pipeline((*_PLACED, _JPEG)),
}  # fmt: skip
"""Name -> pipeline; both views of an image come from the same one."""
