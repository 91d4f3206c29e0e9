"""All pairs of queries x references that reach a score, in one pass, exact; of views, the best of two images."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from isckit.types import BadInput
from isckit.vectors.products import PAIR, RowBlock, Rows, Scorer
from isckit.vectors.scan import Scan


class Above(NamedTuple):
    """Pairs of rows (int64) and their exact scores (float64)."""

    query: np.ndarray
    reference: np.ndarray
    score: np.ndarray

    def kept(self, rows: np.ndarray) -> Above:
        """Return some of them (rows or bool)."""
        return Above(self.query[rows], self.reference[rows], self.score[rows])


MOST_ABOVE = 1 << 28
"""Pairs above a threshold that are held: 6 GB."""


def pairs_above(
    queries: Rows,
    references: RowBlock,
    *,
    threshold: float,
    groups: tuple[np.ndarray, np.ndarray] | None = None,
    query_block: int = 512,
    reference_block: int = 65_536,
    advance: Callable[[int], object] = lambda rows: None,
) -> Above:
    """Return the pairs whose inner product is at least `threshold`, whatever else is there, in one pass; in no order.

    With groups only the best pair of each pair of groups is kept, of equals the first by rows: where rows are views
    and groups images, the list is one of images, however many views they have. Groups that a block of references
    cuts apart have a pair in each part.

    Args:
        queries, references: (n, d) and (m, d) float32.
        groups: (n,) and (m,) whole numbers.
        advance: is told of references that were looked at.

    Raises:
        BadInput: not float32, dimensions differ, NaN or infinite values (with row numbers); more than MOST_ABOVE pairs.
    """
    scorer = Scorer(queries, references, "ip", reference_block, ("queries", "references"))
    scan = Scan(scorer, query_block=query_block, floors=lambda rows: np.full(len(rows), threshold))
    found, count = [_NONE_ABOVE], 0
    for first, rows, tiles in scan.blocks():
        own = None if groups is None else (groups[0], groups[1][first : first + len(rows)])
        parts, held = [np.empty(0, PAIR)], 0
        for pairs in tiles:
            if own is not None and len(pairs):
                pairs = _maybe_best(pairs, own[0][pairs["query"]], own[1][pairs["reference"]])
            parts.append(pairs)
            held += len(pairs)
            if count + held > MOST_ABOVE:
                raise BadInput(
                    seen=f"{count + held:,} pairs that score {threshold:g} or more, of {first + len(rows):,} rows",
                    allowed=f"{MOST_ABOVE:,} pairs",
                    remedy="set a smaller cut.most, and fit again",
                )
        pairs = np.concatenate(parts)
        kept = Above(pairs["query"], pairs["reference"], scorer.exact_in(pairs["query"], rows, pairs["reference"]))
        kept = kept.kept(kept.score >= threshold)
        if own is not None:
            kept = kept.kept(_best(kept, own[0][kept.query], own[1][kept.reference]))
        found.append(kept._replace(reference=kept.reference + first))
        count += len(kept.score)
        advance(len(rows))
    return Above(*map(np.concatenate, zip(*found, strict=True)))


_NONE_ABOVE = Above(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


def _maybe_best(pairs: np.ndarray, query_groups: np.ndarray, reference_groups: np.ndarray) -> np.ndarray:
    """Return the pairs that may be the best of their groups: none of them is proven to score more."""
    _, at = np.unique(query_groups * (int(reference_groups.max()) + 1) + reference_groups, return_inverse=True)
    lows = np.full(int(at.max()) + 1, -np.inf)
    np.maximum.at(lows, at, pairs["low"])
    return pairs[pairs["high"] >= lows[at]]


def _best(pairs: Above, query_groups: np.ndarray, reference_groups: np.ndarray) -> np.ndarray:
    """Return the row of the best pair of each pair of groups, of equals the first."""
    order = np.lexsort((pairs.reference, pairs.query, -pairs.score, reference_groups, query_groups))
    groups = np.stack([query_groups[order], reference_groups[order]])
    return order[np.append(True, (groups[:, 1:] != groups[:, :-1]).any(axis=0))[: len(order)]]
