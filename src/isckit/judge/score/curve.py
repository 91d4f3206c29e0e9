"""From a ranking of pairs to its curve: rows labelled by ground truth, named slices, figures and their interval.

Of the rows some are true, some are dropped, some are refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from isckit.data.ground_truth import PHASE_QUERIES, disc_numbers, id_codes, phases_of
from isckit.submission import refuse_rows
from isckit.types import BadInput, GroundTruth, Matches

PRECISION = 0.9
"""Precision of the contest's second figure, Recall@P90."""
_BATCH = 64
"""Resamples computed together: bounds memory to about 64 columns over queries and true pairs."""
_HALF = PHASE_QUERIES // 2
HALVES = ("phase 1, first half", "phase 1, second half")
SLICES = {
    HALVES[0]: (0, _HALF, 4_991),
    HALVES[1]: (_HALF, 2 * _HALF, 5_009),
    "phase 1": (0, PHASE_QUERIES, 10_000),
    "phase 2": (PHASE_QUERIES, 2 * PHASE_QUERIES, 10_000),
}
"""Query slices of DISC21: first number, number after the last, true pairs (counted in the published files)."""


@dataclass(frozen=True)
class Labelled:
    """The rows of labelled queries.

    Attributes:
        queries: (n,) int64, index into the sorted labelled queries.
        scores: (n,) float64.
        correct: (n,) bool, whether the pair is true.
        true_queries: (p,) int64, the query of each true pair, found or not.
        dropped: number of rows of the phase's unlabelled queries.
    """

    queries: np.ndarray
    scores: np.ndarray
    correct: np.ndarray
    true_queries: np.ndarray
    dropped: int


def label(
    matches: Matches,
    truth: GroundTruth,
    *,
    phase_queries: np.ndarray | None = None,
    reference_ids: np.ndarray | None = None,
) -> Labelled:
    """Label every row; arguments and errors as in `score.score_matches`."""
    if not len(truth.query_ids):
        raise BadInput(
            seen="a ground truth without true pairs",
            allowed="at least one query with a reference",
            remedy="check that it is the right file",
        )
    scores = np.asarray(matches.scores, np.float64)
    refuse_rows(~np.isfinite(scores), matches, what="scores that are not finite", remedy="remove NaN and inf")
    queries, listed, true_queries = id_codes("Q", matches.query_ids, truth.listed_queries, truth.query_ids)
    others = [] if reference_ids is None else [reference_ids]
    references, true_references, *known = id_codes("R", matches.reference_ids, truth.reference_ids, *others)
    if known:
        refuse_rows(
            ~np.isin(references, known[0]),
            matches,
            what="references that are not in the set",
            remedy="search the references at hand only",
        )
    width = 1 + max(references.max(initial=0), true_references.max())
    pairs, true_pairs = queries * width + references, true_queries * width + true_references
    _refuse_repeated(pairs, matches)
    index = np.full(1 + max(queries.max(initial=0), listed.max()), -1)
    index[listed] = np.arange(len(listed))
    assert (index[true_queries] >= 0).all(), "a true pair of a query that is not listed"
    rows = index[queries]
    kept = rows >= 0
    _refuse_foreign(np.flatnonzero(~kept), matches, truth, phase_queries)
    return Labelled(
        rows[kept],
        scores[kept],
        _among(pairs, queries, true_pairs, true_queries)[kept],
        index[true_queries],
        len(rows) - int(kept.sum()),
    )


def _among(pairs: np.ndarray, queries: np.ndarray, true_pairs: np.ndarray, true_queries: np.ndarray) -> np.ndarray:
    """Whether each pair is a true one; only rows of positive queries are looked up, a fifth in the contest."""
    positive = np.zeros(1 + max(queries.max(initial=0), true_queries.max()), bool)
    positive[true_queries] = True
    rows = np.flatnonzero(positive[queries])
    found = np.zeros(len(pairs), bool)
    found[rows] = np.isin(pairs[rows], true_pairs)
    return found


def _refuse_repeated(pairs: np.ndarray, matches: Matches) -> None:
    ordered = np.sort(pairs)
    if (ordered[1:] == ordered[:-1]).any():
        later = np.ones(len(pairs), bool)
        later[np.unique(pairs, return_index=True)[1]] = False
        refuse_rows(later, matches, what="pairs that occur in an earlier row", remedy="keep each pair once")


def _refuse_foreign(rows: np.ndarray, matches: Matches, truth: GroundTruth, phase: np.ndarray | None) -> None:
    """Refuse those rows of unlabelled queries that are not of the phase either."""
    queries = np.asarray(matches.query_ids[rows], str)
    phases, labelled = phases_of(queries), np.unique(phases_of(truth.listed_queries))
    outside = ~np.isin(queries, phase) if phase is not None else (phases == 0) | ~np.isin(phases, labelled)
    mask = np.zeros(len(matches), bool)
    mask[rows[outside]] = True
    another = (phases[outside] > 0).any() and labelled.max() > 0
    refuse_rows(
        mask,
        matches,
        what=f"rows of queries outside the phase{': ground truth of another phase' if another else ''}",
        remedy="score with the ground truth of the same queries, or pass the list of all queries of the phase",
    )


def in_slice(truth: GroundTruth, name: str) -> GroundTruth:
    """Return the part of the ground truth that belongs to a slice of `SLICES`."""
    first, end, _ = SLICES[name]

    def inside(ids: np.ndarray) -> np.ndarray:
        numbers = disc_numbers(ids, "Q")
        return (first <= numbers) & (numbers < end)

    pairs = inside(truth.query_ids)
    return GroundTruth(
        truth.query_ids[pairs], truth.reference_ids[pairs], truth.listed_queries[inside(truth.listed_queries)]
    )


def slice_of(truth: GroundTruth) -> tuple[str, tuple[str, ...]]:
    """Name of the smallest slice that holds all labelled queries, and warnings where its known counts differ."""
    listed = truth.listed_queries
    span = f"{listed[0]}..{listed[-1]}"
    for name, (first, end, n_true) in SLICES.items():
        if len(in_slice(truth, name).listed_queries) == len(listed):
            if len(listed) < end - first:
                return f"{len(listed):,} of the {end - first:,} of {name}, {span}", ()
            odd = len(truth.query_ids) != n_true
            text = f"{len(truth.query_ids):,} true pairs in the whole {name}, where DISC21 has {n_true:,}"
            return f"{name}, {span}", (text,) if odd else ()
    return span, ()


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
    values: list[np.ndarray] = []
    for start in range(0, n, _BATCH):
        draws = [rng.integers(n_queries, size=n_queries) for _ in range(min(_BATCH, n - start))]
        weights = np.stack([np.bincount(draw, minlength=n_queries) for draw in draws], axis=1)
        values.append(weighted_average_precision(rows, weights))
    low, high = np.nanquantile(np.concatenate(values), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def weighted_average_precision(rows: Labelled, weights: np.ndarray) -> np.ndarray:
    """Return the uAP of each resample, exactly as if every query's rows were repeated by its weight; NaN without a true
    pair.

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
