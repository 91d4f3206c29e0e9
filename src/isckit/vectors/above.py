"""All pairs of queries x references that reach a score, in one pass, exact; of views, the best of two images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from isckit.types import BadInput
from isckit.vectors.products import PAIR, TILE_COLUMNS, RowBlock, Rows, Scorer, reaching


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
    query_groups: np.ndarray | None = None,
    reference_groups: np.ndarray | None = None,
    query_block: int = 512,
    reference_block: int = 65_536,
    progress: bool = False,
) -> Above:
    """Return the pairs whose inner product is at least `threshold`, whatever else is there, in one pass; in no order.

    With groups only the best pair of each pair of groups is kept, of equals the first by rows: where rows are views
    and groups images, the list is one of images, however many views they have. Groups that a block of references
    cuts apart have a pair in each part.

    Args:
        queries, references: (n, d) and (m, d) float32.
        query_groups, reference_groups: (n,) and (m,) whole numbers, both or none.

    Raises:
        BadInput: not float32, dimensions differ, NaN or infinite values (with row numbers); more than MOST_ABOVE pairs.
    """
    scorer = Scorer(queries, references, "ip", reference_block, ("queries", "references"))
    total, found, count = -(-len(references) // reference_block), [_NONE_ABOVE], 0
    buffer = np.empty(query_block * TILE_COLUMNS, np.float32)
    for first, rows, sizes in tqdm(scorer.blocks(), total=total, desc="search", unit="block", disable=not progress):
        owners = None if reference_groups is None else reference_groups[first : first + len(rows)]
        parts = [np.empty(0, PAIR)]
        for start in range(0, len(queries), query_block):
            block = scorer.columns[start : start + query_block]
            some = np.arange(start, start + len(block))
            for column in range(0, len(rows), TILE_COLUMNS):
                part = rows[column : column + TILE_COLUMNS]
                tile = buffer[: len(some) * len(part)].reshape(len(some), len(part))
                np.matmul(block, part.T, out=tile)
                floors = np.full(len(some), threshold)
                pairs = reaching(scorer, tile, some, column, sizes[column : column + len(part)], floors)
                if owners is not None and query_groups is not None and len(pairs):
                    pairs = _maybe_best(pairs, query_groups[pairs["query"]], owners[pairs["reference"]])
                parts.append(pairs)
        pairs = np.concatenate(parts)
        scores = scorer.exact_in(pairs["query"], rows, pairs["reference"])
        kept = Above(pairs["query"], pairs["reference"], scores).kept(scores >= threshold)
        if owners is not None and query_groups is not None:
            kept = kept.kept(_best(kept, query_groups[kept.query], owners[kept.reference]))
        found.append(kept._replace(reference=kept.reference + first))
        count += len(kept.score)
        if count > MOST_ABOVE:
            raise BadInput(
                seen=f"{count:,} pairs that score {threshold:g} or more, after {first + len(rows):,} reference rows",
                allowed=f"{MOST_ABOVE:,} pairs",
                remedy="set a smaller cut.most, and fit again",
            )
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
