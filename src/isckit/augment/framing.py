"""Crops and frames of the published systems, which are told in their own terms."""

from __future__ import annotations

import math

import cv2
import numpy as np

from isckit.augment.draws import Amount, Range, draw
from isckit.augment.geometry import square

_FILTERS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


def random_resized_crop(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    size: int,
    scale: Range = (0.08, 1.0),
    ratio: Range = (3 / 4, 4 / 3),
) -> np.ndarray:
    """torchvision's RandomResizedCrop: `ratio` is the box's own aspect; to (size, size, 3) by the kit's one filter."""
    top, left, box_h, box_w = _box(image.shape[0], image.shape[1], rng, scale, ratio)
    return square(image[top : top + box_h, left : left + box_w], size)


def _box(height: int, width: int, rng: np.random.Generator, scale: Range, ratio: Range) -> tuple[int, int, int, int]:
    """Top, left, height, width; after ten boxes that do not fit, the central one of the nearest aspect allowed."""
    for _ in range(10):
        area, aspect = rng.uniform(*scale) * height * width, math.exp(rng.uniform(*np.log(ratio)))
        box_h, box_w = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < box_h <= height and 0 < box_w <= width:
            top, left = rng.integers((height - box_h, width - box_w), endpoint=True).tolist()
            return top, left, box_h, box_w
    box_h, box_w = min(height, round(width / ratio[0])), min(width, round(height * ratio[1]))
    return (height - box_h) // 2, (width - box_w) // 2, box_h, box_w


def corner_crop(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    low: Amount = (0.0, 0.25),
    high: Amount = (0.75, 1.0),
) -> np.ndarray:
    """Crop between two corners; each coordinate is drawn by itself, `low` and `high` as shares of the sides."""
    (top, bottom), (left, right) = (
        (int(draw(rng, low) * side), math.ceil(draw(rng, high) * side)) for side in image.shape[:2]
    )
    return image[top:bottom, left:right].copy()


def padded_crop(image: np.ndarray, rng: np.random.Generator, *, size: int, share: float = 10 / 256) -> np.ndarray:
    """Square of the size, black border of `share` of the side on all sides, and a random crop of the size."""
    border = round(share * size)
    framed = cv2.copyMakeBorder(
        square(image, size), border, border, border, border, cv2.BORDER_CONSTANT, value=(0, 0, 0)
    )
    top, left = rng.integers(2 * border, size=2, endpoint=True).tolist()
    return framed[top : top + size, left : left + size].copy()


def stretch(image: np.ndarray, rng: np.random.Generator, *, size: int, scale: float = 1.0) -> np.ndarray:
    """Resize to a square of `scale` times the network's side, aspect ignored."""
    return square(image, round(scale * size))


def enlarge(image: np.ndarray, rng: np.random.Generator, *, size: int) -> np.ndarray:
    """Bring sides shorter than half the network's side up to that, by a random filter; mostly nothing is done."""
    height, width = (max(side, math.ceil(size / 2)) for side in image.shape[:2])
    if (height, width) == image.shape[:2]:
        return image.copy()
    return cv2.resize(image, (width, height), interpolation=_FILTERS[rng.integers(len(_FILTERS))])


def rotate_in_place(image: np.ndarray, rng: np.random.Generator, *, angle: Amount = (0.0, 360.0)) -> np.ndarray:
    """Turn by `angle` degrees on a canvas of the same shape, corners black."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), draw(rng, angle), 1.0)
    return cv2.warpAffine(image, matrix, (width, height))
