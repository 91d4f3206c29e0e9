"""The branch of pair networks: candidates of other branches, scored in two passes (separate, Jeon 2021)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.engine.pairs import score_pairs
from isckit.matching.inputs import MatchingInputs
from isckit.models.pair import PairClassifier, load_pair
from isckit.runs import made_from
from isckit.runs.artifacts import file_digest, ids_digest
from isckit.runs.checkpoints import read_weights
from isckit.runs.run import Run
from isckit.types import Matches
from isckit.views.geometry import View, view_set

if TYPE_CHECKING:
    from isckit.engine.distributed import Process


def describe(run: Run, images: ImageSet, branch: config.Pairs, *, process: Process, workers: int) -> None:
    """Write nothing: it looks at pixels when it matches."""


def fit(run: Run, branch: config.Pairs) -> None:
    """Fit nothing: its networks are trained with the members."""


def matches(scene: MatchingInputs, branch: config.Pairs, found: Mapping[str, Matches]) -> Matches:
    """Score the candidates that earlier branches found.

    Without `keep` a score, and whether a pair has one, depends on nothing but the pair.

    Raises:
        MissingInput: matching was begun without images.
    """
    queries, references = scene.opened(scene.queries), scene.opened(scene.references)
    assert scene.process is not None
    weights = read_weights(scene.run.weights)
    networks = [load_pair(settings, weights, device=scene.process.device) for settings in branch.networks]
    views = view_set(("halves", *branch.views))
    asked = first_pass(queries, references, branch, found, views=views)
    scores = _scores(scene, branch, networks, asked, views, "first").mean(axis=1)
    kept = selected(asked[:, :2], scores, floor=branch.floor, keep=branch.keep)
    looks = [views.index(view) for view in view_set(branch.views)]
    asked = np.column_stack([np.repeat(kept, len(looks), axis=0), np.tile(looks, len(kept))])
    scores = fused(_scores(scene, branch, networks, asked, views, "second"), views=len(looks))
    return Matches(queries.ids[kept[:, 0]], references.ids[kept[:, 1]], scores.astype(np.float64))


def first_pass(
    queries: ImageSet,
    references: ImageSet,
    branch: config.Pairs,
    found: Mapping[str, Matches],
    *,
    views: Sequence[View],
) -> np.ndarray:
    """Return (m, 3) distinct rows of query, reference and view, ordered: all candidates whole, and their halves."""
    number = {view.name: at for at, view in enumerate(views)}
    wanted = [(name, "whole") for name in branch.candidates] + [(half.branch, half.side) for half in branch.halves]
    parts = [np.empty((0, 3), np.int64)]
    for name, view in wanted:
        rows = [
            np.searchsorted(images.ids, ids)
            for images, ids in ((queries, found[name].query_ids), (references, found[name].reference_ids))
        ]
        parts.append(np.column_stack([*rows, np.full(len(rows[0]), number[view])]))
    return np.unique(np.concatenate(parts), axis=0)


def selected(pairs: np.ndarray, scores: np.ndarray, *, floor: float, keep: int) -> np.ndarray:
    """Return (k, 2) pairs that go on, ordered: of each pair its best score, at least `floor`, the `keep` best of each
    query.

    Args:
        pairs: (m, 2) rows of query and reference, equal ones together.
        scores: (m,).
        floor: least score.
        keep: pairs of a query, 0 for all; ties go to the smaller row of the reference.
    """
    distinct, number = np.unique(pairs, axis=0, return_inverse=True)
    best = np.full(len(distinct), -np.inf)
    np.maximum.at(best, number, scores)
    distinct, best = distinct[best >= floor], best[best >= floor]
    if keep:
        order = np.lexsort((distinct[:, 1], -best, distinct[:, 0]))
        starts = np.searchsorted(distinct[:, 0], distinct[:, 0])
        distinct = distinct[np.sort(order[np.arange(len(order)) - starts < keep])]
    return distinct


def fused(scores: np.ndarray, *, views: int) -> np.ndarray:
    """(k * views, networks) -> (k,): maximum over the views of a pair for each network, then mean over networks."""
    return scores.reshape(-1, views, scores.shape[1]).max(axis=1).mean(axis=1)


def _scores(
    scene: MatchingInputs,
    branch: config.Pairs,
    networks: Sequence[PairClassifier],
    asked: np.ndarray,
    views: tuple[View, ...],
    step: str,
) -> np.ndarray:
    queries, references = scene.opened(scene.queries), scene.opened(scene.references)
    assert scene.process is not None
    return score_pairs(
        networks,
        queries,
        references,
        asked,
        views=views,
        folder=scene.run.described.pair_scores(scene.run.name, scene.queries, branch.name) / step,
        made_from=made_from.pair_scores(
            weights=file_digest(scene.run.weights),
            pairs=hashlib.sha256(np.ascontiguousarray(asked, "<i8").data).hexdigest(),
            images=[images.content_digest() for images in (queries, references)],
            ids=[ids_digest(images.ids) for images in (queries, references)],
            views=[repr(view) for view in views],
        ),
        settings=scene.run.recipe.extract,
        process=scene.process,
        workers=scene.workers,
    )
