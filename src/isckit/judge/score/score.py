"""Micro average precision and its company, as the contest computes them, with the protocol each figure belongs to."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from isckit import __version__
from isckit.judge.score.curve import Curve, trace
from isckit.judge.score.labels import HALVES, Labelled, in_slice, label, slice_of
from isckit.types import MAX_ROWS, BadInput, Embeddings, GroundTruth, Matches

if TYPE_CHECKING:
    import pandas as pd

ROWS_PER_QUERY = 10
"""The contest's own search of descriptors keeps this many pairs per labelled query, over all queries together."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The facts that a figure must be read with: two figures compare only where these agree."""

    candidates: str = "the rows submitted"
    references: int | None = None
    dimension: int | None = None
    budget: int | None = None
    ties_at_cut: int | None = None
    normalisation: str = "not stated"
    public_pairs: str = "not stated"


@dataclass(frozen=True, kw_only=True)
class ScoreReport:
    """All figures of one scoring.

    `tied_rows` counts the rows that share their score with another; `optimistic_average_precision` is what the same
    rows would reach if every tie fell well. `recall_at_p90` is 0 and its threshold None where 90 % is never reached.
    `interval`, `slices` and `inputs` (name to sha256) are filled in with `dataclasses.replace`.
    """

    protocol: Protocol
    queries: str
    average_precision: float
    optimistic_average_precision: float
    recall_at_p90: float
    p90_reached: bool
    threshold_at_p90: float | None
    recall_at_1: float
    recall_at_10: float
    n_pos: int
    n_queries: int
    n_distractors: int
    rows_kept: int
    rows_dropped: int
    distinct_scores: int
    tied_rows: int
    warnings: tuple[str, ...]
    curve: Curve = field(repr=False, compare=False)
    interval: tuple[float, float] | None = None
    slices: Mapping[str, ScoreReport] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    version: str = __version__

    def to_json(self) -> str:
        """Return all values but the curve, as readable JSON."""
        return json.dumps(self._values(), indent=2, sort_keys=True, allow_nan=False) + "\n"

    def _values(self) -> dict:
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "curve"}
        slices = {name: report._values() for name, report in self.slices.items()}
        return values | {"protocol": dataclasses.asdict(self.protocol), "slices": slices, "inputs": dict(self.inputs)}

    def to_pandas(self) -> pd.DataFrame:
        """Return the figures as a table: a row "whole" and one a slice, columns named as here and "protocol.NAME"."""
        import pandas as pd

        reports = {"whole": self, **self.slices}
        table = pd.json_normalize([report._values() for report in reports.values()], max_level=1)
        nested = [name for name in table.columns if str(name).startswith(("slices", "inputs", "warnings"))]
        return table.drop(columns=nested).set_axis(list(reports))

    def summary(self) -> str:
        """Return a few lines of text: the figures, the protocol they belong to, and what to beware of."""
        interval = f" (95 % interval {self.interval[0]:.5f} to {self.interval[1]:.5f})" if self.interval else ""
        reached = f"at score >= {self.threshold_at_p90:.6g}" if self.p90_reached else "(90 % precision not reached)"
        p, unknown = self.protocol, "not stated"
        references = unknown if p.references is None else f"{p.references:,}"
        lines = [
            f"uAP {self.average_precision:.5f}{interval}  Recall@P90 {self.recall_at_p90:.5f} {reached}",
            f"recall@1 {self.recall_at_1:.5f}  recall@10 {self.recall_at_10:.5f}",
            f"protocol: queries {self.queries} ({self.n_queries:,} labelled, {self.n_distractors:,} of them "
            f"distractors, {self.n_pos:,} true pairs); references {references}; "
            f"candidates {p.candidates}; dimension {p.dimension or unknown}; normalisation {p.normalisation}; "
            f"trained on public pairs {p.public_pairs}",
            f"rows: {self.rows_kept:,} scored, {self.rows_dropped:,} of unlabelled queries dropped, "
            f"{self.tied_rows:,} share their score with another",
        ]
        for name, part in self.slices.items():
            lines.append(f"{name}: uAP {part.average_precision:.5f}  Recall@P90 {part.recall_at_p90:.5f}")
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])


def score_matches(
    matches: Matches,
    truth: GroundTruth,
    *,
    phase_queries: np.ndarray | None = None,
    reference_ids: np.ndarray | None = None,
    max_rows: int = MAX_ROWS,
    protocol: Protocol = Protocol(),
) -> ScoreReport:
    """Score matches: uAP, Recall@P90 with its threshold, recall@1 and @10; ties count against.

    Rows of queries that belong to the phase but carry no label are dropped and counted.

    Args:
        matches: the predictions, each pair once.
        truth: true pairs and labelled queries.
        phase_queries: ids of all queries of the phase; without it, DISC21 ids of the phases that the truth labels.
        reference_ids: all references, where pairs with any other are to be refused.
        max_rows: most rows allowed.
        protocol: what is known of how the matches were made.

    Raises:
        BadInput: no true pairs, too many rows, scores that are not finite, repeated pairs, queries outside the phase,
            unknown references.
    """
    if len(matches) > max_rows:
        raise BadInput(seen=f"{len(matches):,} rows", allowed=f"at most {max_rows:,} rows", remedy="keep the best rows")
    rows = label(matches, truth, phase_queries=phase_queries, reference_ids=reference_ids)
    n_pos = len(truth.query_ids)
    curve = trace(rows.scores, rows.correct, n_pos=n_pos)
    recall, threshold = curve.operating_point()
    at_1, at_10 = _recall_at(rows, ranks=(1, 10))
    n_distractors = len(truth.listed_queries) - len(np.unique(rows.true_queries))
    if reference_ids is not None:
        protocol = dataclasses.replace(protocol, references=len(reference_ids))
    queries, oddities = slice_of(truth)
    return ScoreReport(
        protocol=protocol,
        queries=queries,
        average_precision=curve.average_precision,
        optimistic_average_precision=curve.optimistic_average_precision,
        recall_at_p90=recall,
        p90_reached=threshold is not None,
        threshold_at_p90=threshold,
        recall_at_1=at_1,
        recall_at_10=at_10,
        n_pos=n_pos,
        n_queries=len(truth.listed_queries),
        n_distractors=n_distractors,
        rows_kept=len(rows.scores),
        rows_dropped=rows.dropped,
        distinct_scores=curve.distinct_scores,
        tied_rows=curve.tied_rows,
        warnings=oddities + _warnings(n_distractors, curve),
        curve=curve,
    )


