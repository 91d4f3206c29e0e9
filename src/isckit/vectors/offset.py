"""Score normalisation as one more coordinate of the descriptor: exact under the Euclidean distance."""

from __future__ import annotations

import numpy as np

from isckit.types import Embeddings
from isckit.vectors.neighbours import nearest


def offset(q: np.ndarray, bank: Embeddings, *, beta: float, n: int, floor: float) -> np.ndarray:
    """[q, sqrt(2 beta s + floor)], (m, d + 1) float32, where s is the mean similarity of the n nearest bank vectors.

    -|[q, o] - [r, 0]|^2 = 2 (q.r - beta s) - 2 - floor for unit vectors: the order of all pairs is that of score
    normalisation. The floor keeps the root real where s is negative; a query of 2 beta s below -floor is taken as if it
    were there.

    Raises:
        RuleViolation: the bank is not train or external.
        BadInput: n outside the bank, dimensions differ, NaN or infinite values.
    """
    similarity = nearest(q, bank, k=n)[0].mean(axis=1)
    root = np.sqrt(np.maximum(2 * beta * similarity + floor, 0))
    return np.column_stack([q, root.astype(np.float32)])


def without_offset(r: np.ndarray) -> np.ndarray:
    """[r, 0], (m, d + 1) float32: what `offset` queries are compared with."""
    return np.column_stack([r, np.zeros(len(r), np.float32)])
