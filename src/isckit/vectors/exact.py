"""Exact best pairs of all queries x references: float32 blocks by BLAS propose, float64 rows decide.

A float32 inner product of d terms, summed in any order, differs from the true one by at most about d 2^-24 |q||r|
(Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). Every pair that could still be wanted within this
bound is scored again in float64, pair by pair, so the result does not depend on blocks, threads or the BLAS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, Protocol

import numpy as np
from tqdm import tqdm

from isckit.types import BadInput
from isckit.vectors.checks import lengths, same_dim

PAIR = np.dtype([("query", np.int64), ("reference", np.int64), ("low", np.float64), ("high", np.float64)])
"""A pair of rows whose exact score lies in [low, high]."""

_SLACK = 65_536


class Shortlist:
    """Keeps, in bounded memory, every pair that may be among the best `quota` of its group.

    A group is all pairs (global list) or the pairs of one query (nearest neighbours). A group's floor is a score that
    at least `quota` of its pairs are proven to reach, so a pair whose upper bound lies below it can never be wanted.
    When ties or near-ties flood the list, exact scores and the full order cut it to the quota at once.
    """

    def __init__(
        self,
        *,
        quota: int,
        groups: np.ndarray,
        query_ranks: np.ndarray,
        reference_ranks: np.ndarray,
        exact: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ) -> None:
        """Args: `groups` gives the group of each query row, `exact` the float64 scores of pairs of rows."""
        count = int(groups.max(initial=-1)) + 1
        self.quota, self.groups, self.exact = quota, groups, exact
        self.ranks = (query_ranks, reference_ranks)
        self.floors = np.full(count, -np.inf)
        self.ties_cut = np.zeros(count, np.int64)
        self._cuts = np.full(count, -np.inf)
        self._wanted = quota * count
        self._parts: list[np.ndarray] = []
        self._size = 0

    def add(self, pairs: np.ndarray) -> None:
        """Add pairs that were not added before."""
        self._parts.append(pairs)
        self._size += len(pairs)
        if self._size > 2 * self._wanted + _SLACK:
            kept = self._above_floor(self._join())
            self._hold(self._decide(kept) if len(kept) > 1.5 * self._wanted else kept)

    def raise_floors(self, groups: np.ndarray, floors: np.ndarray) -> None:
        """Note scores that at least `quota` pairs of each of these groups reach."""
        self.floors[groups] = np.maximum(self.floors[groups], floors)

    def finish(self) -> np.ndarray:
        """Return the best `quota` pairs of every group, by group, then in full order; low = high = exact score."""
        return self._decide(self._above_floor(self._join()))

    def _join(self) -> np.ndarray:
        return np.concatenate(self._parts) if self._parts else np.empty(0, PAIR)

    def _hold(self, pairs: np.ndarray) -> None:
        self._parts, self._size = [pairs], len(pairs)

    def _above_floor(self, pairs: np.ndarray) -> np.ndarray:
        group = self.groups[pairs["query"]]
        if len(self.floors) > 1:
            order = np.lexsort((-pairs["low"], group))
            nth = order[_places(group[order]) == self.quota - 1]
            self.raise_floors(group[nth], pairs["low"][nth])
        elif len(pairs) >= self.quota:  # one group: no order is needed within it
            self.raise_floors(np.zeros(1, int), np.partition(pairs["low"], -self.quota)[-self.quota])
        return pairs[pairs["high"] >= self.floors[group]]

    def _decide(self, pairs: np.ndarray) -> np.ndarray:
        open_ = pairs["low"] < pairs["high"]
        pairs["low"][open_] = self.exact(pairs["query"][open_], pairs["reference"][open_])
        pairs["high"] = pairs["low"]
        group = self.groups[pairs["query"]]
        order = np.lexsort((*full_order(pairs["query"], pairs["reference"], pairs["low"], *self.ranks), group))
        pairs, group = pairs[order], group[order]
        places = _places(group)
        last = places == self.quota - 1
        self._count_ties(
            group[last], pairs["low"][last], group[places >= self.quota], pairs["low"][places >= self.quota]
        )
        return pairs[places < self.quota]

    def _count_ties(self, full: np.ndarray, cuts: np.ndarray, out: np.ndarray, out_scores: np.ndarray) -> None:
        # What was left out at a lower cut than today's no longer ties with it.
        self.ties_cut[full[cuts > self._cuts[full]]] = 0
        self._cuts[full] = self.floors[full] = cuts
        self.ties_cut += np.bincount(out[out_scores == self._cuts[out]], minlength=len(self.ties_cut))


def full_order(
    queries: np.ndarray,
    references: np.ndarray,
    scores: np.ndarray,
    query_ranks: np.ndarray,
    reference_ranks: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Return keys for np.lexsort: score descending, query rank, reference rank, and rows where even these are equal."""
    return references, queries, reference_ranks[references], query_ranks[queries], -scores


