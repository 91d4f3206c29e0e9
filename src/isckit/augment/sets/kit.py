"""The kit's own views: the plain one of extraction, a weak one, and a mild one for networks that start from nothing."""

from __future__ import annotations

from isckit.augment.nodes import AnyOrder, OneOf
from isckit.augment.steps import Pipeline, step

TONES = frozenset({"colour_jitter", "grayscale", "blur", "pixelate", "noise"})
"""Edits of colour and grain: the part of "mild" that the device can do in batches (`augment.batched`)."""

# Each copy keeps most of its content: what a network that starts from random weights can learn from.
_FRAME = OneOf(
    (
        (0.70, (step("resized_crop", scale=(0.3, 1.0)),)),
        (0.10, (step("overlay", share=(0.2, 0.5), opacity=(0.7, 1.0)),)),
        (0.10, (step("underlay", share=(0.5, 0.9), opacity=(0.8, 1.0)),)),
        (0.10, (step("pad"),)),
    )
)
_EDITS = (
    step("hflip", 0.5),
    step("rotate", 0.15, angle=(-25.0, 25.0)),
    step("rotate90", 0.05),
    step("aspect", 0.2),
    step("colour_jitter", 0.8, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    step("grayscale", 0.1),
    step("blur", 0.15, sigma=(0.0, 0.02)),
    step("pixelate", 0.1, ratio=(0.25, 1.0)),
    step("noise", 0.1),
    step("jpeg", 0.2, quality=(15, 60)),
    step("text", 0.1, share=(0.1, 0.2)),
    step("emoji", 0.1, share=(0.1, 0.3)),
    step("shapes", 0.1),
)

PIPELINES = {
    "eval": Pipeline(),
    "weak": Pipeline((
        step("resized_crop", scale=(0.5, 1.0)),
        step("hflip", 0.5),
        step("colour_jitter", 0.5, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.0),
    )),
    "mild": Pipeline((_FRAME, AnyOrder(_EDITS))),
    # What is left of it for the loader, where "mild.device" does the rest.
    "mild.rest": Pipeline((_FRAME, AnyOrder(tuple(edit for edit in _EDITS if edit.op not in TONES)))),
}  # fmt: skip
"""Name -> pipeline. "eval" draws nothing."""
