"""Matching: the branches of a recipe, and the fusion of their scored pairs into one score a pair.

A branch may have several rows of a pair (of several members and views). Where branches are added or ranked, each counts
with its best row.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from isckit.config.base import STRICT, Count, NotNegativeInt, Positive
from isckit.config.branches import Branch, Views
from isckit.types import MAX_ROWS


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
    """Sum of weight * score over branches.

    Attributes:
        weights: one value a fused branch, in their order, as of the two below.
        absent: the score that a branch gives to a pair it lacks.
        logarithmic: of these branches log(1 + score) counts, of their absent score too.
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
    """1 / (constant + rank) of a pair among its query's, summed over branches; this depends on other references."""

    kind: Literal["ranks"] = "ranks"
    constant: Positive = 60.0


Fusion = Annotated[Best | Sum | TopMean | Weighted | Ranks, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Matching:
    """Branches in their order, the later ones on the pairs of earlier ones where they say so.

    Attributes:
        fused: names of the branches that are fused, () all.
        best_per_query: only so many references of each query are handed in (0: all); this depends on other references.
        rows_per_query: the list is cut at this times the queries.
    """

    branches: Annotated[tuple[Branch, ...], Field(min_length=1)] = (Views(),)
    fusion: Fusion = Best()
    fused: tuple[str, ...] = ()
    best_per_query: NotNegativeInt = 0
    rows_per_query: Count = 10
    max_rows: Annotated[int, Field(gt=0, le=MAX_ROWS)] = MAX_ROWS

    def __post_init__(self) -> None:
        names = [branch.name for branch in self.branches]
        if len(set(names)) < len(names) or any("." in name or "/" in name for name in names):
            raise ValueError(f"branches need distinct names without '.' and '/', got {names}")
        if unknown := set(self.fused) - set(names):
            raise ValueError(f"fused names {sorted(unknown)}, which are no branches")
        for at, branch in enumerate(self.branches):
            wanted = set(branch.takes)
            if missing := wanted - set(names[:at]):
                raise ValueError(f"branch {branch.name} takes candidates of {sorted(missing)}: none before it")

    @property
    def fused_branches(self) -> tuple[Branch, ...]:
        """The branches whose scores are fused."""
        return tuple(branch for branch in self.branches if not self.fused or branch.name in self.fused)
