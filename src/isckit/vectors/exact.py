"""The best pairs of all queries x references, exact: products of blocks propose, float64 rows decide."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from isckit.types import BadInput
from isckit.vectors.products import PAIR, Metric, RowBlock, Rows, Scorer
from isckit.vectors.scan import Scan

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
        self._raising = threading.Lock()

    def add(self, pairs: np.ndarray) -> None:
        """Add pairs that were not added before."""
        self._parts.append(pairs)
        self._size += len(pairs)
        if self._size > 2 * self._wanted + _SLACK:
            kept = self._above_floor(self._join())
            self._hold(self._decide(kept) if len(kept) > 1.5 * self._wanted else kept)

    def raise_floors(self, groups: np.ndarray, floors: np.ndarray) -> None:
        """Note scores that at least `quota` pairs of each of these groups reach."""
        with self._raising:
            self.floors[groups] = np.maximum(self.floors[groups], floors)

    def first_floor(self, rows: np.ndarray, lows: np.ndarray) -> None:
        """Give a global list its first floor, from the lower bounds of one tile: its own quota-th best."""
        if lows.size >= self.quota:
            self.raise_floors(self.groups[rows[:1]], np.partition(lows, -self.quota, axis=None)[-self.quota])

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
        self._cuts[full] = cuts
        self.raise_floors(full, cuts)
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


def best_pairs(
    queries: Rows,
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
    scorer = Scorer(queries, references, metric, reference_block, names)
    groups = np.arange(len(queries)) if per_query else np.zeros(len(queries), np.int64)
    shortlist = Shortlist(
        quota=quota, groups=groups, query_ranks=query_ranks, reference_ranks=reference_ranks, exact=scorer.exact
    )
    scan = Scan(
        scorer,
        query_block=query_block,
        floors=lambda rows: shortlist.floors[groups[rows]],
        first_look=None if per_query else shortlist.first_floor,
        nearest=min(quota, references.shape[0]) if per_query else 0,
    )
    for first, _, found in scan.blocks(progress=progress):
        for pairs in found:
            pairs["reference"] += first
            shortlist.add(pairs)
    return shortlist.finish(), shortlist.ties_cut
