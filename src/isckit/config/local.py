"""Local features: which keypoints, how they vote for pairs of images, how geometry verifies a pair."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from isckit.config.base import STRICT, Count, NotNegative, NotNegativeInt, Positive


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Keypoints:
    """What is described of an image, its shorter side reduced to `short_side` pixels and never enlarged.

    points: the strongest so many are kept (0: all). least: images with fewer have none.
    kind: a name in `features.kinds`; weights: file of a learned one.
    sift: RootSIFT in 8 bits. levels, contrast and edge are OpenCV's; enlarged: the points of the doubled image too,
    without which small images have few. orb: `levels` of its pyramid; contrast, edge and enlarged are SIFT's alone.
    """

    kind: str = "sift"
    weights: str = ""
    short_side: Count = 300
    points: NotNegativeInt = 1_000
    least: NotNegativeInt = 10
    levels: Count = 3
    contrast: NotNegative = 0.0125
    edge: Positive = 10.0
    enlarged: bool = True


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Vote:
    """Query points look reference points up in an index; pairs of images with enough votes are candidates.

    index: exact, or cells by k-means on points of train images, of which a query point looks into `probes`; ivf_pq
    compares with codes of 32 bytes in place of the reference points.
    by radius: a query point votes for every image with a point within `radius` (squared distance of 8-bit RootSIFT,
    whose squared length is 65,025; Hamming for ORB), a function of the pair alone; a pair needs `least_votes`.
    by nearest (imgFp): each query point votes for the image of its one nearest reference point, and the best image
    wins against the second with `least_votes` (`least_alone` where there is no second) and a mean squared distance
    below `radius`; this looks at other references.
    consistent: of votes by radius only those that agree on turn and scale count together. mirrored: the mirrored query
    votes too.
    """

    index: Literal["exact", "ivf", "ivf_pq"] = "ivf"
    lists: Count = 1_024
    probes: Count = 16
    by: Literal["nearest", "radius"] = "radius"
    radius: Positive = 6_500.0
    least_votes: Count = 5
    least_alone: Count = 6
    consistent: bool = True
    mirrored: bool = True


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Verify:
    """Points of two images are matched by the distance ratio; the score is how many fit one geometric model.

    ratio: of squared distances, second over first (imgFp: 1.8). model: none counts matches (imgFp's code), the others
    inliers within `tolerance` pixels. least: with fewer a pair is not listed (0: all are). mirrored: the mirrored query
    too, the better of both. score: count, with a part below 1 for the distances; or relative to the points that could
    have matched, each inlier the less the further it is off (a model is needed).
    """

    ratio: Positive = 1.8
    model: Literal["none", "similarity", "affine", "homography"] = "affine"
    tolerance: Positive = 4.0
    least: NotNegativeInt = 4
    mirrored: bool = True
    score: Literal["count", "relative"] = "relative"

    def __post_init__(self) -> None:
        if self.model == "none" and self.score == "relative":
            raise ValueError("score=relative needs a model")
