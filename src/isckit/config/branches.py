"""Branches of the Matching track, one class a kind, and the pair networks of one of them; fusion is in `matching`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from isckit.config.base import STRICT, Count, NotNegative, NotNegativeInt, Positive, Share
from isckit.config.local import Keypoints, Verify, Vote
from isckit.config.members import Backbone
from isckit.config.spaces import Cut, Space
from isckit.config.training import Optim


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PairStage:
    """One stage: groups of look-alike train images, every reference with every query of the group a pair.

    Attributes:
        groups: steps, a group each, in the order of the anchors, from the first one again behind the last.
        log_groups: groups that the schedule of `optim` and the training log count as an epoch.
        group: images of a group.
        start: number of the first anchor.
        view, plain: pipelines of the queries and of the references; all images of a group get the same draws.
        grey: probability that a half is grey.
        duplicate: pairs whose descriptors have a cosine above it are left out, as they may be copies of each other.
        micro_batch: pairs that go through the network at a time (0: all).
    """

    name: str = "main"
    groups: Count = 1_000
    log_groups: Count = 500
    group: Annotated[int, Field(gt=1)] = 24
    start: NotNegativeInt = 0
    view: str = "separate.final"
    plain: str = "separate.basic"
    grey: Share = 0.0
    duplicate: Positive = 1.0
    micro_batch: NotNegativeInt = 0
    amp: bool = True
    optim: Optim = Optim(name="adam", lr=1e-5, weight_decay=1e-6, warmup_epochs=0.0, schedule="constant")

    @property
    def epochs(self) -> int:
        """Lines of the training log, the last of which may hold fewer groups."""
        return -(-self.groups // self.log_groups)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PairNetwork:
    """Reference | query side by side in one square picture -> backbone -> one logit (separate, Jeon 2021).

    Attributes:
        image_size: rows of each half, which has half as many columns.
        canvas: side of the square that views are cut from.
        tokens: where not 0, the backbone sees each image by itself, as a square, and its tokens, of so many values, are
            compared by attention (what a network from random weights can learn).
        grey: both halves, in training and at test.
        neighbours: the member whose train embeddings find the look-alikes.
        weights_of: the member whose backbone's weights this one begins with; "" for those that `backbone` says.
    """

    kind: Literal["pair_network"] = "pair_network"
    name: str = "pairs"
    backbone: Backbone = Backbone(name="vit_large_patch16_224", normalisation="imagenet")
    image_size: Annotated[int, Field(gt=0, multiple_of=2)] = 224
    canvas: Count = 448
    tokens: NotNegativeInt = 0
    grey: bool = False
    neighbours: str = "network"
    weights_of: str = ""
    stages: tuple[PairStage, ...] = (PairStage(),)

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        if not names or len(set(names)) < len(names) or any("." in name or "/" in name for name in names):
            raise ValueError(f"a pair network needs stages with distinct names without '.' and '/', got {names}")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Views:
    """Views of queries against views of references; a pair of images has the score of its best pair of views.

    Attributes:
        members: the ensemble members whose views are compared, () all.
        space: None for that of the Descriptor track.
        norm_factor, norm_first, norm_last: the score of two views is their similarity - norm_factor * the mean of the
            query view's train similarities at ranks norm_first to norm_last.
        crop_penalty: taken off the score for each of the two views that is of no `privileged` view set.
    """

    kind: Literal["views"] = "views"
    name: str = "views"
    members: tuple[str, ...] = ()
    space: Space | None = None
    query_views: tuple[str, ...] = ("mirror", "rotations", "centre_large", "two_thirds", "half_grid")
    reference_views: tuple[str, ...] = ("centre_large", "two_thirds")
    norm_factor: NotNegative = 1.5
    norm_first: Count = 1
    norm_last: Count = 5
    crop_penalty: NotNegative = 0.12
    privileged: tuple[str, ...] = ("whole",)
    cut: Cut = Cut(amount=100.0)

    def __post_init__(self) -> None:
        if self.norm_last < self.norm_first:
            raise ValueError("norm_last must not be smaller than norm_first")
        if self.members and self.space is None:
            raise ValueError("a branch of some members needs a space: that of the Descriptor track is of all")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Agreement:
    """Pairs of views on which several members agree, each in a space of its own (D2LV, Wang et al. 2021).

    Every member lists its pairs of views by `cut`. A pair of views on enough lists goes on with the score in each of
    them, as that many rows.

    Attributes:
        need: lists that have to hold a pair of views.
        crop_penalty: taken, once, off rows where not both views are of a `privileged` view set (() takes it off all
            rows).
        min_side: rows are dropped whose query view has a side of fewer pixels of the image as it is.
        faceless: rows are dropped whose reference shows a face.
    """

    kind: Literal["agreement"] = "agreement"
    name: str
    members: tuple[str, ...]
    need: Count = 2
    space: Space = Space(dim=1500, whiten=0.5, fit_images=20_000)
    query_views: tuple[str, ...] = ()
    reference_views: tuple[str, ...] = ()
    norm_factor: NotNegative = 2.0
    norm_first: Count = 1
    norm_last: Count = 10
    crop_penalty: NotNegative = 0.05
    privileged: tuple[str, ...] = ("whole", "overlays")
    min_side: NotNegativeInt = 0
    faceless: bool = False
    cut: Cut = Cut(by="rows", amount=20)

    def __post_init__(self) -> None:
        if len(set(self.members)) < len(self.members):
            raise ValueError(f"a member agrees with itself: {', '.join(self.members)}")
        if not self.need <= len(self.members):
            raise ValueError(f"{self.need} of {len(self.members)} members cannot agree")
        if self.norm_last < self.norm_first:
            raise ValueError("norm_last must not be smaller than norm_first")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Local:
    """Local features: keypoints of both images vote for pairs, geometry verifies them; score = what fits together.

    Attributes:
        vote: None where only the pairs of other branches are verified.
        candidates: names of earlier branches whose pairs are verified beside the voted ones.
        of: "image" is the query as the recipe's substitution leaves it, "original" as it is; "overlay" is the detected
            overlay in place of the query (imgFp's third branch), and queries without one get no pairs.
    """

    kind: Literal["local"] = "local"
    name: str = "local"
    keypoints: Keypoints = Keypoints()
    vote: Vote | None = Vote()
    verify: Verify = Verify()
    candidates: tuple[str, ...] = ()
    of: Literal["image", "original", "overlay"] = "image"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Half:
    """A branch whose query views lie in one half of the query."""

    branch: str
    side: Literal["left", "vertical_center", "right"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Pairs:
    """Networks that see both images at once score candidates (separate, Jeon 2021).

    A first pass scores whole images: mean over networks, the best of a pair counts. Then a second pass over views.

    Attributes:
        candidates: earlier branches whose pairs are scored.
        halves: of the pairs of these branches, the first pass also scores that half of the query.
        floor: score of the first pass that a pair has to reach for the second.
        keep: of those, the best so many of each query go on (0: all; else this depends on other references).
        views: of the query, in the second pass: maximum over views, mean over networks.
    """

    kind: Literal["pairs"] = "pairs"
    name: str = "pairs"
    networks: Annotated[tuple[PairNetwork, ...], Field(min_length=1)]
    candidates: Annotated[tuple[str, ...], Field(min_length=1)]
    halves: tuple[Half, ...] = ()
    floor: Share = 0.0
    keep: NotNegativeInt = 100
    views: tuple[str, ...] = ("pair_views",)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Asmk:
    """Aggregated selective match kernel over the local features of a member (HOW, Tolias et al. 2020).

    Score: sum of s^alpha over shared words with s >= threshold, s = 1 - 2 * Hamming distance / bits, over the root of
    both numbers of words; minus norm_factor * the score of the train image at rank norm_rank. Only pairs that share
    something are listed.

    Attributes:
        words: of a codebook by k-means on features, at scale 1.
        fit_images: train images that the codebook is fitted on.
        features: the strongest of an image over all `scales`.
        longest: pixels to which the longer side of an image is reduced, never enlarged.
        query_words: words to which a feature of a query is assigned; one of a reference or train image has one word.
    """

    kind: Literal["asmk"] = "asmk"
    name: str = "asmk"
    member: str
    words: Count = 65_536
    fit_images: Count = 20_000
    features: Count = 2_000
    scales: tuple[float, ...] = (2.0, 1.414, 1.0, 0.707, 0.5, 0.353, 0.25)
    longest: Count = 1_024
    query_words: Count = 5
    alpha: NotNegative = 3.0
    threshold: NotNegative = 0.0
    norm_factor: NotNegative = 2.0
    norm_rank: Count = 10
    cut: Cut = Cut()

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales must be above 0, at least one: {self.scales}")
        if self.query_words > self.words:
            raise ValueError(f"{self.query_words} of {self.words} words cannot be assigned")
        if self.cut.by == "share":
            raise ValueError("asmk has no cut by share: cut by rows, or by neighbours")


Branch = Annotated[Views | Agreement | Local | Pairs | Asmk, Field(discriminator="kind")]
