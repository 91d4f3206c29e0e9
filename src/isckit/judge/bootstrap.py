"""How far uAP would move with other queries: a bootstrap over queries."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from isckit.judge.labels import Labelled, label
from isckit.types import GroundTruth, Matches

_BATCH = 64
"""Resamples computed together: bounds memory to about 64 columns over queries and true pairs."""


def bootstrap(
    matches: Matches,
    truth: GroundTruth,
    *,
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    phase_queries: np.ndarray | None = None,
) -> tuple[float, float]:
    """Percentile interval of uAP over n resamples of the labelled queries, distractors included.

    A query drawn w times brings w copies of its rows and of its true pairs, found or not; the copies are ranked as
    any other ties. Resamples without a single true pair have no uAP and are left out.

    Raises:
        BadInput: as `score.score_matches`.
    """
    rows = label(matches, truth, phase_queries=phase_queries)
    n_queries, rng = len(truth.listed_queries), np.random.default_rng(seed)
    values: list[np.ndarray] = []
    for start in range(0, n, _BATCH):
        draws = [rng.integers(n_queries, size=n_queries) for _ in range(min(_BATCH, n - start))]
        weights = np.stack([np.bincount(draw, minlength=n_queries) for draw in draws], axis=1)
        values.append(weighted_average_precision(rows, weights))
    low, high = np.nanquantile(np.concatenate(values), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def weighted_average_precision(rows: Labelled, weights: np.ndarray) -> np.ndarray:
    """uAP of each resample, exactly as if every query's rows were repeated by its weight; NaN without a true pair.

    Args:
        rows: labelled rows.
        weights: (queries, resamples) int, how often each query was drawn.

    Returns:
        (resamples,) float64.
    """
    best_first = np.argsort(-rows.scores[rows.correct], kind="stable")
    true_scores, true_queries = rows.scores[rows.correct][best_first], rows.queries[rows.correct][best_first]
    # A false row stands before every true row whose score is not above its own; bin it with the first of them.
    first_behind = np.searchsorted(-true_scores, -rows.scores[~rows.correct], side="left")
    matters = first_behind < len(true_scores)
    cells = (first_behind[matters], rows.queries[~rows.correct][matters])
    false_counts = csr_matrix((np.ones(len(cells[0])), cells), shape=(len(true_scores), len(weights)))
    ahead = np.cumsum(false_counts @ weights, axis=0)
    copies = weights[true_queries]
    before = np.cumsum(copies, axis=0) - copies
    total = np.zeros(weights.shape[1])
    for copy in range(1, 1 + copies.max(initial=0)):
        precision = (before + copy) / (before + copy + ahead)
        total += np.where(copies >= copy, precision, 0).sum(axis=0)
    n_pos = weights[rows.true_queries].sum(axis=0)
    return np.divide(total, n_pos, out=np.full(len(n_pos), np.nan), where=n_pos > 0)
