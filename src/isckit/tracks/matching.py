"""Matching track: views -> ensemble -> score normalisation against train -> exact global search -> pairs -> CSV."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from isckit.matching.aggregate import aggregate, with_crop_penalty
from isckit.matching.score_norm import background, with_score_dimension
from isckit.matching.search import search
from isckit.storage.artifacts import is_fresh, write_receipt
from isckit.storage.meter import measured
from isckit.submission import write_matches
from isckit.tracks.run import Run, bank, ensembled, inputs
from isckit.types import Embeddings, Matches
from isckit.workspace import MAX_ROWS, query_set

log = logging.getLogger(__name__)

VIEW_ROWS = 10
"""View pairs searched for each row wanted: several views of a pair are usually among the best."""
ALL_VIEW_PAIRS = 1_000_000
"""Up to so many, all view pairs are kept, so that no pair of a small set is lost."""


def matching_track(run: Run, *, phase: int) -> Path:
    """Write the Matching submission of a phase and return its path.

    Raises:
        MissingInput: the run was not extracted or not fitted.
    """
    path = run.workspace.matches(phase, run.name)
    made_from = inputs(run, query_set(phase))
    if is_fresh(path, made_from):
        log.info("already written: %s", path)
        return path
    with measured() as cost:
        queries, references = ensembled(run, query_set(phase)), ensembled(run, "references")
        settings = run.recipe.matching
        rows = min(settings.max_rows, MAX_ROWS, settings.rows_per_query * len(np.unique(queries.ids)))
        matches = match(run, queries, references, bank(run), rows=rows)
        write_matches(path, matches)
    images = sum(len(np.unique(side.ids)) for side in (queries, references))
    facts = {"rows": len(matches), "score_normalised_against": "train", "cost": cost.record(images=images)}
    write_receipt(path, made_from=made_from, facts=facts)
    return path


def match(run: Run, queries: Embeddings, references: Embeddings, train: Embeddings, *, rows: int) -> Matches:
    """Score every pair by its best pair of views and keep the best `rows` pairs over all queries.

    A view's similarity to its train neighbours is subtracted from its scores, so that scores compare across queries
    and views; no step looks at other queries or references.
    """
    settings = run.recipe.matching
    left, right = queries.vectors, references.vectors
    if settings.norm_factor:
        statistic = background(left, train, first=settings.norm_first, last=settings.norm_last)
        left, right = with_score_dimension(left, right, statistic, factor=settings.norm_factor)
    left, right = with_crop_penalty(left, right, queries, references, penalty=settings.crop_penalty)
    every = len(left) * len(right)
    hits = search(
        left,
        right,
        n=every if every <= ALL_VIEW_PAIRS else VIEW_ROWS * rows,
        metric="ip",
        query_keys=np.arange(len(left)),
        reference_keys=np.arange(len(right)),
        progress=True,
    )
    return aggregate(hits, queries, references, max_rows=rows)
