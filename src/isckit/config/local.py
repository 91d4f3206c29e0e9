"""Local features: the keypoints, their votes for pairs of images, and the check of a pair by geometry."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from isckit.config.base import STRICT, Count, NotNegative, NotNegativeInt, Positive


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Keypoints:
    """Keypoints of an image.

    Attributes:
        kind: a name in `features.kinds`; sift is RootSIFT in 8 bits.
        weights: file of a learned one.
        short_side: pixels to which the shorter side is reduced, never enlarged.
        points: the strongest so many are kept (0: all).
        least: images with fewer have none.
        levels: OpenCV's, of SIFT; of ORB's pyramid.
        contrast, edge: OpenCV's, of SIFT alone.
        enlarged: the points of the doubled image too, without which small images have few; SIFT alone.
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
    """Search of query points among reference points; pairs of images with enough votes are candidates.

    Attributes:
        index: exact; "ivf", cells by k-means on points of train images; "ivf_pq" compares with codes of 32 bytes in
            place of the reference points; "codes", an inverted file of codes of 64 bits on disk, for any size.
        lists, probes: cells, and those of them that a query point searches. With codes, 0 lists for as many as keep
            them short at the number of references that the run described when it was fitted.
        by: "radius", a query point votes for every image with a point within `radius`, a function of the pair alone;
            "nearest" (imgFp), it votes for the image of its one nearest reference point, and the image of most votes
            wins where their mean squared distance is below `radius`; this depends on other references.
        radius: squared distance of 8-bit RootSIFT, whose squared length is 65,025; Hamming for ORB.
        bits: that two codes may differ in, with codes, which know no radius.
        least_votes: that a pair needs.
        most: candidates that a query is expected to have with codes, at the number of references that the run described
            when it was fitted: where `least_votes` gives more, pairs need more votes, found on train and then fixed.
        least_alone: that it needs by nearest where no other image has votes.
        consistent: of votes by radius only those that agree on turn and scale count together.
        mirrored: the mirrored query votes too.
    """

    index: Literal["exact", "ivf", "ivf_pq", "codes"] = "ivf"
    lists: NotNegativeInt = 1_024
    probes: Count = 16
    by: Literal["nearest", "radius"] = "radius"
    radius: Positive = 6_500.0
    bits: Count = 15
    least_votes: Count = 5
    most: Count = 200
    least_alone: Count = 6
    consistent: bool = True
    mirrored: bool = True

    def __post_init__(self) -> None:
        if not self.lists and self.index != "codes":
            raise ValueError("0 lists are chosen for index=codes alone")
        if self.index == "codes" and self.by != "radius":
            raise ValueError("codes vote within a distance: by=radius")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Verify:
    """The check of a pair: points are matched by the distance ratio; the score is how many fit one geometric model.

    Attributes:
        ratio: of squared distances, second over first (imgFp: 1.8).
        model: none counts matches (imgFp's code), the others inliers.
        tolerance: pixels within which a match is an inlier.
        least: with fewer a pair is not listed (0: all are).
        mirrored: the mirrored query too, the better of both.
        score: count, with a part below 1 for the distances; or relative to the points that could have matched, each
            inlier the less the further it is off (a model is needed).
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
