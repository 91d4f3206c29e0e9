"""RootSIFT in 8 bits (Lowe 2004; Arandjelovic & Zisserman 2012; imgFp)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from isckit.config import Keypoints
from isckit.features.points import Points, frames_of, none, reduced, strongest

_SIGMA = 1.6
_DOUBLED = 255
"""OpenCV's octave -1, the doubled image, in the low byte of `KeyPoint.octave`."""
_MIRRORED_BINS = np.arange(128).reshape(4, 4, 8)[::-1][:, :, [0, 7, 6, 5, 4, 3, 2, 1]].ravel()
"""Where each value of a SIFT descriptor comes from when the picture is mirrored: 4 x 4 cells, 8 orientations."""


class RootSift:
    """SIFT points with square roots of their descriptors; see `LocalFeature`."""

    width, bits, weights, on_device = 128, False, "", False

    def __init__(self, settings: Keypoints) -> None:
        self.settings = settings

    def detect(self, images: Sequence[np.ndarray], device: Any = None) -> list[Points]:
        """Return the points of (H, W, 3) uint8 RGB images; none where there are fewer than `settings.least`."""
        return [self._detect(image) for image in images]

    def mirror(self, points: Points) -> Points:
        """Return the points of the mirrored picture; x counts from the right edge, leftwards."""
        frames = points.frames * np.array([-1, 1, 1, -1], np.float32) + np.array([0, 0, 0, 180], np.float32)
        return Points(mirrored_descriptors(points.descriptors), frames, points.area)

    def _detect(self, image: np.ndarray) -> Points:
        luma = reduced(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), self.settings.short_side)
        points, values = self._enlarged(luma) if self.settings.enlarged else self._plain(luma)
        if values is None or len(points) < self.settings.least:
            return none(self.width, luma.size, bits=self.bits)
        return Points(rootsift(np.asarray(values)), frames_of(points), luma.size)

    def _enlarged(self, luma: np.ndarray) -> tuple[Sequence[cv2.KeyPoint], np.ndarray | None]:
        # One pyramid for both halves of the work; of equals at the end of the list OpenCV gives more than asked for.
        points, values = self._sift(self.settings.points).detectAndCompute(luma, None)
        order = strongest(points, self.settings.points)
        return [points[at] for at in order], None if values is None else values[order]

    def _plain(self, luma: np.ndarray) -> tuple[Sequence[cv2.KeyPoint], np.ndarray | None]:
        sift = self._sift(0)
        kept = [point for point in sift.detect(luma, None) if point.octave & 255 != _DOUBLED]
        points = [kept[at] for at in strongest(kept, self.settings.points)]
        return sift.compute(luma, points) if points else ((), None)

    def _sift(self, points: int) -> cv2.SIFT:
        settings = self.settings
        return cv2.SIFT.create(points, settings.levels, settings.contrast, settings.edge, _SIGMA, True)


def rootsift(descriptors: np.ndarray) -> np.ndarray:
    """Return (n, 128) SIFT descriptors in 8 bits: round(255 * sqrt(d / sum of d))."""
    whole = np.maximum(descriptors.sum(axis=1, keepdims=True, dtype=np.float64), 1)
    return np.rint(255 * np.sqrt(descriptors / whole)).astype(np.uint8)


def mirrored_descriptors(descriptors: np.ndarray) -> np.ndarray:
    """Return (n, 128) SIFT descriptors as they are in the mirrored picture: a permutation, its own inverse (imgFp)."""
    return descriptors[:, _MIRRORED_BINS]
