"""Spaces: from the vectors of members to those that are compared, and the compared pairs that go on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from isckit.config.base import STRICT, Count, NotNegative, NotNegativeInt, Positive
from isckit.types import MAX_DIM


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Ensemble:
    """Members to one descriptor.

    Attributes:
        how: "pca", concatenated members -> PCA fitted on train -> L2; "shared", members that share one space
            (titanshield2): references and train by the first member, queries by the mean of the others.
        members: names of those that it is made of, () all.
        dim: values of the descriptor.
        whiten: the eigenvalue power of the PCA: 0 none, 0.5 full.
    """

    how: Literal["pca", "shared"] = "pca"
    members: tuple[str, ...] = ()
    dim: Annotated[int, Field(gt=0, le=MAX_DIM)] = 256
    whiten: NotNegative = 0.25
    fit_images: Count = 200_000


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Space:
    """A space of the Matching track, where descriptors may be of any width.

    Members are concatenated, reduced by a PCA fitted on train, and set to unit length; `dim` 0 leaves them as they are.
    """

    dim: int = 0
    whiten: NotNegative = 0.0
    fit_images: Count = 200_000


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Cut:
    """The scored pairs of views that go on.

    Attributes:
        by: "rows", the best pairs of views, `amount` times the query images, over all of them (D2LV: 20); how far down
            the list goes depends on other images; "neighbours", of every query view its `amount` best reference views
            (separate); this depends on other references; "share", all that reach the score which a share of `amount` of
            unrelated pairs of train images reaches: this depends on nothing but the pair, and is fitted once, on train.
        most: pairs of views that a query image is expected to have by share, at the number of references that the run
            described when it was fitted: where `amount` gives more, a smaller share takes its place.
    """

    by: Literal["rows", "neighbours", "share"] = "rows"
    amount: Positive = 10.0
    most: Count = 2_000

    def __post_init__(self) -> None:
        if self.by == "share" and self.amount >= 1:
            raise ValueError(f"a cut by share needs an amount below 1, got {self.amount}")
        if self.by == "neighbours" and self.amount != int(self.amount):
            raise ValueError(f"a cut by neighbours needs a whole amount, got {self.amount}")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Subtract:
    """Negative embedding subtraction (lyakaap): x <- unit(x - beta * mean of the k nearest train vectors).

    Attributes:
        dba: the train vectors are first replaced by a weighted mean of so many neighbours, themselves included (0:
            not).
        dba_power: each neighbour is weighted by its similarity to this power.
    """

    kind: Literal["subtract"] = "subtract"
    iterations: Count = 1
    k: Count = 10
    beta: NotNegative = 0.35
    dba: NotNegativeInt = 0
    dba_power: Positive = 3.0
    sides: Literal["both", "queries"] = "both"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Stretch:
    """Descriptor stretching (visionForce), queries only: q <- alpha * mean of the n largest train similarities * q."""

    kind: Literal["stretch"] = "stretch"
    n: Count = 5
    alpha: Positive = 2.5


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Push:
    """Query normalisation (S-square), queries only: q <- q + amount * sqrt(mean_n) * away from its k train neighbours.

    Attributes:
        by: each difference is divided by the root mean square of its coordinate over the neighbours, or by its own
            length.
    """

    kind: Literal["push"] = "push"
    amount: Positive = 1.8
    k: Count = 100
    n: Count = 3
    by: Literal["coordinate", "vector"] = "coordinate"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Offset:
    """Score normalisation as one more coordinate: q <- [q, sqrt(2 beta mean_n + floor)], r <- [r, 0]."""

    kind: Literal["offset"] = "offset"
    beta: Positive = 1.0
    n: Count = 3
    floor: NotNegative = 0.5


NormaliseStep = Annotated[Subtract | Stretch | Push | Offset, Field(discriminator="kind")]
