"""Heavy occlusion: patches that leave little of a picture to be seen."""

from __future__ import annotations

import math

import cv2
import numpy as np

from isckit.augment import augly
from isckit.augment.colour import random_colour
from isckit.augment.compose import paste
from isckit.augment.draws import Range
from isckit.augment.geometry import resize
from isckit.augment.social import text

_PLACES = 64


def occlude(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    other: np.ndarray,
    count: tuple[int, int] = (3, 8),
    area: Range = (0.45, 0.8),
) -> np.ndarray:
    """Opaque patches, `count` of them, that cover about a share `area` of the picture and never more than its end.

    A patch is a rectangle of aspect 1/2 to 2 that shows a part of `other`, an emoji or text on a colour. Each is as
    large as what is still to be covered asks for, and lies where, of many places drawn evenly, it hides the most.
    """
    out, covered = image, np.zeros(image.shape[:2], bool)
    wanted, patches = rng.uniform(*area), int(rng.integers(*count, endpoint=True))
    for left in range(patches, 0, -1):
        missing = wanted * covered.size - np.count_nonzero(covered)
        height, width = _sides(missing / left, image.shape[:2], rng)
        if not height * width:
            continue
        row, column = _place(covered, height, width, rng)
        covered[row : row + height, column : column + width] = True
        out = paste(out, _patch(other, height, width, rng), top=row, left=column)
    return out.copy() if out is image else out


def _sides(pixels: float, shape: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Height and width of a rectangle of at most so many pixels that fits into the picture."""
    aspect = math.exp(rng.uniform(-math.log(2), math.log(2)))
    height = min(shape[0], math.floor(math.sqrt(max(0.0, pixels) / aspect)))
    return height, min(shape[1], math.floor(pixels / height)) if height else 0


def _place(covered: np.ndarray, height: int, width: int, rng: np.random.Generator) -> tuple[int, int]:
    """Row and column of the rectangle's corner, wholly inside."""
    corners = rng.integers((covered.shape[0] - height, covered.shape[1] - width), size=(_PLACES, 2), endpoint=True)
    table = cv2.integral(covered.astype(np.uint8))
    top, left = corners.T
    bottom, right = top + height, left + width
    hidden = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    row, column = corners[int(np.argmin(hidden))].tolist()
    return row, column


def _patch(other: np.ndarray, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """(height, width, 3): a part of `other`, an emoji or text on a random colour."""
    kind = int(rng.integers(3))
    if kind == 0:
        rows, columns = (max(1, side // 2) for side in other.shape[:2])
        top, left = rng.integers((other.shape[0] - rows, other.shape[1] - columns), endpoint=True).tolist()
        return resize(np.ascontiguousarray(other[top : top + rows, left : left + columns]), height, width)
    ground = np.full((height, width, 3), random_colour(rng), np.uint8)
    if kind == 1:
        return text(ground, rng, share=(0.3, 0.8))
    picture = _resized(augly.emoji(int(rng.integers(len(augly.emoji_files())))), height, width)
    return paste(ground, picture[..., :3], top=0, left=0, alpha=picture[..., 3:] / np.float32(255))


def _resized(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """(h, w, 4) uint8 to (height, width, 4), colours and opacity apart."""
    alpha = resize(np.repeat(picture[..., 3:], 3, axis=2), height, width)[..., :1]
    return np.concatenate([resize(np.ascontiguousarray(picture[..., :3]), height, width), alpha], axis=2)
