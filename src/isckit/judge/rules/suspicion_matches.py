"""The tests of what the scores and pairs of a matches file say by themselves about reasoning over other queries or
references.

Rule 5.4 asks that the score of a pair be the same as if there were no other images. Scores put on a scale of their own
for each query (or reference), ranks, and references that are used once each leave traces that free scores do not have.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from isckit.data.ground_truth import id_codes
from isckit.judge.rules.suspicion import FALSE_ALARM, MIN_ROWS, SHARE, Suspicion, silent
from isckit.submission import read_matches

MIN_GROUPS = 20
REFERENCES = 1_000_000
"""References of DISC21."""


def suspect_matches(path: Path, *, references: int = REFERENCES) -> list[Suspicion]:
    """Test scores for a scale made within each query or reference, for ranks, and pairs for one-to-one reasoning.

    An honest group agrees with the common figure by accident with a chance far below 0.1, so that 95 % of 20 groups or
    more do with a chance below 1e-17. A query set of nothing but unedited copies is the exception: its best scores may
    all be the same perfect one.

    Args:
        path: a Matching track file.
        references: size of the reference set; the more there are, the less one-to-one pairs say.

    Raises:
        MissingInput: there is no such file.
        BadInput: its form is at fault.
    """
    matches = read_matches(path)
    scores = np.asarray(matches.scores, np.float64)
    queries, found = id_codes("Q", matches.query_ids)[0], id_codes("R", matches.reference_ids)[0]
    rescaled = [*_rescaled("query", queries, scores), *_rescaled("reference", found, scores)]
    return [*rescaled, _evenly_spaced(scores), _one_to_one(queries, found, references), _rows_per_query(queries)]


def _rescaled(side: str, codes: np.ndarray, scores: np.ndarray) -> list[Suspicion]:
    """Shares of groups (rows of one query, or of one reference) that agree in a figure that honest scores leave free.

    An extreme counts only where one row of the group meets it: a clipped score is met by several. Scores of which fewer
    than half are distinct are too coarse for anything but ranks.
    """
    order = np.lexsort((-scores, codes))
    codes, scores = codes[order], scores[order]
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    sizes = np.diff(starts, append=len(codes))
    coarse = len(np.unique(scores)) < len(scores) / 2
    best, worst = scores[starts], scores[starts + sizes - 1]
    total = np.add.reduceat(scores, starts)
    deviation = np.sqrt(np.add.reduceat(np.square(scores - np.repeat(total / sizes, sizes)), starts) / sizes)
    once = [np.add.reduceat(scores == np.repeat(edge, sizes), starts) == 1 for edge in (best, worst)]
    kept, second = best > worst, scores[np.minimum(starts + 1, len(scores) - 1)]
    if kept.sum() < MIN_GROUPS:
        return [silent(f"scores by {side}", f"{kept.sum()} with several scores, too few to say")]
    # Extremes are compared more finely: under a global cut the weakest of many rows come close to the cut. The other
    # tolerance is what six printed decimals need.
    fine, rough = 1e-6 * (best - worst), 1e-4 * (best - worst)
    shares = {
        "best score": _agreeing(best, fine, kept) & once[0],
        "worst score": _agreeing(worst, fine, kept) & once[1],
        "sum of scores": _agreeing(total, rough, kept),
        "spread of scores": _agreeing(deviation, rough, kept),
    }
    ladder = _agreeing(best, fine, kept) & _agreeing(second, fine, kept) & once[0]
    tests = [
        silent(f"same {figure} by {side}", "scores too coarse to say")
        if coarse
        else _shared(f"same {figure} by {side}", agreeing[kept], f"the scores were rescaled within each {side}")
        for figure, agreeing in shares.items()
    ]
    return [
        *tests,
        _shared(f"same two best scores by {side}", ladder[kept], f"the scores are ranks within each {side}"),
    ]


def _agreeing(values: np.ndarray, tolerance: np.ndarray, kept: np.ndarray) -> np.ndarray:
    return np.abs(values - np.median(values[kept])) <= tolerance


def _shared(name: str, agreeing: np.ndarray, words: str) -> Suspicion:
    share = float(agreeing.mean())
    return Suspicion(name, share, SHARE, 0.0, share >= SHARE, words)


def _evenly_spaced(scores: np.ndarray) -> Suspicion:
    """Share of the steps between neighbouring scores that are the common step; coarse scores repeat, ranks do not."""
    name = "same step between scores"
    if len(scores) < MIN_ROWS or len(np.unique(scores)) < len(scores):
        return silent(name, "too few rows to say" if len(scores) < MIN_ROWS else "scores repeat, so they are no ranks")
    steps = np.diff(np.sort(scores))
    return _shared(name, _agreeing(steps, 1e-3 * steps, steps > 0), "the scores are ranks over all rows")


def _one_to_one(queries: np.ndarray, found: np.ndarray, references: int) -> Suspicion:
    """Rows whose reference occurs in an earlier row, against the chance that there are none (birthday bound).

    True copies seldom share a reference (in DISC21 never), so only the rows beyond one a query count: at most one row a
    query is true there. Were those spread evenly over all references, f of them would meet f^2 / 2R times; honest false
    rows meet oftener, since some references attract many queries.
    """
    name = "references that occur again"
    false = len(queries) - len(np.unique(queries))
    # Rows of one query cannot meet.
    within = np.square(np.unique(queries, return_counts=True)[1] - 1.0).sum()
    expected = max(0.0, (float(false) ** 2 - within) / (2 * references))
    repeats = len(found) - len(np.unique(found))
    if expected < -np.log(FALSE_ALARM):
        return silent(name, f"too few rows to say: {repeats:,}, of {expected:.2g} expected by chance")
    words = "every reference is used once: a row was kept or dropped because of other rows"
    return Suspicion(name, float(repeats), 0.5, expected, repeats == 0, words)


def _rows_per_query(queries: np.ndarray) -> Suspicion:
    """Test whether every query has as many rows: candidates a query are accepted practice, though questioned."""
    counts = np.unique(queries, return_counts=True)[1]
    if len(counts) < MIN_GROUPS:
        return silent("rows a query", "too few queries to say")
    if counts.min() < counts.max():
        words = f"{counts.min():,} to {counts.max():,} rows a query"
    else:
        words = f"{counts[0]:,} for every query: a choice of rows within queries, which is accepted practice"
    return Suspicion("rows a query", float(counts.mean()), None, None, False, words)
