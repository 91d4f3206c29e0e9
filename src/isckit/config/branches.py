"""The branches of the Matching track: each scores pairs of images in a way of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Annotated, Literal, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from isckit.config.base import STRICT, Count, NotNegative, NotNegativeInt, Share
from isckit.config.branch import BranchSettings, Dependence, Needs, OwnSpace
from isckit.config.local import Keypoints, Verify, Vote
from isckit.config.pairs import PairNetwork
from isckit.config.spaces import Cut, Space
from isckit.types import Role


def _of_cut(name: str, cut: Cut, *, final: bool) -> Iterator[Dependence]:
    setting = f"matching.branches.{name}.cut"
    remedy = f"{setting}.by=share, with an amount below 1"
    if cut.by == "neighbours":
        does = f"each query view lists its {cut.amount:g} best references"
        yield Dependence(f"{setting}.by=neighbours", does, "separate (2nd)", remedy)
    elif cut.by == "rows" and not final:
        does = "how far its list goes depends on all images, and other scores on the list"
        yield Dependence(f"{setting}.by=rows", does, "D2LV (1st)", remedy)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Views(BranchSettings):
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

    compares_views = True
    embeddings_only = True

    @property
    def reads(self) -> tuple[str, ...]:
        """Members that it reads, by name; () for all."""
        return self.members

    def view_sets(self, role: Role) -> tuple[str, ...]:
        """Return the view sets that it compares of images of a role; of train none."""
        return {Role.QUERY: self.query_views, Role.REFERENCE: self.reference_views}.get(role, ())

    def spaces(self, every: tuple[str, ...]) -> Iterator[OwnSpace]:
        """Yield its own space, where it has one."""
        if self.space is not None:
            yield OwnSpace(self.name, self.members or every, self.space)

    def dependences(self, *, final: bool) -> Iterator[Dependence]:
        """Yield what its cut looks at."""
        yield from _of_cut(self.name, self.cut, final=final)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Agreement(BranchSettings):
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

    compares_views = True

    @property
    def reads(self) -> tuple[str, ...]:
        """Members that agree."""
        return self.members

    @property
    def embeddings_only(self) -> bool:
        """True where no rows are dropped by sizes or faces."""
        return not (self.min_side or self.faceless)

    def view_sets(self, role: Role) -> tuple[str, ...]:
        """Return the view sets that it compares of images of a role; of train none."""
        return {Role.QUERY: self.query_views, Role.REFERENCE: self.reference_views}.get(role, ())

    def spaces(self, every: tuple[str, ...]) -> Iterator[OwnSpace]:
        """Yield a space for each member."""
        for member in self.members:
            yield OwnSpace(f"{self.name}.{member}", (member,), self.space)

    def needs(self, role: Role) -> Needs:
        """Return sizes of queries and faces of references, where rows are dropped by them."""
        sizes, faces = role is Role.QUERY and self.min_side > 0, role is Role.REFERENCE and self.faceless
        return Needs(sizes=sizes, faces=faces)

    def dependences(self, *, final: bool) -> Iterator[Dependence]:
        """Yield what its cut looks at: other members' rows hang on each list, so that none is the final one."""
        yield from _of_cut(self.name, self.cut, final=False)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Local(BranchSettings):
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

    @property
    def takes(self) -> tuple[str, ...]:
        """Branches whose pairs it verifies."""
        return self.candidates

    def needs(self, role: Role) -> Needs:
        """Return detected overlays of queries, where it looks at them."""
        return Needs(boxes=role is Role.QUERY and self.of == "overlay")

    def dependences(self, *, final: bool) -> Iterator[Dependence]:
        """Yield votes that only the nearest reference gets."""
        if self.vote is not None and self.vote.by == "nearest":
            does, setting = (
                "each point votes for the reference that is nearest of all",
                f"matching.branches.{self.name}",
            )
            yield Dependence(f"{setting}.vote.by=nearest", does, "imgFp (3rd)", f"{setting}.vote.by=radius")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Half:
    """A branch whose query views lie in one half of the query."""

    branch: str
    side: Literal["left", "vertical_center", "right"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Pairs(BranchSettings):
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

    @property
    def takes(self) -> tuple[str, ...]:
        """Branches whose pairs it scores."""
        return (*self.candidates, *(half.branch for half in self.halves))

    @property
    def trains(self) -> tuple[PairNetwork, ...]:
        """Its networks."""
        return self.networks

    def dependences(self, *, final: bool) -> Iterator[Dependence]:
        """Yield the choice between passes."""
        if self.keep:
            does, setting = f"the {self.keep} best references of each query go on", f"matching.branches.{self.name}"
            does += " to the second pass"
            yield Dependence(f"{setting}.keep={self.keep}", does, "separate (2nd)", f"{setting}.keep=0, with a floor")

    def with_trained(self, change: Callable[[PairNetwork], PairNetwork]) -> Self:
        """Return the same branch with its networks changed."""
        return dataclasses.replace(self, networks=tuple(map(change, self.networks)))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Asmk(BranchSettings):
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

    @property
    def reads(self) -> tuple[str, ...]:
        """The member whose local features it reads."""
        return (self.member,)

    def dependences(self, *, final: bool) -> Iterator[Dependence]:
        """Yield what its cut looks at."""
        yield from _of_cut(self.name, self.cut, final=final)


Branch = Annotated[Views | Agreement | Local | Pairs | Asmk, Field(discriminator="kind")]
