"""Descriptor stretching (Wang et al., "Bag of Tricks and a Strong Baseline for Image Copy Detection", 2021)."""

from __future__ import annotations

import numpy as np

from isckit.types import Embeddings
from isckit.vectors.neighbours import nearest

MIN_SIMILARITY = 0.01
"""Floor of the mean similarity that stretches a query."""


def stretch(q: np.ndarray, bank: Embeddings, *, n: int, alpha: float) -> np.ndarray:
    """Queries, (m, d) float32, times alpha * s, where s is the mean similarity of the n nearest bank vectors.

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
