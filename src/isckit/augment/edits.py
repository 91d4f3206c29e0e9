"""The edits of a mini set's queries: which kinds each phase has, how strong they are, and in what order they are done.

The kinds are those that the organisers name for DISC21 (Douze et al. 2021): crops, turns, colour, quality, covering,
and joins with other pictures. Phase 2 is harder, and has ops that phase 1 has not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from isckit.augment.ops import NEEDS, OPS

Kinds = Mapping[str, Mapping[str, Mapping[str, Any]]]

CROP, JOIN = "crop", "join"
"""Kinds with a fixed place: a crop comes first and another picture last, so that no crop cuts away what is copied."""

_PHASE_1: Kinds = {
    CROP: {"crop": {"scale": (0.4, 0.9)}},
    "flip": {"hflip": {}, "vflip": {}},
    "turn": {"rotate": {"angle": (-25.0, 25.0)}, "rotate90": {}},
    "shape": {"aspect": {"ratio": (0.6, 1.7)}, "pad": {"share": (0.05, 0.25)}, "downscale": {"factor": (0.4, 0.8)}},
    "colour": {"colour_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.7, "hue": 0.1}, "grayscale": {}},
    "quality": {"blur": {"sigma": (0.005, 0.02)}, "pixelate": {"ratio": (0.25, 0.6)},
                "noise": {"deviation": (8.0, 30.0)}, "jpeg": {"quality": (8, 30)}},
    "cover": {"text": {}, "emoji": {"share": (0.2, 0.5)}, "stripes": {"opacity": (0.3, 0.8)}},
    JOIN: {"overlay": {"share": (0.3, 0.6)}, "underlay": {"share": (0.5, 0.85)}, "collage": {}},
}  # fmt: skip
_PHASE_2: Kinds = {
    CROP: {"crop": {"scale": (0.25, 0.7)}},
    "flip": {"hflip": {}, "vflip": {}},
    "turn": {"rotate": {"angle": (-60.0, 60.0)}, "rotate90": {}, "rotate_pad": {}, "perspective": {}},
    "shape": {"aspect": {"ratio": (0.45, 2.2)}, "pad": {"share": (0.1, 0.5)}, "downscale": {"factor": (0.25, 0.6)},
              "meme": {}, "screenshot": {}},
    "colour": {"colour_jitter": {"brightness": 0.6, "contrast": 0.6, "saturation": 1.0, "hue": 0.3}, "grayscale": {},
               "invert": {}, "shuffle_channels": {}, "solarize": {"threshold": (0.2, 0.6)},
               "posterize": {"bits": (2, 3)}},
    "quality": {"blur": {"sigma": (0.01, 0.035)}, "pixelate": {"ratio": (0.15, 0.4)},
                "noise": {"deviation": (20.0, 50.0)}, "jpeg": {"quality": (4, 15)},
                "motion_blur": {}, "edge_enhance": {}, "pixel_shuffle": {"share": (0.1, 0.3)}},
    "cover": {"text": {"lines": (2, 4)}, "emoji": {"share": (0.3, 0.7)}, "stripes": {},
              "erase": {"scale": (0.1, 0.33)}, "shapes": {}},
    JOIN: {"overlay": {"share": (0.4, 0.8)}, "underlay": {"share": (0.3, 0.7)}, "collage": {},
           "blend": {"opacity": (0.5, 0.75)}},
}  # fmt: skip

EDITS: Mapping[int, Kinds] = {1: _PHASE_1, 2: _PHASE_2}
"""Phase -> kind -> op -> its ranges."""
STEPS: Mapping[int, tuple[int, int]] = {1: (1, 3), 2: (2, 4)}
"""Phase -> fewest and most edits before a join."""
JOINED: Mapping[int, float] = {1: 0.25, 2: 0.35}
"""Phase -> share of queries that are joined with another picture."""


def draw_edits(rng: np.random.Generator, phase: int) -> tuple[str, ...]:
    """Names of the ops of one query: of each kind one at most, in random order but for a crop and a join."""
    kinds = EDITS[phase]
    steps = int(rng.integers(*STEPS[phase], endpoint=True))
    chosen = rng.permutation([kind for kind in kinds if kind != JOIN])[:steps].tolist()
    chosen.sort(key=lambda kind: kind != CROP)
    if rng.random() < JOINED[phase]:
        chosen.append(JOIN)
    return tuple(str(rng.choice(list(kinds[kind]))) for kind in chosen)


def edit(
    image: np.ndarray, ops: tuple[str, ...], rng: np.random.Generator, *, phase: int, other: Callable[[], np.ndarray]
) -> np.ndarray:
    """Do these ops of a phase one after the other.

    Args:
        image: (H, W, 3) uint8.
        ops: names from EDITS[phase].
        rng: draws how strong each edit is.
        phase: 1 or 2.
        other: gives the picture to join with, (H, W, 3) uint8.

    Returns:
        (H', W', 3) uint8.
    """
    ranges = {op: values for kind in EDITS[phase].values() for op, values in kind.items()}
    for op in ops:
        extra = {"other": other()} if "other" in NEEDS[op] else {}
        image = OPS[op](image, rng, **ranges[op], **extra)
    return image
