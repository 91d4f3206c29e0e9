"""Fusion: the scored rows of all branches become one score a pair of images.

Every fusion but `Ranks` gives a pair a score from its own rows alone. What follows a fusion is a step of its own:
`best_per_query` where a recipe has it, then the cut of the list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from isckit import config
from isckit.data.ground_truth import id_codes
from isckit.types import BadInput, Matches


def fuse(found: Mapping[str, Matches], fusion: config.Fusion) -> Matches:
    """Return one row a pair that any branch found, by query id, then reference id.

    Args:
        found: rows of each branch, by its name; rows of one pair may repeat.

    Raises:
        BadInput: `Weighted` with another number of weights than branches, or a score of -1 or less where log(1 + score)
            counts.
    """
    rows = _Rows.of(list(found.values()))
    match fusion:
        case config.Best():
            best = _best(rows.pair, rows.score)
            return rows.matches(best, rows.score[best])
        case config.TopMean():
            return _top_mean(rows, fusion.rows)
        case config.Sum():
            best = rows.best_of_branches
            return _added(rows, best, rows.score[best])
        case config.Weighted():
            return _weighted(rows, fusion, list(found))
        case config.Ranks():
            best = rows.best_of_branches
            return _added(rows, best, 1 / (fusion.constant + rows.ranks(best)))


def best_per_query(matches: Matches, n: int) -> Matches:
    """Return the n best references of each query, ties by reference id, in the order of the rows as they came.

    A row stays or goes by the other rows of its query (the second system of ISC2021 keeps one reference a query).
    """
    query, reference = _codes([matches])
    order = np.lexsort((reference, -matches.scores, query))
    return matches.take(np.sort(order[_places(query[order]) < n]))


@dataclass(frozen=True)
class _Rows:
    """The rows of several branches: numbers that sort as the ids do, of query, reference and pair; branch; score."""

    ids: tuple[np.ndarray, np.ndarray]
    query: np.ndarray
    reference: np.ndarray
    pair: np.ndarray
    branch: np.ndarray
    score: np.ndarray
    branches: int

    @staticmethod
    def of(found: Sequence[Matches]) -> _Rows:
        query, reference = _codes(found)
        return _Rows(
            ids=(_column([m.query_ids for m in found]), _column([m.reference_ids for m in found])),
            query=query,
            reference=reference,
            pair=query * (int(reference.max(initial=0)) + 1) + reference,
            branch=np.repeat(np.arange(len(found)), [len(m) for m in found]),
            score=np.concatenate([np.empty(0), *(m.scores for m in found)]).astype(np.float64),
            branches=len(found),
        )

    def matches(self, rows: np.ndarray, scores: np.ndarray) -> Matches:
        """Return the pairs of some rows, with these scores."""
        return Matches(self.ids[0][rows], self.ids[1][rows], scores)

    @cached_property
    def best_of_branches(self) -> np.ndarray:
        """The best row of each pair in each branch, by pair, then branch."""
        return _best(self.pair * self.branches + self.branch, self.score)

    def ranks(self, rows: np.ndarray) -> np.ndarray:
        """Return rank, from 1, of each of these rows among those of its branch and query; ties go by reference id."""
        group = self.query[rows] * self.branches + self.branch[rows]
        order = np.lexsort((self.reference[rows], -self.score[rows], group))
        ranks = np.empty(len(rows), np.int64)
        ranks[order] = _places(group[order]) + 1
        return ranks


def _top_mean(rows: _Rows, n: int) -> Matches:
    order = np.lexsort((-rows.score, rows.pair))
    kept = order[_places(rows.pair[order]) < n]
    starts = _starts(rows.pair[kept])
    counts = np.diff(starts, append=len(kept))
    return rows.matches(kept[starts], _sums(rows.score[kept], starts) / counts)


def _weighted(rows: _Rows, fusion: config.Weighted, names: list[str]) -> Matches:
    if len(fusion.weights) != rows.branches:
        raise BadInput(
            seen=f"{len(fusion.weights)} weights for {rows.branches} branches: {', '.join(names)}",
            allowed="one weight, absent score and logarithmic flag a fused branch",
            remedy="correct matching.fusion, or matching.fused",
        )
    best = rows.best_of_branches
    starts = _starts(rows.pair[best])
    pair = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(best)))
    total = np.zeros(len(starts))
    settings = zip(names, fusion.weights, fusion.absent, fusion.logarithmic, strict=True)
    for branch, (name, weight, absent, logarithmic) in enumerate(settings):
        own = rows.branch[best] == branch
        scores = np.full(len(starts), absent, np.float64)
        scores[pair[own]] = rows.score[best[own]]
        total += weight * (_logarithm(scores, name) if logarithmic else scores)
    return rows.matches(best[starts], total)


def _logarithm(scores: np.ndarray, branch: str) -> np.ndarray:
    if low := np.count_nonzero(scores <= -1):
        raise BadInput(
            seen=f"{low} scores of -1 or less in branch {branch}, the least {scores.min():g}",
            allowed="scores above -1 where log(1 + score) counts: those of branches that count matches",
            remedy="set matching.fusion.logarithmic to false for this branch",
        )
    return np.log1p(scores)


def _added(rows: _Rows, some: np.ndarray, values: np.ndarray) -> Matches:
    """Sum of the values of the rows of each pair; rows in the order of pairs."""
    starts = _starts(rows.pair[some])
    return rows.matches(some[starts], _sums(values, starts))


def _best(keys: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the row of the largest score of each key, in the order of keys."""
    order = np.lexsort((-scores, keys))
    return order[_starts(keys[order])]


def _sums(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return np.add.reduceat(values, starts) if len(starts) else np.empty(0)


def _starts(groups: np.ndarray) -> np.ndarray:
    """Return where each run of equal values begins."""
    return np.flatnonzero(np.diff(groups, prepend=-1))


def _places(groups: np.ndarray) -> np.ndarray:
    """Return the place (0, 1, ...) of each element within its run of equal values."""
    starts = _starts(groups)
    return np.arange(len(groups)) - np.repeat(starts, np.diff(starts, append=len(groups)))


def _codes(found: Sequence[Matches]) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the query and the reference ids of all rows, which sort as the ids do."""
    (query,) = id_codes("Q", _column([m.query_ids for m in found]))
    (reference,) = id_codes("R", _column([m.reference_ids for m in found]))
    return query, reference


def _column(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0, "U1"), *(part for part in parts if len(part))])
