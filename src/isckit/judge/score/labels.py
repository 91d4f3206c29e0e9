"""Rows of a ranking labelled by ground truth, and named slices of a ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isckit.data.ground_truth import PHASE_QUERIES, disc_numbers, id_codes, phases_of
from isckit.submission import refuse_rows
from isckit.types import BadInput, GroundTruth, Matches

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
    if len(matches):
        _refuse_strangers(
            matches,
            truth,
            queries=bool(np.isin(queries, listed).any()),
            references=bool(np.isin(true_references, known[0] if known else references).any()),
            complete=bool(known),
        )
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


def _refuse_strangers(matches: Matches, truth: GroundTruth, *, queries: bool, references: bool, complete: bool) -> None:
    """Refuse a ground truth that does not speak of these images: without a query or reference in common with them.

    A side alone may have none in common by bad luck, unless the others are all there are, or differ in an ending; so
    may ids of DISC21 on one side, not on both.
    """
    sides = []
    if not queries:
        sides.append(("query", truth.listed_queries, matches.query_ids, not references))
    if not references:
        sides.append(("reference", truth.reference_ids, matches.reference_ids, complete or not queries))
    for kind, theirs, ours, sure in sides:
        plain = (disc_numbers(np.asarray(ids, str), kind[0].upper()) >= 0 for ids in (theirs, ours))
        if (queries or references) and all(numbers.any() for numbers in plain):
            continue
        if sure or len(np.intersect1d(_stems(theirs), _stems(ours))):
            raise BadInput(
                seen=f"no {kind} id of the ground truth occurs in the submission: "
                f"{str(theirs[0])!r} there, {str(ours[0])!r} here",
                allowed="ids that are spelt alike on both sides",
                remedy="take the ground truth of these images, or spell its ids as the submission does",
            )


def _stems(ids: np.ndarray) -> np.ndarray:
    """(n,) ids without folder and ending."""
    return np.array(
        [name.replace("\\", "/").rpartition("/")[2].partition(".")[0].lower() for name in ids.tolist()], str
    )


def _among(pairs: np.ndarray, queries: np.ndarray, true_pairs: np.ndarray, true_queries: np.ndarray) -> np.ndarray:
    """Return whether each pair is a true one; only rows of positive queries are looked up, a fifth in the contest."""
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
