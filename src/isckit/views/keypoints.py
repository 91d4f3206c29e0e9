"""Local features of one image: where its points are, how large and turned, and what the picture looks like there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from isckit.config import Keypoints

SQUARED_LENGTH = 255**2
"""Squared length of a RootSIFT descriptor in 8 bits, up to rounding (imgFp)."""
WIDTH = {"sift": 128, "orb": 32}
"""Bytes of a descriptor."""
_SIFT_SIGMA = 1.6
_DOUBLED = 255
"""OpenCV's octave -1, the doubled image, in the low byte of `KeyPoint.octave`."""
_MIRRORED_BINS = np.arange(128).reshape(4, 4, 8)[::-1][:, :, [0, 7, 6, 5, 4, 3, 2, 1]].ravel()
"""Where each value of a SIFT descriptor comes from when the picture is mirrored: 4 x 4 cells, 8 orientations."""


@dataclass(frozen=True)
class Points:
    """The points of one image, strongest first.

    Attributes:
        descriptors: (n, 128) uint8 RootSIFT, or (n, 32) uint8 ORB.
        frames: (n, 4) float32: x, y and diameter in pixels of the reduced image, angle in degrees.
        area: pixels of the reduced image.
    """

    descriptors: np.ndarray
    frames: np.ndarray
    area: int

    def __len__(self) -> int:
        return len(self.frames)


def extract(image: np.ndarray, settings: Keypoints) -> Points:
    """Points of an (H, W, 3) uint8 RGB image; none at all where there are fewer than `settings.least`."""
    luma = reduced(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), settings.short_side)
    described, values = (_sift_points if settings.kind == "sift" else _orb_points)(luma, settings)
    if values is None or len(described) < settings.least:
        return Points(np.zeros((0, WIDTH[settings.kind]), np.uint8), np.zeros((0, 4), np.float32), luma.size)
    descriptors = np.asarray(values)
    frames = np.array([(*point.pt, point.size, point.angle) for point in described], np.float32)
    return Points(rootsift(descriptors) if settings.kind == "sift" else descriptors, frames, luma.size)


def reduced(luma: np.ndarray, short_side: int) -> np.ndarray:
    """An (H, W) image with its shorter side reduced to `short_side` pixels, never enlarged."""
    height, width = luma.shape
    part = short_side / min(height, width)
    if part >= 1:
        return luma
    return cv2.resize(luma, (max(1, round(width * part)), max(1, round(height * part))), interpolation=cv2.INTER_AREA)


def rootsift(descriptors: np.ndarray) -> np.ndarray:
    """(n, 128) SIFT descriptors to 8 bits: round(255 * sqrt(d / sum of d)) (Arandjelovic & Zisserman 2012, imgFp)."""
    whole = np.maximum(descriptors.sum(axis=1, keepdims=True, dtype=np.float64), 1)
    return np.rint(255 * np.sqrt(descriptors / whole)).astype(np.uint8)


def mirrored(points: Points) -> Points:
    """SIFT points of the mirrored picture, without looking at it again; x counts from the right edge, leftwards."""
    frames = points.frames * np.array([-1, 1, 1, -1], np.float32) + np.array([0, 0, 0, 180], np.float32)
    return Points(mirrored_descriptors(points.descriptors), frames, points.area)


def mirrored_descriptors(descriptors: np.ndarray) -> np.ndarray:
    """(n, 128) SIFT descriptors as they are in the mirrored picture: a permutation, its own inverse (imgFp)."""
    return descriptors[:, _MIRRORED_BINS]


Found = tuple[Sequence[cv2.KeyPoint], np.ndarray | None]
"""Points and their descriptors, strongest first."""


def _sift_points(luma: np.ndarray, settings: Keypoints) -> Found:
    if not settings.enlarged:
        every = cv2.SIFT.create(0, settings.levels, settings.contrast, settings.edge, _SIFT_SIGMA, True)
        kept = [point for point in every.detect(luma, None) if point.octave & 255 != _DOUBLED]
        return _strongest(every, luma, kept, settings)
    # One pyramid for both halves of the work; of equals at the end of the list OpenCV gives more than it is asked for.
    several = cv2.SIFT.create(settings.points, settings.levels, settings.contrast, settings.edge, _SIFT_SIGMA, True)
    points, values = several.detectAndCompute(luma, None)
    order = sorted(range(len(points)), key=lambda at: _rank(points[at]))[: settings.points or None]
    return [points[at] for at in order], None if values is None else values[order]


def _orb_points(luma: np.ndarray, settings: Keypoints) -> Found:
    orb = cv2.ORB.create(settings.points or 100_000, nlevels=settings.levels)
    return _strongest(orb, luma, list(orb.detect(luma, None)), settings)


def _strongest(detector: cv2.Feature2D, luma: np.ndarray, points: list[cv2.KeyPoint], settings: Keypoints) -> Found:
    points = sorted(points, key=_rank)[: settings.points or None]
    return detector.compute(luma, points) if points else ((), None)


def _rank(point: cv2.KeyPoint) -> tuple:
    """Order of points; equal strengths by place, so that the list does not hang on how OpenCV goes about its search."""
    return -point.response, point.pt, point.size, point.angle
