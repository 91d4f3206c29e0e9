"""Windows of an image that may hold a picture of their own: selective search with D2LV's filters, largest first.

Uijlings et al., "Selective Search for Object Recognition" (IJCV 2013), in the variant with local binary patterns of the
package `selectivesearch`, which D2LV used (Wang et al. 2021).
"""

from __future__ import annotations

import math
import warnings

import cv2
import numpy as np

from isckit.config import Proposals

SMALLEST = 3
"""Pixels a side: texture is looked for in the neighbours of a pixel."""


def propose(image: np.ndarray, settings: Proposals) -> np.ndarray:
    """(H, W, 3) uint8 -> (n, 4) float64, n at most `most`: boxes (top, left, height, width) as fractions, by area.

    A function of the pixels and the settings alone: of boxes of one area the upper comes first, then the left.
    """
    reduced = _reduced(image, settings.longest)
    if min(reduced.shape[:2]) < SMALLEST:
        return np.empty((0, 4))
    sides = np.array(reduced.shape[:2] * 2, np.float64)
    boxes, sizes = regions(reduced, settings)
    # Segments are counted in pixels of the image as it is.
    sizes = sizes * (image.shape[0] * image.shape[1] / (reduced.shape[0] * reduced.shape[1]))
    native = boxes * (np.array(image.shape[:2] * 2) / sides)
    kept = (sizes >= settings.least_pixels) & (boxes[:, 2:] > 0).all(axis=1)
    tall, wide = native[kept, 2], native[kept, 3]
    fitting = (tall <= settings.aspect * wide) & (wide <= settings.aspect * tall)
    chosen = np.unique(boxes[kept][fitting], axis=0)  # sorted by top, then left
    chosen = chosen[np.argsort(-chosen[:, 2] * chosen[:, 3], kind="stable")]
    return chosen[distinct(chosen, settings.overlap, most=settings.most)] / sides


def regions(image: np.ndarray, settings: Proposals) -> tuple[np.ndarray, np.ndarray]:
    """Return all boxes (n, 4: top, left, height, width) of the hierarchical grouping, and pixels (n,) of their
    segments.
    """
    from selectivesearch import selective_search  # brings scikit-image, which few recipes need

    with warnings.catch_warnings(action="ignore", category=UserWarning):  # of its own way to call scikit-image
        _, found = selective_search(image, scale=settings.scale, sigma=settings.sigma, min_size=settings.least_size)
    boxes = [(top, left, height, width) for left, top, width, height in (region["rect"] for region in found)]
    return np.array(boxes, np.int64).reshape(-1, 4), np.array([region["size"] for region in found], np.int64)


def distinct(boxes: np.ndarray, overlap: float, *, most: int) -> np.ndarray:
    """Return rows of the first `most` boxes (top, left, height, width) that overlap none kept before by more than
    `overlap`.

    Intersection over union in whole pixels, the last pixel of a box being its own (D2LV's convention).
    """
    kept: list[int] = []
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    area = (boxes[:, 2:] + 1).prod(axis=1)
    free = np.ones(len(boxes), bool)
    while free.any() and len(kept) < most:
        row = int(free.argmax())
        kept.append(row)
        sides = np.minimum(high, high[row]) - np.maximum(low, low[row]) + 1
        common = sides.clip(min=0).prod(axis=1)
        free &= common <= overlap * (area + area[row] - common)
        free[row] = False
    return np.array(kept, np.int64)


def _reduced(image: np.ndarray, longest: int) -> np.ndarray:
    height, width = image.shape[:2]
    factor = longest / max(height, width)
    if factor >= 1:
        return image
    size = max(1, math.floor(width * factor)), max(1, math.floor(height * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
