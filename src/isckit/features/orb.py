"""ORB: binary descriptors of oriented corners (Rublee et al. 2011)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from isckit.config import Keypoints
from isckit.features.points import Points, frames_of, none, reduced, strongest

_ALL = 100_000
_EDGE = 31
"""Pixels around the picture that OpenCV's ORB finds no points in; its pyramid fails on smaller pictures."""


class Orb:
    """OpenCV's ORB; see `LocalFeature`. Its bits know no mirror: mirrored pictures are detected anew."""

    width, bits, weights, on_device = 32, True, "", False

    def __init__(self, settings: Keypoints) -> None:
        self.settings = settings

    def detect(self, images: Sequence[np.ndarray], device: Any = None) -> list[Points]:
        """Return the points of (H, W, 3) uint8 RGB images; none where there are fewer than `settings.least`."""
        return [self._detect(image) for image in images]

    def mirror(self, points: Points) -> None:
        """Return None: the mirrored picture has to be detected anew."""

    def _detect(self, image: np.ndarray) -> Points:
        settings = self.settings
        luma = reduced(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), settings.short_side)
        if min(luma.shape) <= 2 * _EDGE:
            return none(self.width, luma.size, bits=self.bits)
        orb = cv2.ORB.create(settings.points or _ALL, nlevels=settings.levels)
        found = list(orb.detect(luma, None))
        chosen = [found[at] for at in strongest(found, settings.points)]
        points, values = orb.compute(luma, chosen) if chosen else ((), None)
        if values is None or len(points) < settings.least:
            return none(self.width, luma.size, bits=self.bits)
        return Points(np.asarray(values), frames_of(points), luma.size, self.bits)
