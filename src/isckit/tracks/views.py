"""The branch of views: score normalisation against train -> exact global search -> best view of a pair."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isckit import config
from isckit.matching.aggregate import aggregate, with_crop_penalty
from isckit.matching.score_norm import background, with_score_dimension
from isckit.matching.search import search
from isckit.tracks.run import Run
from isckit.tracks.scene import Scene
from isckit.tracks.spaces import space_bank, space_vectors
from isckit.types import Embeddings, Matches

VIEW_ROWS = 10
"""View pairs searched for each row wanted: several views of a pair are usually among the best."""
ALL_VIEW_PAIRS = 1_000_000
"""Up to so many, all view pairs are kept, so that no pair of a small set is lost."""


def fit(run: Run, branch: config.Views | config.Agreement) -> None:
    """Fit the branch's threshold on train, where it has one."""


def matches(scene: Scene, branch: config.Views, found: Mapping[str, Matches]) -> Matches:
    """The pairs of images that the branch lists, each with the score of its best pair of views."""
    key = branch.name if branch.space is not None else None
    queries = space_vectors(scene.run, key, scene.queries, view_sets=branch.query_views)
    references = space_vectors(scene.run, key, scene.references, view_sets=branch.reference_views)
    rows = max(scene.rows, round(branch.cut.amount * len(scene.query_ids)))
    return match(branch, queries, references, space_bank(scene.run, key), rows=rows)


def match(
    branch: config.Views, queries: Embeddings, references: Embeddings, train: Embeddings, *, rows: int
) -> Matches:
    """Score every pair by its best pair of views and keep the best `rows` pairs over all queries.

    A view's similarity to its train neighbours is subtracted from its scores, so that scores compare across queries
    and views; no step looks at other queries or references.
    """
    left, right = queries.vectors, references.vectors
    if branch.norm_factor:
        statistic = background(left, train, first=branch.norm_first, last=branch.norm_last)
        left, right = with_score_dimension(left, right, statistic, factor=branch.norm_factor)
    left, right = with_crop_penalty(left, right, queries, references, penalty=branch.crop_penalty)
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
