"""Perceptual hashes as ensemble members without weights: PDQ (Davis & Rosen 2019) and pHash (Zauner 2010).

Both set a bit for each low frequency of the grey picture that is above the median of them. A bit that is set becomes
+1, another -1, and the vector has unit length: the inner product of two is 1 - 2 * Hamming distance / bits.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn

from isckit import config
from isckit.views.geometry import View, cut_image

LUMA = np.array([[0.299, 0.587, 0.114]], np.float32)
SIDE, PASSES = 64, 2
LARGEST = 512
"""Longer pictures are reduced to 512 x 512 before they are filtered, as in the authors' program (which takes the
nearest pixels; here they are averaged)."""
SMALLEST = 5
"""Pictures of fewer rows or columns have no bit set, as in the authors' program."""
FLAT = 1e-2
"""Frequencies of smaller magnitude, in grey levels, are rounding errors and count as 0: a flat picture sets no bit."""


@functools.cache
def cosines(first: int, count: int, size: int) -> np.ndarray:
    """Return (count, size) float64: rows first, first + 1, ... of the DCT-II, at unit length (but for row 0)."""
    frequencies = np.arange(first, first + count)[:, None]
    return math.sqrt(2 / size) * np.cos(np.pi / 2 / size * frequencies * (2 * np.arange(size) + 1))


def pdq(image: np.ndarray) -> np.ndarray:
    """Return (256,) bool of (H, W, 3) uint8: frequencies 1 to 16 of both axes, row by row."""
    height, width = image.shape[:2]
    if min(height, width) < SMALLEST:
        return np.zeros(256, bool)
    if max(height, width) > LARGEST:
        image = cv2.resize(image, (LARGEST, LARGEST), interpolation=cv2.INTER_AREA)
    small = decimated(jarosz(cv2.transform(image.astype(np.float32), LUMA)))
    rows = cosines(1, 16, SIDE)
    return _above_median(rows @ small @ rows.T)


def jarosz(grey: np.ndarray) -> np.ndarray:
    """Filter (H, W) float32 by two passes of a box, each as wide as half a pixel of the 64 x 64 picture.

    At the borders the mean is that of the pixels that are there. An even box reaches one pixel further ahead than back.
    """
    height, width = grey.shape
    sizes = (-(-width // (2 * SIDE)), -(-height // (2 * SIDE)))
    ahead = [size // 2 for size in sizes]
    anchor = (sizes[0] - 1 - ahead[0], sizes[1] - 1 - ahead[1])

    def summed(table: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(table, -1, sizes, anchor=anchor, normalize=False, borderType=cv2.BORDER_CONSTANT)

    counts = summed(np.ones((height, width), np.float32))
    for _ in range(PASSES):
        grey = summed(grey) / counts
    return grey


def decimated(grey: np.ndarray) -> np.ndarray:
    """Return (64, 64) of (H, W): the pixels at the centres of 64 x 64 cells."""
    rows, columns = (((np.arange(SIDE) + 0.5) * size / SIDE).astype(int) for size in grey.shape)
    return grey[np.ix_(rows, columns)]


def phash(image: np.ndarray) -> np.ndarray:
    """Return (64,) bool of (H, W, 3) uint8: frequencies 0 to 7 of both axes at 32 x 32 (Pillow's Lanczos)."""
    grey = Image.fromarray(image).convert("L").resize((32, 32), Image.Resampling.LANCZOS)
    rows = cosines(0, 8, 32)
    # The mean of the two middle values, where PDQ takes the lower: so both programs do.
    return _above_median(rows @ np.asarray(grey, np.float64) @ rows.T, lower=False)


def _above_median(frequencies: np.ndarray, *, lower: bool = True) -> np.ndarray:
    values = np.where(np.abs(frequencies) < FLAT, 0.0, frequencies).ravel()
    median = np.partition(values, (len(values) - 1) // 2)[(len(values) - 1) // 2] if lower else np.median(values)
    return values > median


METHODS: dict[str, tuple[int, Callable[[np.ndarray], np.ndarray]]] = {"pdq": (256, pdq), "phash": (64, phash)}


class HashDescriber(nn.Module):
    """A hash as an ensemble member: the bits of all views are found in the loader worker.

    Attributes:
        dim: the number of bits.
    """

    def __init__(self, settings: config.Hash) -> None:
        super().__init__()
        self.dim, self.method = METHODS[settings.method]

    def prepare(self, image: np.ndarray, views: tuple[View, ...]) -> np.ndarray:
        """Return (V, bits) uint8 of 0 and 1 of (H, W, 3) uint8."""
        return np.stack([self.method(cut_image(image, view)) for view in views]).astype(np.uint8)

    def embed(self, prepared: torch.Tensor, views: tuple[View, ...]) -> torch.Tensor:
        """Return (B, V, bits) float32 of +1 and -1, divided by the root of their number."""
        return (2 * prepared.float() - 1) / math.sqrt(self.dim)
