"""Local features: which keypoints, how they vote for pairs of images, how geometry verifies a pair."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from isckit.vocabulary.base import STRICT, Count, NotNegative, NotNegativeInt, Positive


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Keypoints:
    """What is described of an image, its shorter side reduced to `short_side` pixels and never enlarged.

    points: the strongest so many are kept (0: all). least: images with fewer have none.
    sift: RootSIFT in 8 bits. levels, contrast and edge are OpenCV's; enlarged: keep the points of the doubled image.
    """

    kind: Literal["sift", "orb"] = "sift"
    short_side: Count = 300
    points: NotNegativeInt = 600
    least: NotNegativeInt = 10
    levels: Count = 7
    contrast: NotNegative = 0.0125
    edge: Positive = 10.0
    enlarged: bool = False


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Vote:
    """Query points look reference points up in an index; pairs of images with enough votes are candidates.

    index: exact, or IVF-PQ with `lists` cells of which `probes` are read, trained on points of train images.
    by: nearest (imgFp): each query point votes for the image of its one nearest reference point, and the best image
    wins against the second; this looks at other references. radius: it votes for every image with a point within
    `radius` (squared distance of 8-bit RootSIFT, whose squared length is 65,025; Hamming for ORB), a function of the
    pair alone.
    """

    index: Literal["exact", "ivf_pq", "ivf"] = "ivf"
    lists: Count = 1_024
    probes: Count = 16
    by: Literal["nearest", "radius"] = "radius"
    radius: Positive = 8_000.0
    least_votes: Count = 3
    mirrored: bool = True


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Verify:
    """Points of two images are matched by the distance ratio; the score is how many fit one geometric model.

    ratio: of squared distances, second over first (imgFp: 1.8). model: none counts matches (imgFp's code), the others
    count inliers of MAGSAC within `tolerance` pixels. mirrored: the mirrored query too, the better of both.
    """

    ratio: Positive = 1.8
    model: Literal["none", "affine", "homography"] = "affine"
    tolerance: Positive = 4.0
    least: NotNegativeInt = 4
    mirrored: bool = True
