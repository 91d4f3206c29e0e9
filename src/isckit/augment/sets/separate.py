"""The views of separate (SeungKee Jeon 2021, second prize of the Matching track, and its released code).

Every pipeline begins with a square, aspect ignored, so that the same draws make the same boxes of images of any shape:
all images of a group are edited alike, and only the content distinguishes a copy from a look-alike.

Not here: the cartoon filter of some early stages, and emoji that avoid the centre of what was pasted. Text begins in
the upper left quarter. RGB shift and the single pixel edits are albumentations'.
"""

from __future__ import annotations

from typing import Any

from isckit.augment.draws import Range
from isckit.augment.nodes import OneOf
from isckit.augment.steps import CANVAS, Node, Pipeline, Step, step

_SQUARE = step("stretch", scale=CANVAS)
_FLIPS = (step("hflip", 0.5), step("vflip", 0.5), step("rotate90", 0.5, turns=(1, 1)))
_TEXT: dict[str, Any] = {"share": (0.1, 0.3), "opacity": (0.5, 1.0), "letters": (5, 30), "lines": (1, 1)}


def _either(*branches: tuple[Node, ...]) -> OneOf:
    return OneOf(tuple((1 / len(branches), branch) for branch in branches))


def _crop(least: float) -> Step:
    return step("random_resized_crop", scale=(least, 1.0), ratio=(0.5, 2.0))


_AFFINE = _either((step("rotate_in_place", 0.5, angle=(0.0, 360.0)),), (step("shear", 0.5, most=45.0),))
_POSED: tuple[Node, ...] = (*_FLIPS, _AFFINE)
_BLUR = step("blur", 0.5, sigma=(0.1 / 224, 5 / 224))
_CHANNELS = (step("shuffle_channels", 0.5), step("pixel_edit", 0.5, names=("RGBShift",)))
_SOLARIZE = step("solarize", 0.5, threshold=(192 / 255, 192 / 255))
_STRONG_JITTER = step("colour_jitter", 1.0, brightness=0.5, contrast=0.8, saturation=0.8, hue=0.2)
_COLOURS = _either(
    (*_CHANNELS, step("pixel_edit"), _SOLARIZE),
    (*_CHANNELS, step("posterize", 0.5, bits=(2, 2)), _SOLARIZE, _STRONG_JITTER),
)
_SIMCLR = (
    step("colour_jitter", 0.8, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2),
    step("grayscale", 0.2),
)


def _marks(probability: float, *, area: Range = (0.05, 0.5), filled: float = 1.0, opacity: Range = (0.2, 1.0)) -> tuple:
    """Return emoji, then text."""
    return (
        step("sticker", probability, area=area, filled=filled, opacity=opacity),
        step("text", probability, **_TEXT),
    )


def _pasted(area: Range, opacity: Range, *, emoji: float = 0.0, text: float = 0.0) -> tuple[tuple[Node, ...], ...]:
    """Return pastes on black, and on another image; half of the time of a part of the image."""
    part = step("random_resized_crop", 0.5, scale=(0.25, 1.0), ratio=(0.5, 2.0))
    return (
        (part, step("onto_black", area=area, opacity=opacity)),
        (part, step("onto", area=area, opacity=opacity, emoji=emoji, text=text)),
    )


def _covered(area: Range, opacity: Range, *prepared: tuple[Node, ...]) -> tuple[Node, ...]:
    """Return another image on top, after one of some preparations."""
    return _either(*prepared), step("cover", area=area, opacity=opacity)


_PARTLY: tuple[Node, ...] = (_crop(0.1),)
_TURNED: tuple[Node, ...] = (step("rotate", angle=(45.0, 45.0)),)
_COVERED = _covered((0.08, 0.5), (0.4, 1.0), _TURNED, _PARTLY, ())
_EARLY_COVERED = _covered((0.05, 0.5), (0.5, 1.0), _PARTLY)
_SIZES = tuple(
    _either(big, small)
    for big, small in zip(_pasted((0.25, 1.0), (0.4, 1.0)), _pasted((0.05, 0.25), (0.8, 1.0)), strict=True)
)
"""Pasted big or small, on black and on another image."""

