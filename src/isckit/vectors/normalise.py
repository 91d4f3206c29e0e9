"""Descriptor normalisation against train: each vector by itself, never with other queries or references.

Both steps make distances of different queries comparable, which a global list rewards. They take unit vectors.
"""

from __future__ import annotations

import numpy as np

from isckit.config import Normalise
from isckit.types import BadInput, Embeddings, Role
from isckit.vectors.checks import lengths, refuse_unless_fittable
from isckit.vectors.neighbours import nearest

MIN_SIMILARITY = 0.01
"""Floor of the mean similarity that stretches a query."""

_BLOCK = 4096


def l2(x: np.ndarray, *, ids: np.ndarray | None = None) -> np.ndarray:
    """Rows of (n, d) float32 at unit length, float32.

    Raises:
        BadInput: rows of length zero, or with NaN or infinite values; named by `ids` where given, else by number.
    """
    lengths(x, what="vectors")
    result = np.empty_like(x, order="C")
    for start in range(0, len(x), _BLOCK):
        rows = x[start : start + _BLOCK].astype(np.float64)
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        zero = start + np.flatnonzero(norms == 0)
        if len(zero):
            names = zero if ids is None else ids[zero]
            raise BadInput(
                seen=f"vectors of length zero, the first at {', '.join(map(str, names[:5]))}",
                allowed="vectors that have a direction",
                remedy="look at these images: a constant image or a broken model gives such vectors",
            )
        result[start : start + _BLOCK] = rows / norms[:, None]
    return result


def subtract(x: np.ndarray, bank: Embeddings, *, k: int, beta: float) -> np.ndarray:
    """Negative embedding subtraction, one iteration: unit(x - beta * mean of the k nearest bank vectors).

    Train images match nothing, so what a vector shares with its train neighbours says nothing about copies
    (Yokoo, "Contrastive learning with large memory bank and negative embedding subtraction", 2021).

    Raises:
        RuleViolation: the bank is not train or external.
        BadInput: k outside the bank, dimensions differ, a vector equal to beta times its mean.
    """
    return _subtract_rows(x, bank, nearest(x, bank, k=k)[1], beta=beta)


def subtract_from_bank(bank: Embeddings, *, k: int, beta: float) -> Embeddings:
    """`subtract` for the bank itself, where no vector is its own neighbour: what a new image there would become."""
    rows = nearest(bank.vectors, bank, k=k + 1)[1]
    own = rows == np.arange(len(rows))[:, None]
    own[~own.any(axis=1), -1] = True  # duplicates of equal similarity pushed the vector itself off the list
    return bank.with_vectors(_subtract_rows(bank.vectors, bank, rows[~own].reshape(-1, k), beta=beta))


def stretch(q: np.ndarray, bank: Embeddings, *, n: int, alpha: float) -> np.ndarray:
    """Descriptor stretching of queries: alpha * s * q, where s is the mean similarity of the n nearest bank vectors.

    -|q' - r|^2 = 2 alpha s (q.r - alpha s / 2) - 1: the order within a query stays, and a query that resembles many
    train images needs a higher similarity (Wang et al., "Bag of Tricks and a Strong Baseline for Image Copy
    Detection", 2021).

    A mean of zero would collapse the query to the origin and a negative one would turn its ranking upside down, so s is
    at least MIN_SIMILARITY: a constant, not a statistic of the queries. The direction is kept, and every pair of such a
    query scores close to -1, the level of no evidence.

    Raises:
        RuleViolation: the bank is not train or external.
        BadInput: n outside the bank, dimensions differ, NaN or infinite values.
    """
    similarity = np.maximum(nearest(q, bank, k=n)[0].mean(axis=1), MIN_SIMILARITY)
    return (alpha * similarity[:, None] * q).astype(np.float32)


def normalise(embeddings: Embeddings, bank: Embeddings, settings: Normalise) -> Embeddings:
    """Apply the steps of a recipe in their order; "subtract" to every role, "stretch" to queries only.

    A step meets the bank as the steps before it left it. Stretching after subtraction compares a query with train
    images as if they were references, and references have been subtracted: similarities to raw train vectors would not
    be on the scale of those to references. Stretching changes queries alone, so it leaves the bank.

    Raises:
        RuleViolation: the bank is not train or external.
        BadInput: neighbours outside the bank, dimensions differ, vectors that vanish.
    """
    refuse_unless_fittable(bank.role, what="a normalisation")
    for place, step in enumerate(settings.steps):
        if step == "stretch":
            if embeddings.role is Role.QUERY:
                stretched = stretch(embeddings.vectors, bank, n=settings.n, alpha=settings.alpha)
                embeddings = embeddings.with_vectors(stretched)
            continue
        embeddings = embeddings.with_vectors(subtract(embeddings.vectors, bank, k=settings.k, beta=settings.beta))
        rest = settings.steps[place + 1 :]
        if "subtract" in rest or ("stretch" in rest and embeddings.role is Role.QUERY):
            bank = subtract_from_bank(bank, k=settings.k, beta=settings.beta)
    return embeddings


def _subtract_rows(x: np.ndarray, bank: Embeddings, rows: np.ndarray, *, beta: float) -> np.ndarray:
    result = np.empty_like(x, order="C")
    for start in range(0, len(x), _BLOCK):  # the gathered neighbours are k times the size of x
        some = slice(start, start + _BLOCK)
        result[some] = x[some] - beta * bank.vectors[rows[some]].mean(axis=1, dtype=np.float64)
    return l2(result)
