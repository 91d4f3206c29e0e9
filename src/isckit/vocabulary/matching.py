"""The Matching track as one value: branches, their fusion, and the list that is handed in."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from isckit.vocabulary.base import STRICT, Count, NotNegativeInt
from isckit.vocabulary.branches import Agreement, Branch, Local, Pairs, Views
from isckit.vocabulary.fusion import Best, Fusion
from isckit.workspace import MAX_ROWS


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Matching:
    """Branches in their order, the later ones on the pairs of earlier ones where they say so.

    fused: names of the branches that are fused, () all. best_per_query: only so many references of each query are
    handed in (0: all); this looks at other references. The list is cut at rows_per_query times the queries.
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
            wanted = set(branch.candidates if isinstance(branch, Local | Pairs) else ())
            wanted |= {half.branch for half in branch.halves} if isinstance(branch, Pairs) else set()
            if missing := wanted - set(names[:at]):
                raise ValueError(f"branch {branch.name} takes candidates of {sorted(missing)}: none before it")

    @property
    def fused_branches(self) -> tuple[Branch, ...]:
        """The branches whose scores are fused."""
        return tuple(branch for branch in self.branches if not self.fused or branch.name in self.fused)

    @property
    def viewed(self) -> tuple[Views | Agreement, ...]:
        """The branches that compare embeddings of views."""
        return tuple(branch for branch in self.branches if isinstance(branch, Views | Agreement))


__all__ = ["Agreement", "Matching", "Views"]
