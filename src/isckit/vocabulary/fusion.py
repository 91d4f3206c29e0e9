"""How the scored pairs of several branches become one score a pair.

A branch may have several rows of a pair (of several members and views). Where branches are added or ranked, each counts
with its best row.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from isckit.vocabulary.base import STRICT, Count, Positive


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Best:
    """The largest score of any branch."""

    kind: Literal["best"] = "best"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Sum:
    """The sum over the branches that have the pair (imgFp)."""

    kind: Literal["sum"] = "sum"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TopMean:
    """The mean of the `rows` best rows of a pair, of any branches (D2LV: 2); of fewer where there are fewer.

    Rows are those of a member, a view of either image and a scale, which no branch gives twice: equal scores are rows
    of their own. (The published code loses a score that several rows have.)
    """

    kind: Literal["top_mean"] = "top_mean"
    rows: Count = 2


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Weighted:
    """Sum of weight * score over branches; a branch that lacks a pair gives it its `absent` score.

    weights, absent, logarithmic: one value a fused branch, in their order; of logarithmic branches log(1 + score)
    counts, of their absent score too.
    """

    kind: Literal["weighted"] = "weighted"
    weights: tuple[float, ...]
    absent: tuple[float, ...]
    logarithmic: tuple[bool, ...]

    def __post_init__(self) -> None:
        if not len(self.weights) == len(self.absent) == len(self.logarithmic):
            raise ValueError("weights, absent and logarithmic need one value a branch")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Ranks:
    """1 / (constant + rank) of a pair among its query's, summed over branches; this looks at other references."""

    kind: Literal["ranks"] = "ranks"
    constant: Positive = 60.0


Fusion = Annotated[Best | Sum | TopMean | Weighted | Ranks, Field(discriminator="kind")]
