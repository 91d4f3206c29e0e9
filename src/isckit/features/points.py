"""Points of an image: what every kind of local feature gives, and what a kind has to offer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

LONGEST_SIDE = 16_000
"""OpenCV warps no picture of 32,767 pixels or more, and SIFT doubles it first."""
SQUARED_LENGTH = 255**2
"""Squared length of a RootSIFT descriptor in 8 bits, up to rounding (imgFp)."""


@dataclass(frozen=True)
class Points:
    """The points of one image, strongest first.

    Attributes:
        descriptors: (n, width) uint8, see `LocalFeature`.
        frames: (n, 4) float32: x, y and diameter in pixels of the reduced image, angle in degrees.
        area: pixels of the reduced image.
        bits: True where descriptors are packed bits, compared by Hamming distance; else squared Euclidean.
    """

    descriptors: np.ndarray
    frames: np.ndarray
    area: int
    bits: bool = False

    def __len__(self) -> int:
        return len(self.frames)

    def vectors(self) -> np.ndarray:
        """Return (n, d) float32 vectors of the descriptors."""
        return vectors(self.descriptors, bits=self.bits)


class LocalFeature(Protocol):
    """A kind of local feature. Descriptors are whole numbers in 8 bits, so that distances are exact in float32.

    Attributes:
        width: bytes of a descriptor.
        bits: True where they are packed bits (Hamming distance), else squared Euclidean distance.
        weights: sha256 of the weights it was made with, a part of what keypoints are made from; "" without any.
        on_device: True where `detect` runs on the device on whole batches; else in loader workers, image by image.
    """

    width: int
    bits: bool
    weights: str
    on_device: bool

    def detect(self, images: Sequence[np.ndarray], device: Any = None) -> list[Points]:
        """Return the points of (H, W, 3) uint8 RGB images, each from its image alone."""
        ...

    def mirror(self, points: Points) -> Points | None:
        """Return the points of the mirrored picture; None where the mirrored picture has to be detected anew."""
        ...


def vectors(descriptors: np.ndarray, *, bits: bool) -> np.ndarray:
    """Return (n, width) uint8 descriptors as float32 vectors; bits unpacked: their squared distance is Hamming's."""
    return (np.unpackbits(descriptors, axis=1) if bits else descriptors).astype(np.float32)


def none(width: int, area: int, *, bits: bool) -> Points:
    """Return the points of an image that has none."""
    return Points(np.zeros((0, width), np.uint8), np.zeros((0, 4), np.float32), area, bits)


def reduced(luma: np.ndarray, short_side: int) -> np.ndarray:
    """Return an (H, W) image with its shorter side reduced to `short_side` pixels, never enlarged.

    Of a strip the longer side counts: at most LONGEST_SIDE.
    """
    height, width = luma.shape
    part = min(short_side / min(height, width), LONGEST_SIDE / max(height, width))
    if part >= 1:
        return luma
    return cv2.resize(luma, (max(1, round(width * part)), max(1, round(height * part))), interpolation=cv2.INTER_AREA)


def strongest(points: Sequence[cv2.KeyPoint], count: int) -> list[int]:
    """Return the rows of the strongest `count` (0: all) points; equals by place, not as OpenCV found them."""
    return sorted(range(len(points)), key=lambda at: _rank(points[at]))[: count or None]


def frames_of(points: Sequence[cv2.KeyPoint]) -> np.ndarray:
    """Return (n, 4) float32 frames of OpenCV's points."""
    return np.array([(*point.pt, point.size, point.angle) for point in points], np.float32).reshape(-1, 4)


def _rank(point: cv2.KeyPoint) -> tuple:
    return -point.response, point.pt, point.size, point.angle
