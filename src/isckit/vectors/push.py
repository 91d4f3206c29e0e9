"""Query normalisation of S-square (ISC2021, Descriptor track): a query leaves the sphere, away from train."""

from __future__ import annotations

from typing import Literal

import numpy as np

from isckit.types import Embeddings
from isckit.vectors.neighbours import nearest
from isckit.vectors.unit import BLOCK

_TINY = 1e-12


def push(
    q: np.ndarray, bank: Embeddings, *, amount: float, k: int, n: int, by: Literal["coordinate", "vector"]
) -> np.ndarray:
    """q + amount * sqrt(s) * u, (m, d) float32, not at unit length.

    s is the mean similarity of the n nearest bank vectors, 0 where it is negative, and u the direction from the k
    nearest to q: the mean of their differences, at unit length. |q'|^2 grows by amount^2 s, as in score normalisation.

    Args:
        q: (m, d) float32 unit vectors, left alone.
        bank: train vectors.
        by: what a difference is divided by: each coordinate by its root mean square over the k differences (the
            published notebook as it runs), or each difference by its own length (as its comment says).

    Raises:
        RuleViolation: the bank is not train or external.
        BadInput: k or n outside the bank, dimensions differ, NaN or infinite values.
    """
    similarities, rows = nearest(q, bank, k=max(k, n))
    far = amount * np.sqrt(np.maximum(similarities[:, :n].mean(axis=1), 0))
    away = {"coordinate": _by_coordinate, "vector": _by_vector}[by]
    result = np.empty_like(q, order="C")
    for start in range(0, len(q), BLOCK):
        some = slice(start, start + BLOCK)
        x = q[some].astype(np.float64)
        direction = away(x, bank.vectors, rows[some, :k])
        norms = _lengths(direction)
        # A query that equals all its neighbours has no way away from them: it goes outwards.
        direction = np.where(norms < _TINY, x, direction / np.maximum(norms, _TINY))
        result[some] = x + far[some, None] * direction
    return result


def _by_coordinate(x: np.ndarray, bank: np.ndarray, rows: np.ndarray) -> np.ndarray:
    total, squares = np.zeros_like(x), np.zeros_like(x)
    for column in rows.T:  # one neighbour after the other: gathered at once they would be k times as large as x
        difference = x - bank[column]
        total += difference
        squares += difference * difference
    return total / np.maximum(np.sqrt(squares), _TINY)


def _by_vector(x: np.ndarray, bank: np.ndarray, rows: np.ndarray) -> np.ndarray:
    total = np.zeros_like(x)
    for column in rows.T:
        difference = x - bank[column]
        total += difference / np.maximum(_lengths(difference), _TINY)
    return total


def _lengths(x: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]
