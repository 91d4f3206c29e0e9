"""Descriptor normalisation against train: each vector by itself, never with other queries or references.

All steps make distances of different queries comparable, which a global list rewards. They take unit vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from isckit import config
from isckit.types import Embeddings, Role
from isckit.vectors.checks import BLOCK, l2, refuse_unless_fittable
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


MIN_SIMILARITY = 0.01
"""Floor of the mean similarity that stretches a query."""


def stretch(q: np.ndarray, bank: Embeddings, *, n: int, alpha: float) -> np.ndarray:
    """Return queries, (m, d) float32, times alpha * s, where s is the mean similarity of the n nearest bank vectors.

    -|q' - r|^2 = 2 alpha s (q.r - alpha s / 2) - 1: the order within a query stays, and a query that resembles many
    train images needs a higher similarity. Below alpha s of about 1 this runs backwards: alpha has to fit the
    similarities of the model, so that the median of alpha s lies around 1 to 2.

    A mean of zero would collapse the query to the origin and a negative one would turn its ranking upside down, so s is
    at least MIN_SIMILARITY: a constant, not a statistic of the queries. The direction is kept, and every pair of such a
    query scores close to -1, the level of no evidence.

    Raises:
        RuleViolation: the bank is not train or external.
        BadInput: n outside the bank, dimensions differ, NaN or infinite values.
    """
    similarity = np.maximum(nearest(q, bank, k=n)[0].mean(axis=1), MIN_SIMILARITY)
    return (alpha * similarity[:, None] * q).astype(np.float32)


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
    """Return (n, d) float64 sums over the k bank rows of each of n vectors, one neighbour after the other.

    Gathered at once, the neighbours would be k times as large as the vectors.
    """
    total = np.zeros((len(rows), bank.vectors.shape[1]))
    for column, weight in zip(rows.T, weights.T, strict=True):
        total += weight[: len(rows), None] * bank.vectors[column]
    return total


Map = Callable[[np.ndarray], np.ndarray]
"""(n, d) float32 to (n, d') float32, row by row: a row's result is the same, to the last bit, in any company."""


@dataclass(frozen=True)
class Normaliser:
    """Steps that were fitted on train.

    Attributes:
        queries: maps of queries, in order.
        references: maps of references, and of train images in their place.
    """

    queries: tuple[Map, ...]
    references: tuple[Map, ...]


def fit_normaliser(bank: Embeddings, steps: Sequence[config.NormaliseStep]) -> Normaliser:
    """Fit the steps of a recipe on train vectors.

    A step meets the bank as the steps before it left references. Stretching after subtraction compares a query with
    train images as if they were references, and references have been subtracted: similarities to raw train vectors
    would not be on the scale of those to references. Steps that change queries alone leave the bank.

    Costs a search of the bank in itself for each averaging, and one an iteration of a subtraction that is followed by
    another step.

    Raises:
        RuleViolation: the bank is not train or external.
        BadInput: neighbours outside the bank, vectors that vanish.
    """
    refuse_unless_fittable(bank.role, what="a normalisation")
    queries: list[Map] = []
    references: list[Map] = []
    for place, step in enumerate(steps, start=1):
        match step:
            case config.Subtract():
                negatives = averaged(bank, k=step.dba, power=step.dba_power) if step.dba else bank
                k, beta, iterations = step.k, step.beta, step.iterations
                queries.append(partial(subtract, negatives=negatives, k=k, beta=beta, iterations=iterations))
                if step.sides == "both":
                    references.append(queries[-1])
                    if place < len(steps):
                        bank = subtract_from_bank(bank, negatives, k=k, beta=beta, iterations=iterations)
            case config.Stretch():
                queries.append(partial(stretch, bank=bank, n=step.n, alpha=step.alpha))
            case config.Push():
                queries.append(partial(push, bank=bank, amount=step.amount, k=step.k, n=step.n, by=step.by))
            case config.Offset():
                queries.append(partial(offset, bank=bank, beta=step.beta, n=step.n, floor=step.floor))
                references.append(without_offset)
    return Normaliser(tuple(queries), tuple(references))


def normalise(embeddings: Embeddings, normaliser: Normaliser) -> Embeddings:
    """Return the vectors of one image set, as its role has it.

    Raises:
        BadInput: neighbours outside the bank, dimensions differ, vectors that vanish.
    """
    vectors = embeddings.vectors
    for step in normaliser.queries if embeddings.role is Role.QUERY else normaliser.references:
        vectors = step(vectors)
    return embeddings.with_vectors(vectors)