_FIRST = _either((_crop(0.1),), _EARLY_COVERED, *_pasted((0.05, 1.0), (0.5, 1.0)))
_SECOND = _either(
    (_crop(0.1), *_marks(0.5, filled=0.5)),
    (*_EARLY_COVERED, *_marks(0.5, filled=0.5)),
    *((*_marks(0.5, filled=0.5), *paste) for paste in _pasted((0.05, 1.0), (0.5, 1.0), emoji=0.5, text=0.5)),
    (*_TURNED, *_marks(0.5, filled=0.5)),
)
_FINAL = _either(
    (_crop(0.1), *_POSED, *_marks(0.5)),
    (*_COVERED, *_POSED, *_marks(0.5)),
    *((*_marks(0.5), paste, *_POSED, step("text", 0.5, **_TEXT)) for paste in _SIZES),
)
_THREE = _either((_crop(0.25),), *_pasted((0.08, 0.5), (0.5, 1.0)))
_WITH_DISTRACTOR = _either(
    (_crop(0.1),), _covered((0.08, 0.5), (0.5, 1.0), _PARTLY, ()), *_pasted((0.08, 0.5), (0.5, 1.0))
)
_FULL_EMOJI = _marks(0.5, area=(0.08, 0.5), opacity=(1.0, 1.0))
_MARKED_FIRST = _either(
    (_crop(0.1), *_marks(0.5)),
    (*_COVERED, *_marks(0.5)),
    *((*_marks(0.5), *paste) for paste in _pasted((0.05, 1.0), (0.5, 1.0))),
)
_BIG_AND_SMALL = _either(
    (_crop(0.1), *_marks(0.5)), (*_COVERED, *_marks(0.5)), *((*_marks(0.5), paste) for paste in _SIZES)
)
_INVERT = step("invert", 0.2)
_PIXELS: tuple[Node, ...] = (step("pixel_edit"), _INVERT, *_SIMCLR)
_RETRIEVED: tuple[Node, ...] = (*_POSED, *_marks(0.5, area=(0.08, 0.5)))

# For a network that starts from little: each copy keeps most of its content.
_MINI = _either(
    (step("random_resized_crop", scale=(0.3, 1.0), ratio=(0.6, 1.6)),),
    (step("cover", area=(0.05, 0.35), opacity=(0.7, 1.0)),),
    (step("onto_black", area=(0.3, 1.0), opacity=(0.8, 1.0)),),
    (step("onto", area=(0.3, 0.9), opacity=(0.8, 1.0)),),
)
_MINI_EDITS: tuple[Node, ...] = (
    step("hflip", 0.5),
    step("rotate", 0.2, angle=(-25.0, 25.0)),
    step("rotate90", 0.05),
    step("colour_jitter", 0.8, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    step("pixel_edit", 0.2),
    step("blur", 0.2, sigma=(0.0, 0.02)),
    step("sticker", 0.1, area=(0.02, 0.15)),
    step("text", 0.1, share=(0.1, 0.2)),
)


def _pipeline(*nodes: Node) -> Pipeline:
    return Pipeline((_SQUARE, *nodes))


_CORRUPT = step("corrupt", 0.5)

PIPELINES = {
    "separate.basic": _pipeline(step("hflip", 0.5)),
    # Stages of the networks A and B.
    "separate.first": _pipeline(_FIRST, *_POSED, _COLOURS, _BLUR),
    "separate.emoji": _pipeline(_SECOND, *_POSED, _COLOURS, _BLUR),
    "separate.final": _pipeline(_FINAL, _COLOURS, _CORRUPT, _BLUR),
    # Stages of the network C, the last of which is "separate.final".
    "separate.three": _pipeline(_THREE, *_POSED, *_SIMCLR, _BLUR),
    "separate.distractor": _pipeline(_WITH_DISTRACTOR, *_POSED, *_FULL_EMOJI, _INVERT, *_SIMCLR, _BLUR),
    "separate.pixels": _pipeline(_WITH_DISTRACTOR, *_POSED, *_FULL_EMOJI, *_PIXELS, _BLUR),
    "separate.marked": _pipeline(_MARKED_FIRST, *_POSED, *_PIXELS, _BLUR),
    "separate.colours": _pipeline(_MARKED_FIRST, *_POSED, _COLOURS, _BLUR),
    "separate.sizes": _pipeline(_BIG_AND_SMALL, *_POSED, _COLOURS, _BLUR),
    # Stages of the retriever.
    "separate.retrieved": _pipeline(
        _THREE,
        *_RETRIEVED,
        step("invert", 0.1),
        step("posterize", 0.1, bits=(2, 2)),
        step("solarize", 0.1),
        _STRONG_JITTER,
        _BLUR,
    ),
    "separate.retrieved_later": _pipeline(
        _either((_crop(0.25), *_marks(0.5)), *((*_marks(0.5), *paste) for paste in _pasted((0.08, 0.5), (0.5, 1.0)))),
        *_POSED,
        step("pixel_edit"),
        _INVERT,
        _STRONG_JITTER,
        _BLUR,
    ),
    "separate.mini": _pipeline(_MINI, *_MINI_EDITS),
}
"""Name -> pipeline."""
