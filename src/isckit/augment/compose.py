"""Edits that join two pictures or cover a part of one; patches and emoji in random rectangles are in `covering`."""

from __future__ import annotations

import math

import cv2
import numpy as np

from isckit.augment.colour import random_colour
from isckit.augment.draws import Range
from isckit.augment.geometry import bounded, resize


def paste(image: np.ndarray, patch: np.ndarray, *, top: int, left: int, alpha: float | np.ndarray = 1.0) -> np.ndarray:
    """Return a copy of `image` with `patch` at (top, left); what hangs over the edge is cut off.

    Args:
        image: (h, w, 3) uint8.
        patch: (a, b, 3) uint8.
        top: row of the patch's first row, may be negative.
        left: column of the patch's first column, may be negative.
        alpha: opacity in 0..1, one number or (a, b, 1).
    """
    out = image.copy()
    rows = slice(max(top, 0), min(top + patch.shape[0], image.shape[0]))
    columns = slice(max(left, 0), min(left + patch.shape[1], image.shape[1]))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return out
    inside = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
    below, above = out[rows, columns].astype(np.float32), patch[inside].astype(np.float32)
    weight = alpha[inside] if isinstance(alpha, np.ndarray) else np.float32(alpha)
    out[rows, columns] = np.rint(below + (above - below) * weight)
    return out


def overlay(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    other: np.ndarray,
    share: Range = (0.2, 0.6),
    opacity: Range = (0.6, 1.0),
) -> np.ndarray:
    """Paste `other` on the image: at most `share` of each side, aspect kept, anywhere inside; opacity is cut to 1."""
    return _paste_inside(image, other, rng, share, opacity)


def underlay(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    other: np.ndarray,
    share: Range = (0.4, 0.8),
    opacity: Range = (0.6, 1.0),
) -> np.ndarray:
    """Paste the image on `other`: at most `share` of each side, aspect kept, anywhere inside; opacity as above."""
    return _paste_inside(bounded(other, image.shape[0] * image.shape[1]), image, rng, share, opacity)


def _paste_inside(
    canvas: np.ndarray, patch: np.ndarray, rng: np.random.Generator, share: Range, opacity: Range
) -> np.ndarray:
    room = np.array(canvas.shape[:2])
    sides = np.array(patch.shape[:2])
    height, width = np.maximum(1, (sides * (rng.uniform(*share) * (room / sides).min())).astype(int)).tolist()
    top, left = rng.integers(room - (height, width), endpoint=True).tolist()
    return paste(canvas, resize(patch, height, width), top=top, left=left, alpha=min(1.0, rng.uniform(*opacity)))


def overlay_by_height(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    other: np.ndarray,
    share: Range = (0.1, 0.7),
    opacity: Range = (0.6, 1.0),
    corner: Range | None = None,
) -> np.ndarray:
    """Paste `other` on the image as AugLy does: `share` is its height over the image's, its aspect is kept.

    Its corner lies at `corner` of each side (None: between 0 and 1 - share), so a wide one is cut off at the right.
    An opacity above 1 counts as 1.
    """
    return _paste_by_height(image, other, rng, share, opacity, corner)


def underlay_by_height(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    other: np.ndarray,
    share: Range = (0.4, 0.8),
    opacity: Range = (0.6, 1.0),
    corner: Range | None = None,
) -> np.ndarray:
    """Paste the image on `other`, as `overlay_by_height`."""
    return _paste_by_height(bounded(other, image.shape[0] * image.shape[1]), image, rng, share, opacity, corner)


def _paste_by_height(
    canvas: np.ndarray,
    patch: np.ndarray,
    rng: np.random.Generator,
    share: Range,
    opacity: Range,
    corner: Range | None,
) -> np.ndarray:
    part = rng.uniform(*share)
    height = max(1, int(part * canvas.shape[0]))
    low, high = corner or (0.0, 1 - part)
    top, left = (rng.uniform(low, high, 2) * canvas.shape[:2]).astype(int).tolist()
    # Columns that cannot be seen, as they lie more than a canvas from the left, are not resized in the first place.
    patch = patch[:, : math.ceil(canvas.shape[1] * patch.shape[0] / height)]
    width = max(1, patch.shape[1] * height // patch.shape[0])
    return paste(canvas, resize(patch, height, width), top=top, left=left, alpha=min(1.0, rng.uniform(*opacity)))


def blend(image: np.ndarray, rng: np.random.Generator, *, other: np.ndarray, opacity: Range = (0.5, 0.9)) -> np.ndarray:
    """Mix with `other`, stretched to the image's shape; `opacity` is the image's own share."""
    return mix(image, resize(other, *image.shape[:2]), rng.uniform(*opacity))


def mix(image: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """Return share * image + (1 - share) * other, both of one shape, rounded."""
    return cv2.addWeighted(image, share, other, 1 - share, 0.0)


def collage(image: np.ndarray, rng: np.random.Generator, *, other: np.ndarray) -> np.ndarray:
    """Return a grid of two or four equal cells: the image in one, `other` and its mirror images in the rest."""
    rows, columns = ((1, 2), (2, 1), (2, 2))[rng.integers(3)]
    height, width = math.ceil(image.shape[0] / rows), math.ceil(image.shape[1] / columns)
    foreign = resize(other, height, width)
    cells = [foreign, foreign[:, ::-1], foreign[::-1], foreign[::-1, ::-1]][: rows * columns]
    cells[rng.integers(len(cells))] = resize(image, height, width)
    return np.vstack([np.hstack(cells[r * columns : (r + 1) * columns]) for r in range(rows)])


def erase(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    scale: Range = (0.02, 0.33),
    ratio: Range = (0.3, 3.3),
    gaussian: bool = False,
) -> np.ndarray:
    """Fill a random box with noise (Random Erasing, Zhong et al. 2020); `scale` is its share of the area.

    The noise is even over 0..255, or `gaussian`: of mean 0 and deviation 1 where 1 is white, cut to what exists.
    """
    height, width = image.shape[:2]
    area, aspect = rng.uniform(*scale) * height * width, math.exp(rng.uniform(*np.log(ratio)))
    box_h = min(height, max(1, round(math.sqrt(area / aspect))))
    box_w = min(width, max(1, round(math.sqrt(area * aspect))))
    top, left = rng.integers(height - box_h, endpoint=True), rng.integers(width - box_w, endpoint=True)
    out = image.copy()
    if gaussian:
        noise = np.clip(rng.standard_normal((box_h, box_w, 3), np.float32) * 255, 0, 255).astype(np.uint8)
    else:
        noise = rng.integers(256, size=(box_h, box_w, 3), dtype=np.uint8)
    out[top : top + box_h, left : left + box_w] = noise
    return out


def shapes(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    count: tuple[int, int] = (1, 4),
    share: Range = (0.1, 0.4),
) -> np.ndarray:
    """Draw opaque upright rectangles and turned ellipses of random colours; each side a `share` of the image's."""
    out = image.copy()
    sides = np.array(image.shape[1::-1])
    for _ in range(rng.integers(*count, endpoint=True)):
        half = np.maximum(1, rng.uniform(*share, 2) * sides / 2).astype(int)
        centre = rng.integers(sides)
        if rng.random() < 0.5:
            cv2.rectangle(out, (centre - half).tolist(), (centre + half).tolist(), random_colour(rng), cv2.FILLED)
        else:
            turned = rng.uniform(0, 180)
            cv2.ellipse(out, centre.tolist(), half.tolist(), turned, 0, 360, random_colour(rng), cv2.FILLED)
    return out
