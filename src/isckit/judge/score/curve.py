"""From labelled rows to a curve, figures and their interval."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np

from isckit.judge.score.labels import Labelled, label
from isckit.types import GroundTruth, Matches

PRECISION = 0.9
"""Precision of the contest's second figure, Recall@P90."""
_BATCH = 64
"""Resamples that are held at once."""


@dataclass(frozen=True)
class Curve:
    """The curve at every true prediction, best first; between two of them precision only falls.

    Attributes:
        scores: (m,) float64, falling.
        precision, recall: (m,) float64, ties counted against.
        optimistic_precision: (m,) float64, ties counted in favour.
        n_pos: number of true pairs, found or not.
        distinct_scores: number of different scores among all rows.
        tied_rows: number of rows, true or false, that share their score with another.
    """

    scores: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    optimistic_precision: np.ndarray
    n_pos: int
    distinct_scores: int
    tied_rows: int

    @property
    def average_precision(self) -> float:
        """Return micro average precision, without interpolation: the sum of recall steps times precision."""
        return float(self.precision.sum() / self.n_pos)

    @property
    def optimistic_average_precision(self) -> float:
        """Return what the same rows would reach if every tie fell well."""
        return float(self.optimistic_precision.sum() / self.n_pos)

    def operating_point(self, precision: float = PRECISION) -> tuple[float, float | None]:
        """Return the largest recall at which precision still holds, and the score to accept from; (0, None) where it
        never does.

        It is not the first time that precision falls: a confident false pair would decide it.
        """
        reached = np.flatnonzero(self.precision >= precision)
        return (float(self.recall[reached[-1]]), float(self.scores[reached[-1]])) if len(reached) else (0.0, None)


def trace(scores: np.ndarray, correct: np.ndarray, *, n_pos: int) -> Curve:
    """Return the curve of scored pairs.

    The contest counts ties against: within one score, false pairs come before true ones. The j-th true pair then
    stands at rank j plus the number of false pairs whose score is at least its own, so plain sorts are enough.

    Args:
        scores: (n,) float, larger is more confident.
        correct: (n,) bool.
        n_pos: number of true pairs, at least 1.
    """
    every, true = np.sort(scores), np.sort(scores[correct])
    found = np.arange(len(true), 0, -1)
    precision = []
    for side in ("left", "right"):
        false = len(every) - np.searchsorted(every, true, side) - len(true) + np.searchsorted(true, true, side)
        precision.append((found / (found + false))[::-1])
    opens = np.ones(len(every) + 1, bool)
    opens[1:-1] = every[1:] != every[:-1]
    alone = np.count_nonzero(opens[:-1] & opens[1:])
    return Curve(
        true[::-1],
        precision[0],
        found[::-1] / n_pos,
        precision[1],
        n_pos,
        int(np.count_nonzero(opens[:-1])),
        len(every) - int(alone),
    )


def bootstrap(
    matches: Matches,
    truth: GroundTruth,
    *,
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    phase_queries: np.ndarray | None = None,
) -> tuple[float, float]:
    """Return the percentile interval of uAP over n resamples of the labelled queries, distractors included.

    A query drawn w times brings w copies of its rows and of its true pairs, found or not; the copies are ranked as
    any other ties. Resamples without a single true pair have no uAP and are left out.

    Raises:
        BadInput: as `score.score_matches`.
    """
    rows = label(matches, truth, phase_queries=phase_queries)
    n_queries, rng = len(truth.listed_queries), np.random.default_rng(seed)
    drawn = (np.bincount(rng.integers(n_queries, size=n_queries), minlength=n_queries) for _ in range(n))
    low, high = np.nanquantile(weighted_average_precision(rows, drawn), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def weighted_average_precision(rows: Labelled, drawn: Iterable[np.ndarray]) -> np.ndarray:
    """Return the uAP of each resample, exactly as if every query's rows were repeated by its weight; NaN without a true
    pair.

    Args:
        rows: labelled rows.
        drawn: of each resample (queries,) int, how often each query was drawn.

    Returns:
        (resamples,) float64.
    """
    best_first = np.argsort(-rows.scores[rows.correct], kind="stable")
    true_scores, true_queries = rows.scores[rows.correct][best_first], rows.queries[rows.correct][best_first]
    # A false row stands before every true row whose score is not above its own: sorted by the first of them.
    first_behind = np.searchsorted(-true_scores, -rows.scores[~rows.correct], side="left")
    narrow = first_behind.astype(np.min_scalar_type(len(true_scores)))  # numpy sorts 16 bits by their digits
    order = np.argsort(narrow, kind="stable")
    order = order[: np.searchsorted(first_behind[order], len(true_scores))]
    false_queries = rows.queries[~rows.correct][order]
    stops = np.searchsorted(first_behind[order], np.arange(len(true_scores)), side="right")

    def precision(weights: np.ndarray) -> float:
        n_pos = weights[rows.true_queries].sum()
        if not n_pos:
            return np.nan
        weights = weights.astype(np.int32)  # half the memory to gather from; a sum stays below queries times rows
        counts = np.zeros(1 + len(false_queries), np.int64)
        np.cumsum(weights.take(false_queries), out=counts[1:])
        ahead = np.repeat(counts[stops], weights[true_queries])
        found = np.arange(1, 1 + len(ahead))
        return float((found / (found + ahead)).sum() / n_pos)

    values: list[float] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        remaining = iter(drawn)
        while part := list(pool.map(precision, islice(remaining, _BATCH))):
            values += part
    return np.array(values)
