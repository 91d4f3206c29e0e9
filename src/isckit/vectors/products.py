"""Float32 products of blocks of rows, with a proven bound of their error, and exact scores of single pairs.

A float32 inner product of d terms, summed in any order, differs from the true one by at most about d 2^-24 |q||r|
(Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). Every pair that could still be wanted within this
bound is scored again in float64, pair by pair, so the result does not depend on blocks, threads or the BLAS.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from isckit.vectors.checks import lengths, same_dim

PAIR = np.dtype([("query", np.int64), ("reference", np.int64), ("low", np.float64), ("high", np.float64)])
"""A pair of rows whose exact score lies in [low, high]."""

Metric = Literal["ip", "l2"]
TILE_COLUMNS = 4096
_EXACT_ROWS = 2048


class RowBlock(Protocol):
    """A matrix that is read by slices: an array, or an HDF5 dataset of any size."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Return some rows."""

    def __len__(self) -> int:
        """Return n."""


@dataclass(frozen=True)
class Widened:
    """A matrix with further columns, put together row by row as they are read: (n, d + k) float32.

    Attributes:
        base: (n, d) float32, in memory or mapped from a file.
        further: (n, k) float32.
    """

    base: Rows
    further: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d + k)."""
        return len(self.base), self.base.shape[1] + self.further.shape[1]

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        return np.concatenate([self.base[rows], self.further[rows]], axis=1)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or np.float32, copy=False)


Rows = np.ndarray | Widened
"""A matrix whose rows can be taken in any order."""


class Scorer:
    """Fast scores of tiles with their error bound, and exact scores of pairs. score = scale * product + offset."""

    def __init__(
        self, queries: Rows, references: RowBlock, metric: Metric, reference_block: int, names: tuple[str, str]
    ) -> None:
        starts = range(0, max(1, len(queries)), reference_block)
        some = [lengths(queries[at : at + reference_block], what=names[0], first_row=at) for at in starts]
        norms = np.concatenate(some)
        same_dim(queries.shape[1], references.shape[1], what=" and ".join(names))
        self.queries, self.references, self.l2, self.block = queries, references, metric == "l2", reference_block
        self.names = names
        self.query_lengths = _upper(norms)
        self.scale = 2.0 if self.l2 else 1.0
        self.offsets = -np.square(norms, dtype=np.float64) if self.l2 else np.zeros(len(norms))
        # -|q-r|^2 = 2 (q.r - |r|^2 / 2) - |q|^2: the bracket is an inner product with one more coordinate.
        self.columns = Widened(queries, np.ones((len(queries), 1), np.float32)) if self.l2 else queries

    def blocks(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield (first row, rows ready for the product, upper bounds of their lengths) of each reference block."""
        for first in range(0, self.references.shape[0], self.block):
            rows = np.ascontiguousarray(self.references[first : first + self.block])
            norms = lengths(rows, what=self.names[1], first_row=first)
            yield first, np.column_stack([rows, -norms * norms / 2]) if self.l2 else rows, _upper(norms)

    def tiles(self, rows: np.ndarray, query_block: int) -> Iterator[tuple[np.ndarray, slice, np.ndarray]]:
        """Yield (query rows, columns, products) of a block's `rows`; the products are overwritten by the next."""
        buffer = np.empty(query_block * TILE_COLUMNS, np.float32)
        for start in range(0, len(self.queries), query_block):
            block = self.columns[start : start + query_block]
            some = np.arange(start, start + len(block))
            for column in range(0, len(rows), TILE_COLUMNS):
                columns = slice(column, min(column + TILE_COLUMNS, len(rows)))
                tile = buffer[: len(some) * (columns.stop - column)].reshape(len(some), -1)
                yield some, columns, np.matmul(block, rows[columns].T, out=tile)

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
            if start < stop:
                some, rows = order[start:stop], self.references[first : first + self.block]
                scores[some] = self.exact_in(query_rows[some], rows, reference_rows[some] - first)
        return scores

    def exact_in(self, query_rows: np.ndarray, references: np.ndarray, reference_rows: np.ndarray) -> np.ndarray:
        """Return the same with rows of a block of references that is at hand."""
        scores = np.empty(len(query_rows))
        for start in range(0, len(scores), _EXACT_ROWS):
            some = slice(start, start + _EXACT_ROWS)
            left = self.queries[query_rows[some]].astype(np.float64)
            right = references[reference_rows[some]].astype(np.float64)
            if self.l2:
                scores[some] = 0.0 - _row_products(left - right, left - right)
            else:
                scores[some] = _row_products(left, right)
        return scores


def reaching(
    scorer: Scorer, tile: np.ndarray, queries: np.ndarray, first: int, sizes: np.ndarray, floors: np.ndarray
) -> np.ndarray:
    """Return the pairs of a tile that may reach the floor of their query."""
    offsets = scorer.offsets[queries]
    widest = scorer.error(scorer.query_lengths[queries], sizes.max())
    needed = np.nextafter(((floors - offsets - widest) / scorer.scale).astype(np.float32), np.float32(-np.inf))
    # Few rows of a tile hold a candidate once the floors stand: their maxima cost half of comparing every score.
    rows = np.flatnonzero(tile.max(axis=1) >= needed)
    if not len(rows):
        return np.empty(0, PAIR)
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
    return pairs


def _row_products(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", left, right)


def _upper(norms: np.ndarray) -> np.ndarray:
    """Return the upper bounds of lengths that were measured in float32.

    The added term also keeps the error bound above what float32 loses by underflow, some 2^-126 a product or square.
    """
    return norms.astype(np.float64) * 1.001 + 1e-15
