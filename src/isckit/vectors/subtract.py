"""Negative embedding subtraction (Yokoo, "Contrastive learning with large memory bank and negative embedding
subtraction", 2021): train images match nothing, so what a vector shares with its train neighbours says nothing about
copies."""

from __future__ import annotations

import numpy as np

from isckit.types import Embeddings
from isckit.vectors.neighbours import nearest
from isckit.vectors.unit import BLOCK, l2


def subtract(x: np.ndarray, negatives: Embeddings, *, k: int, beta: float, iterations: int = 1) -> np.ndarray:
    """So many times: x <- unit(x - beta * mean of the k nearest negatives), which themselves stay as they are.

    Args:
        x: (n, d) float32 unit vectors, left alone.
        negatives: train vectors, or their neighbourhood averages.

    Raises:
        RuleViolation: the negatives are not train or external.
        BadInput: k outside the bank, dimensions differ, a vector equal to beta times its mean.
    """
    for _ in range(iterations):
        x = _away(x, negatives, nearest(x, negatives, k=k)[1], beta=beta)
    return x


def subtract_from_bank(
    bank: Embeddings, negatives: Embeddings | None = None, *, k: int, beta: float, iterations: int = 1
) -> Embeddings:
    """`subtract` for the bank itself, where no vector is its own neighbour: what a new image there would become.

    negatives: row i was made from row i of the bank; None for the bank.
    """
    negatives, x = negatives or bank, bank.vectors
    for _ in range(iterations):
        rows = nearest(x, negatives, k=k + 1)[1]
        own = rows == np.arange(len(rows))[:, None]
        own[~own.any(axis=1), -1] = True  # nearer ones pushed the vector itself off the list: drop the farthest
        x = _away(x, negatives, rows[~own].reshape(-1, k), beta=beta)
    return bank.with_vectors(x)


def averaged(bank: Embeddings, *, k: int, power: float) -> Embeddings:
    """Database-side augmentation: each vector becomes unit(sum of similarity ** power * neighbour) over its k nearest.

    The vector itself is one of the k. Neighbours of negative similarity weigh nothing.

    Raises:
        RuleViolation: the bank is not train or external.
        BadInput: k outside the bank.
    """
    similarities, rows = nearest(bank.vectors, bank, k=k)
    weights = np.maximum(similarities, 0) ** power
    result = np.empty_like(bank.vectors, order="C")
    for start in range(0, len(rows), BLOCK):
        some = slice(start, start + BLOCK)
        result[some] = _weighted_sum(bank, rows[some], weights[some])
    return bank.with_vectors(l2(result))


def _away(x: np.ndarray, negatives: Embeddings, rows: np.ndarray, *, beta: float) -> np.ndarray:
    result = np.empty_like(x, order="C")
    weights = np.full((BLOCK, rows.shape[1]), beta / rows.shape[1])
    for start in range(0, len(x), BLOCK):
        some = slice(start, start + BLOCK)
        result[some] = x[some] - _weighted_sum(negatives, rows[some], weights)
    return l2(result)


def _weighted_sum(bank: Embeddings, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n, d) float64 sums over the k bank rows of each of n vectors, one neighbour after the other.

    Gathered at once, the neighbours would be k times as large as the vectors.
    """
    total = np.zeros((len(rows), bank.vectors.shape[1]))
    for column, weight in zip(rows.T, weights.T, strict=True):
        total += weight[: len(rows), None] * bank.vectors[column]
    return total
