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


def _row_products(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", left, right)


def _upper(norms: np.ndarray) -> np.ndarray:
    """Return the upper bounds of lengths that were measured in float32.

    The added term also keeps the error bound above what float32 loses by underflow, some 2^-126 a product or square.
    """
    return norms.astype(np.float64) * 1.001 + 1e-15
