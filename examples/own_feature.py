"""A kind of local feature of one's own: corners by FAST, described by BRISK's bits.

In the package it is a file in `src/isckit/features` and a line in `src/isckit/features/kinds.py`; recipes name it by
`keypoints.kind`. The contract is `LocalFeature` in `features/points.py`.

    python examples/own_feature.py
"""

from collections.abc import Sequence

import cv2
import numpy as np

from isckit.config import Keypoints, Verify
from isckit.features.kinds import FEATURES, feature_of
from isckit.features.points import Points, frames_of, none, reduced, strongest
from isckit.matching.local.verify import Shown
from isckit.synthetic.procedural import picture


class Brisk:
    """512 bits around FAST corners (Leutenegger et al. 2011); bits know no mirror."""

    width, bits, weights, on_device = 64, True, "", False

    def __init__(self, settings: Keypoints) -> None:
        self.settings = settings

    def detect(self, images: Sequence[np.ndarray], device: object = None) -> list[Points]:
        """Return the points of each image, from that image alone."""
        return [self._detect(image) for image in images]

    def mirror(self, points: Points) -> None:
        """Return None: mirrored pictures are detected anew."""

    def _detect(self, image: np.ndarray) -> Points:
        luma = reduced(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), self.settings.short_side)
        points, values = cv2.BRISK.create().detectAndCompute(luma, None)
        if len(points) < self.settings.least:
            return none(self.width, luma.size, bits=True)
        rows = strongest(points, self.settings.points)
        return Points(values[rows], frames_of([points[row] for row in rows]), luma.size, bits=True)


def main() -> tuple[float, float]:
    """Return the score of a picture against a smaller, darker copy of it, and against another picture."""
    FEATURES["brisk"] = Brisk
    shown, other = picture(1, size=256), picture(2, size=256)
    copy = (cv2.resize(shown, (200, 200)) * 0.8).astype(np.uint8)
    whole, same, apart = feature_of(Keypoints(kind="brisk")).detect([shown, copy, other])
    found = Shown([same]).score(whole, Verify(ratio=1.2)), Shown([apart]).score(whole, Verify(ratio=1.2))
    print(f"{len(whole)} points; a copy scores {found[0]:.1f}, another picture {found[1]:.1f}")
    return found


if __name__ == "__main__":
    main()