def _places(sorted_groups: np.ndarray) -> np.ndarray:
    """Return the place (0, 1, ...) of each element within its run of equal values."""
    starts = np.flatnonzero(np.diff(sorted_groups, prepend=-1))
    return np.arange(len(sorted_groups)) - np.repeat(starts, np.diff(starts, append=len(sorted_groups)))


Metric = Literal["ip", "l2"]
_TILE_COLUMNS = 4096
_EXACT_ROWS = 2048


class RowBlock(Protocol):
    """A matrix that is read by slices: an array, or an HDF5 dataset of any size."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Return some rows."""


class _Scorer:
    """Fast scores of tiles with their error bound, and exact scores of pairs. score = scale * product + offset."""

    def __init__(
        self, queries: np.ndarray, references: RowBlock, metric: Metric, reference_block: int, names: tuple[str, str]
    ) -> None:
        norms = lengths(queries, what=names[0])
        same_dim(queries.shape[1], references.shape[1], what=" and ".join(names))
        self.queries, self.references, self.l2, self.block = queries, references, metric == "l2", reference_block
        self.names = names
        self.query_lengths = _upper(norms)
        self.scale = 2.0 if self.l2 else 1.0
        self.offsets = -np.square(norms, dtype=np.float64) if self.l2 else np.zeros(len(norms))
        # -|q-r|^2 = 2 (q.r - |r|^2 / 2) - |q|^2: the bracket is an inner product with one more coordinate.
        self.columns = np.column_stack([queries, np.ones(len(queries), np.float32)]) if self.l2 else queries

    def blocks(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield (first row, rows ready for the product, upper bounds of their lengths) of each reference block."""
        for first in range(0, self.references.shape[0], self.block):
            rows = np.ascontiguousarray(self.references[first : first + self.block])
            norms = lengths(rows, what=self.names[1], first_row=first)
            yield first, np.column_stack([rows, -norms * norms / 2]) if self.l2 else rows, _upper(norms)

    def error(self, query_lengths: np.ndarray, reference_lengths: np.ndarray) -> np.ndarray:
        """Return the upper bound of |fast - exact|, for lengths as `_upper` gives them."""
        terms = self.queries.shape[1] + 8
        size = 2 * np.square(query_lengths + reference_lengths) if self.l2 else query_lengths * reference_lengths
        return terms * 1.01 * 2.0**-24 * size

    def exact(self, query_rows: np.ndarray, reference_rows: np.ndarray) -> np.ndarray:
        """Return the float64 scores of pairs of rows, each computed from its two rows alone, in one fixed order of
        summation.
        """
        scores = np.empty(len(query_rows))
        order = np.argsort(reference_rows, kind="stable")
        for first in range(0, self.references.shape[0], self.block):
            start, stop = np.searchsorted(reference_rows, [first, first + self.block], sorter=order)
            if start == stop:
                continue
            rows = self.references[first : first + self.block]
            for low in range(start, stop, _EXACT_ROWS):
                some = order[low : min(low + _EXACT_ROWS, stop)]
                left = self.queries[query_rows[some]].astype(np.float64)
                right = rows[reference_rows[some] - first].astype(np.float64)
                if self.l2:
                    scores[some] = 0.0 - _row_products(left - right, left - right)
                else:
                    scores[some] = _row_products(left, right)
        return scores


def best_pairs(
    queries: np.ndarray,
    references: RowBlock,
    *,
    metric: Metric,
    quota: int,
    per_query: bool,
    query_ranks: np.ndarray,
    reference_ranks: np.ndarray,
    query_block: int,
    reference_block: int,
    progress: bool = False,
    names: tuple[str, str] = ("queries", "references"),
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best `quota` pairs of all, or of each query.

    Args:
        queries, references: (nq, d) and (nr, d) float32.
        metric: "ip" inner product, "l2" minus the squared distance; a larger score is better.
        query_ranks, reference_ranks: place of each row among ties.
        names: what messages call the two sides.

    Returns:
        Records of shortlist.PAIR by group in full order with exact scores in "low", and for each group (one, or each
        query) the number of pairs that were left out with exactly the last score.

    Raises:
        BadInput: not float32, dimensions differ, NaN or infinite values (with row numbers), quota or block below 1.
    """
    if min(quota, query_block, reference_block) < 1:
        raise BadInput(
            seen=f"{quota} pairs, blocks of {query_block} x {reference_block}",
            allowed="1 or more of each",
            remedy="ask for at least one pair and one row a block",
        )
    scorer = _Scorer(queries, references, metric, reference_block, names)
    groups = np.arange(len(queries)) if per_query else np.zeros(len(queries), np.int64)
    shortlist = Shortlist(
        quota=quota, groups=groups, query_ranks=query_ranks, reference_ranks=reference_ranks, exact=scorer.exact
    )
    buffer = np.empty(query_block * _TILE_COLUMNS, np.float32)
    total = -(-references.shape[0] // reference_block)
    for first, rows, sizes in tqdm(scorer.blocks(), total=total, desc="search", unit="block", disable=not progress):
        for start in range(0, len(queries), query_block):
            some = np.arange(start, min(start + query_block, len(queries)))
            for column in range(0, len(rows), _TILE_COLUMNS):
                part = rows[column : column + _TILE_COLUMNS]
                tile = buffer[: len(some) * len(part)].reshape(len(some), len(part))
                np.matmul(scorer.columns[start : start + query_block], part.T, out=tile)
                _propose(scorer, shortlist, tile, some, first + column, sizes[column : column + _TILE_COLUMNS])
    return shortlist.finish(), shortlist.ties_cut


def _propose(
    scorer: _Scorer, shortlist: Shortlist, tile: np.ndarray, queries: np.ndarray, first: int, sizes: np.ndarray
) -> None:
    """Hand over the pairs of a tile that may reach the floor of their group."""
    groups = shortlist.groups[queries]
    offsets = scorer.offsets[queries]
    widest = scorer.error(scorer.query_lengths[queries], sizes.max())
    if np.isneginf(shortlist.floors[groups]).any():
        _set_floors(shortlist, scorer.scale * tile.astype(np.float64) + (offsets - widest)[:, None], groups)
    floors = shortlist.floors[groups]
    needed = np.nextafter(((floors - offsets - widest) / scorer.scale).astype(np.float32), np.float32(-np.inf))
    # Few rows of a tile hold a candidate once the floors stand: their maxima cost half of comparing every score.
    rows = np.flatnonzero(tile.max(axis=1) >= needed)
    if not len(rows):
        return
    hot = tile[rows]
    flat = np.flatnonzero(hot >= needed[rows, None])
    row, column = np.divmod(flat, tile.shape[1])
    row = rows[row]
    score = scorer.scale * hot.ravel()[flat].astype(np.float64) + offsets[row]
    error = scorer.error(scorer.query_lengths[queries[row]], sizes[column])
    keep = score + error >= floors[row]
    pairs = np.empty(int(keep.sum()), PAIR)
    pairs["query"], pairs["reference"] = queries[row[keep]], first + column[keep]
    pairs["low"], pairs["high"] = (score - error)[keep], (score + error)[keep]
    shortlist.add(pairs)


def _set_floors(shortlist: Shortlist, lows: np.ndarray, groups: np.ndarray) -> None:
    """First floors, from the lower bounds of one tile: its own quota-th best is one."""
    by_group = lows if len(shortlist.floors) > 1 else lows.reshape(1, -1)
    if by_group.shape[1] >= shortlist.quota:
        nth = np.partition(by_group, -shortlist.quota, axis=1)[:, -shortlist.quota]
        shortlist.raise_floors(groups[: len(nth)], nth)


def _row_products(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", left, right)


def _upper(norms: np.ndarray) -> np.ndarray:
    """Return the upper bounds of lengths that were measured in float32.

    The added term also keeps the error bound above what float32 loses by underflow, some 2^-126 a product or square.
    """
    return norms.astype(np.float64) * 1.001 + 1e-15