class TrueRows(NamedTuple):
    """The rows of true pairs: index of the query, score, and how many other rows of it have this score or more."""

    queries: np.ndarray
    scores: np.ndarray
    ranks: np.ndarray


def true_rows(rows: Labelled) -> TrueRows:
    """Return the true pairs that were found, ranked within their queries; ties count against."""
    hopeful = np.flatnonzero(np.isin(rows.queries, rows.true_queries))
    queries, scores = rows.queries[hopeful], rows.scores[hopeful]
    best_first, position = np.argsort(-scores), np.arange(len(scores))
    # One sort of integers puts queries first and keeps the ranking within each.
    order = best_first[np.sort(queries[best_first] * len(scores) + position) % max(1, len(scores))]
    queries, scores, correct = queries[order], scores[order], rows.correct[hopeful][order]
    opens = np.diff(queries, prepend=-1) != 0
    first = np.maximum.accumulate(np.where(opens, position, 0))
    run = np.cumsum(opens | (np.diff(scores, prepend=np.nan) != 0)) - 1
    last = np.searchsorted(run, run, side="right") - 1
    return TrueRows(queries[correct], scores[correct], (last - first)[correct])


def _recall_at(rows: Labelled, *, ranks: tuple[int, ...]) -> list[float]:
    """Share of true pairs with fewer than k other rows of their query at or above their score, for each k."""
    found = true_rows(rows).ranks
    return [float((found < k).sum() / len(rows.true_queries)) for k in ranks]


def _warnings(n_distractors: int, curve: Curve) -> tuple[str, ...]:
    texts = []
    lost_to_ties = curve.optimistic_average_precision - curve.average_precision
    if not n_distractors:
        texts.append(
            "no distractor among the labelled queries: this figure does not compare with the contest's, "
            "where four queries in five have no reference"
        )
    if lost_to_ties > 1e-4:
        texts.append(f"ties cost up to {lost_to_ties:.5f} uAP: write scores with more digits")
    return tuple(texts)


def score_halves(matches: Matches, truth: GroundTruth, *, max_rows: int = MAX_ROWS) -> dict[str, ScoreReport]:
    """Return reports on the two halves of phase 1 (public and private at the time), where both are labelled; else
    nothing.
    """
    parts = {name: in_slice(truth, name) for name in HALVES}
    if not all(len(part.query_ids) for part in parts.values()):
        return {}
    return {name: score_matches(matches, part, max_rows=max_rows) for name, part in parts.items()}


def descriptor_matches(
    queries: Embeddings,
    references: Embeddings,
    truth: GroundTruth,
    *,
    protocol: Literal["global", "knn"] = "global",
    k: int = ROWS_PER_QUERY,
) -> tuple[Matches, Protocol]:
    """Search as the contest does: labelled queries only, squared L2, the 10 x queries closest pairs of all.

    Args:
        queries, references: one vector an image; the vectors may be h5py datasets.
        truth: names the labelled queries.
        protocol: "global" is the contest's; "knn" keeps k references of each query, as later papers do.
        k: neighbours of "knn".

    Raises:
        BadInput: none of the labelled queries is among the descriptors.
    """
    from isckit.matching.lists import search

    rows = np.flatnonzero(np.isin(queries.ids, truth.listed_queries))
    if not len(rows):
        raise BadInput(
            seen=f"descriptors of {', '.join(queries.ids[:3])}, ..., labels of "
            f"{', '.join(truth.listed_queries[:3])}, ...: no query in common",
            allowed="ground truth of the same phase",
            remedy="pass the ground truth of these queries",
        )
    # One slice: an h5py dataset reads a range much faster than a list of rows.
    vectors = queries.vectors[rows[0] : rows[-1] + 1][rows - rows[0]]
    budget = (ROWS_PER_QUERY if protocol == "global" else k) * len(rows)
    hits = search(
        vectors,
        references.vectors,
        n=budget,
        metric="l2",
        query_keys=queries.ids[rows],
        reference_keys=references.ids,
        per_query=k if protocol == "knn" else None,
    )
    rule = "closest pairs of all" if protocol == "global" else f"{k} nearest of each query"
    matches = Matches(queries.ids[rows][hits.query_rows], references.ids[hits.reference_rows], hits.scores)
    return matches, Protocol(
        candidates=f"{protocol}: {budget:,} pairs, {rule}, {hits.ties_cut:,} ties cut",
        references=len(references.ids),
        dimension=vectors.shape[1],
        budget=budget,
        ties_at_cut=hits.ties_cut,
    )


def score_descriptors(
    queries: Embeddings,
    references: Embeddings,
    truth: GroundTruth,
    *,
    protocol: Literal["global", "knn"] = "global",
    k: int = ROWS_PER_QUERY,
) -> ScoreReport:
    """Search as `descriptor_matches` does and score what it finds; raises as the two steps do."""
    matches, made = descriptor_matches(queries, references, truth, protocol=protocol, k=k)
    return score_matches(matches, truth, max_rows=len(matches), protocol=made)
