"""Training pictures of the overlay detector: pictures pasted on pictures, with the boxes of what was pasted.

The ranges are those of imgFp's own overlay augmentation, down to smaller pictures (visionForce pasted pictures and
emoji on train images for YOLOv5, and said no more about it).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from isckit.augment import augly
from isckit.augment.compose import paste
from isckit.augment.geometry import bounded, resize
from isckit.augment.pipelines import find
from isckit.augment.steps import CANVAS, Other, run, step
from isckit.config import Pastes

OVERLAY, EMOJI = 1, 2
"""Labels of boxes; 0 is the background in detectors."""

ASPECT = 1.5
"""Largest ratio of the background's sides, either way."""

_FINISH = (
    step("text", 0.15, share=(0.08, 0.2)),
    step("shapes", 0.1),
    step("colour_jitter", 0.3, brightness=0.3, contrast=0.3, saturation=0.3, hue=0.0),
    step("grayscale", 0.1),
    step("blur", 0.15, sigma=(0.003, 0.01)),
    step("jpeg", 0.4, quality=(20, 80)),
)
"""Edits of the finished picture that leave every pixel where it is; shapes and text are what an overlay is not."""


class Pasted(NamedTuple):
    """A picture and what was pasted on it.

    Attributes:
        pixels: (H, W, 3) uint8.
        boxes: (n, 4) int64, left, top, right, bottom in pixels, half-open.
        labels: (n,) int64, OVERLAY or EMOJI.
    """

    pixels: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray


def pasted(image: np.ndarray, rng: np.random.Generator, other: Other, *, settings: Pastes, size: int) -> Pasted:
    """Paste another picture, an emoji, both or neither on a part of `image`.

    Args:
        image: (h, w, 3) uint8, the background.
        rng: the only source of randomness.
        other: fetches the picture that is pasted; called only where one is.
        settings: of the recipe's detector.
        size: side of the detector's input; the result has at most (CANVAS * size)^2 pixels.
    """
    most = (CANVAS * size) ** 2
    picture = bounded(_background(image, rng, settings), most)
    boxes, labels = [], []
    if rng.random() >= settings.none:
        patch = _foreground(bounded(other(), most), rng, settings, below=picture, size=size)
        picture, box = _anywhere(picture, patch, rng, alpha=rng.uniform(*settings.opacity))
        boxes.append(box)
        labels.append(OVERLAY)
    if rng.random() < settings.emoji:
        emoji = _emoji(rng, settings, shorter=min(picture.shape[:2]))
        alpha = emoji[:, :, 3:].astype(np.float32) / 255 * np.float32(rng.uniform(*settings.opacity))
        picture, box = _anywhere(picture, emoji[:, :, :3], rng, alpha=alpha)
        boxes.append(box)
        labels.append(EMOJI)
    if rng.random() < settings.finish:
        finished = run(_FINISH, picture, rng, None, size)
        assert finished.shape == picture.shape
        picture = finished
    return Pasted(picture, np.array(boxes, np.int64).reshape(-1, 4), np.array(labels, np.int64))


def _background(image: np.ndarray, rng: np.random.Generator, settings: Pastes) -> np.ndarray:
    """A part of the image, of a width and an aspect as the settings say, as far as its height allows."""
    height, width = image.shape[:2]
    wide = max(1, round(width * rng.uniform(*settings.background)))
    high = max(1, min(height, round(wide * _log_uniform(rng, 1 / ASPECT, ASPECT))))
    top, left = rng.integers((height - high, width - wide), endpoint=True).tolist()
    return image[top : top + high, left : left + wide]


def _foreground(
    image: np.ndarray, rng: np.random.Generator, settings: Pastes, *, below: np.ndarray, size: int
) -> np.ndarray:
    """The picture to paste, edited, at the size at which it is pasted; edits that join pictures join the background."""
    edits = find(settings.edits[rng.integers(len(settings.edits))])
    edited = run(edits.steps, image, rng, lambda: below, size)
    height = max(1, round(below.shape[0] * rng.uniform(*settings.height)))
    width = height * edited.shape[1] / edited.shape[0] * _log_uniform(rng, *settings.stretch)
    return resize(edited, height, max(1, min(below.shape[1], round(width))))


def _emoji(rng: np.random.Generator, settings: Pastes, *, shorter: int) -> np.ndarray:
    """An emoji without its transparent border, (h, w, 4) uint8 RGBA; its longer side is what the settings say."""
    picture = augly.emoji(int(rng.integers(len(augly.emoji_files()))))
    rows, columns = (np.flatnonzero(picture[:, :, 3].any(axis=axis)) for axis in (1, 0))
    picture = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    factor = shorter * rng.uniform(*settings.emoji_side) / max(picture.shape[:2])
    return resize(picture, *(max(1, round(side * factor)) for side in picture.shape[:2]))


def _anywhere(
    picture: np.ndarray, patch: np.ndarray, rng: np.random.Generator, *, alpha: float | np.ndarray
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Return the picture with the patch somewhere inside it, and the patch's box."""
    height, width = patch.shape[:2]
    top, left = rng.integers(np.array(picture.shape[:2]) - (height, width), endpoint=True).tolist()
    return paste(picture, patch, top=top, left=left, alpha=alpha), (left, top, left + width, top + height)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))
