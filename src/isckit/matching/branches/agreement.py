"""Agreement: a pair of views counts where several members list it (D2LV, Wang et al. 2021, "confidence")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.matching.inputs import MatchingInputs, open_table
from isckit.matching.lists import Hits, of_views
from isckit.matching.spaces import fit_spaces, fit_thresholds, fitted_threshold, space_bank, space_vectors, view_names
from isckit.matching.views import member_list
from isckit.runs.run import Run
from isckit.types import WHOLE, BadInput, Embeddings, Matches
from isckit.views.geometry import window
from isckit.views.table import wanted

if TYPE_CHECKING:
    from isckit.engine.distributed import Process


class ViewPairs(NamedTuple):
    """Scored pairs of view rows: three columns; a pair may repeat, with the score of each member."""

    query_rows: np.ndarray
    reference_rows: np.ndarray
    scores: np.ndarray

    def kept(self, keep: np.ndarray) -> ViewPairs:
        """Return the pairs where `keep`, (m,) bool, holds."""
        return ViewPairs(self.query_rows[keep], self.reference_rows[keep], self.scores[keep])


def agree(lists: Sequence[Hits], *, need: int) -> ViewPairs:
    """Return the rows of the pairs that at least `need` of the lists hold: a row for each list that holds it.

    It is the same pair of views that must be in the lists, not merely the same pair of images.

    Args:
        lists: of each member, over the same rows of views; a list holds a pair at most once.
    """
    query, reference, scores = (
        np.concatenate([getattr(hits, column) for hits in lists])
        for column in ("query_rows", "reference_rows", "scores")
    )
    pairs = query * (int(reference.max(initial=0)) + 1) + reference
    _, number, count = np.unique(pairs, return_inverse=True, return_counts=True)
    return ViewPairs(query, reference, scores).kept(count[number] >= need)


def large_enough(pairs: ViewPairs, query_sides: np.ndarray, *, min_side: int) -> ViewPairs:
    """Return the pairs whose query view is at least `min_side` pixels high and wide ("completeness", the small-crop
    filter).

    Args:
        query_sides: (n,) shorter side of each query view, in pixels of the image as it is.
    """
    return pairs.kept(query_sides[pairs.query_rows] >= min_side)


def without_faces(pairs: ViewPairs, faces: np.ndarray) -> ViewPairs:
    """Return pairs whose reference shows no face; `faces`: (m,) bool of each reference view, all views of one alike."""
    return pairs.kept(~faces[pairs.reference_rows])


def penalised(pairs: ViewPairs, query_free: np.ndarray, reference_free: np.ndarray, *, penalty: float) -> ViewPairs:
    """`penalty` less, once, for pairs of which not both views are free of it ((n,) and (m,) bool)."""
    free = query_free[pairs.query_rows] & reference_free[pairs.reference_rows]
    return pairs._replace(scores=pairs.scores - np.where(free, 0.0, penalty))


def describe(run: Run, images: ImageSet, branch: config.Agreement, *, process: Process, workers: int) -> None:
    """Write nothing: embeddings are all it looks at."""


def fit(run: Run, branch: config.Agreement) -> None:
    """Fit its spaces on train, and the thresholds of its cut.

    Raises:
        MissingInput: train was not extracted.
        BadInput: too few train images for the share of its cut.
    """
    fit_spaces(run, branch)
    fit_thresholds(run, branch)


def matches(scene: MatchingInputs, branch: config.Agreement, found: Mapping[str, Matches]) -> Matches:
    """Return rows of the pairs that the members agree on: of each pair of views, one for each member that lists it.

    Raises:
        MissingInput: the run was not fitted, or the images were not extracted.
        BadInput: members that were described with other views.
    """
    lists: list[Hits] = []
    sides: tuple[Embeddings, Embeddings] | None = None
    for member in branch.members:
        hits, queries, references = _member(scene, branch, member)
        if sides is not None:
            _refuse_other_rows(branch, sides, (queries, references))
        lists.append(hits)
        sides = _keys(queries), _keys(references)  # the vectors of one member at a time are enough to hold
    assert sides is not None
    pairs = _filtered(scene, branch, agree(lists, need=branch.need), *sides)
    free = free_views(branch.privileged)
    pairs = penalised(pairs, *(of_views(side, free) for side in sides), penalty=branch.crop_penalty)
    return Matches(sides[0].ids[pairs.query_rows], sides[1].ids[pairs.reference_rows], pairs.scores)


def free_views(privileged: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the views of privileged view sets, which the whole image is not of unless it is named."""
    return tuple(name for name in view_names(privileged) if name != WHOLE or WHOLE in privileged)


def _member(scene: MatchingInputs, branch: config.Agreement, member: str) -> tuple[Hits, Embeddings, Embeddings]:
    """Return what one member lists, and the vectors of both sides that its rows count."""
    key = f"{branch.name}.{member}"
    queries = space_vectors(scene.run, key, scene.queries, view_sets=branch.query_views)
    references = space_vectors(scene.run, key, scene.references, view_sets=branch.reference_views)
    hits = member_list(
        branch,
        queries,
        references,
        space_bank(scene.run, key),
        images=len(scene.query_ids),
        threshold=fitted_threshold(scene.run, branch, member),
        kept=scene.kept,
        name=key,
    )
    return hits, queries, references


def _filtered(
    scene: MatchingInputs, branch: config.Agreement, pairs: ViewPairs, queries: Embeddings, references: Embeddings
) -> ViewPairs:
    if branch.min_side:
        rows, at = np.unique(pairs.query_rows, return_inverse=True)
        sides = shorter_sides(scene, branch, queries.take(rows))
        pairs = large_enough(pairs._replace(query_rows=at), sides, min_side=branch.min_side)
        pairs = pairs._replace(query_rows=rows[pairs.query_rows])
    if branch.faceless:
        table = open_table(scene.run, scene.references)
        pairs = without_faces(pairs, np.isin(references.ids, table.ids[table.faces]))
    return pairs


def shorter_sides(scene: MatchingInputs, branch: config.Agreement, queries: Embeddings) -> np.ndarray:
    """Return (n,) shorter side of query views, in pixels of the image as it is."""
    recipe, table = scene.run.recipe, open_table(scene.run, scene.queries)
    views = wanted(branch.query_views, recipe, substitution=recipe.substitution)
    sides = np.empty(len(queries.ids), np.int64)
    starts = np.flatnonzero(np.concatenate([[True], queries.ids[1:] != queries.ids[:-1]])[: len(sides)])
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(sides)], strict=True):
        row = table.row(str(queries.ids[start]))
        height, width = table.sizes[row].tolist()
        own = {view.name: view for view in (*views.fixed, *views.found(table, row))}
        for at in range(start, stop):
            view = own[queries.view_names[queries.views[at]]]
            sides[at] = min(window(view, height=height, width=width)[2:])
    return sides


def _keys(embeddings: Embeddings) -> Embeddings:
    return embeddings.with_vectors(np.empty((len(embeddings.ids), 0), np.float32))


def _refuse_other_rows(
    branch: config.Agreement, first: tuple[Embeddings, Embeddings], other: tuple[Embeddings, Embeddings]
) -> None:
    for one, two in zip(first, other, strict=True):
        names = [np.array(side.view_names)[side.views] for side in (one, two)]
        if len(one.ids) != len(two.ids) or (one.ids != two.ids).any() or (names[0] != names[1]).any():
            raise BadInput(
                seen=f"members of branch {branch.name} with other rows of {one.role} views: {len(one.ids)} "
                f"and {len(two.ids)}",
                allowed="the same images and views in the same order from every member",
                remedy="extract all members from the same image set",
            )
