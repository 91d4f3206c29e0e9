"""The branch of views: score normalisation against train -> exact global search -> best view of a pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.matching.branches.agreement import free_views
from isckit.matching.inputs import MatchingInputs
from isckit.matching.spaces import fit_spaces, fit_thresholds, fitted_threshold, space_bank, space_vectors
from isckit.matching.views import view_matches
from isckit.runs.run import Run
from isckit.types import Matches

if TYPE_CHECKING:
    from isckit.engine.distributed import Process


def describe(run: Run, images: ImageSet, branch: config.Views, *, process: Process, workers: int) -> None:
    """Write nothing: embeddings are all it looks at."""


def fit(run: Run, branch: config.Views) -> None:
    """Fit its spaces on train, and the thresholds of its cut.

    Raises:
        MissingInput: train was not extracted.
        BadInput: too few train images for the share of its cut.
    """
    fit_spaces(run, branch)
    fit_thresholds(run, branch)


def matches(scene: MatchingInputs, branch: config.Views, found: Mapping[str, Matches]) -> Matches:
    """Return the pairs of images that the branch lists, each with the score of its best pair of views.

    Raises:
        MissingInput: the run was not fitted, or the images were not extracted.
    """
    key = branch.name if branch.space is not None else None
    return view_matches(
        branch,
        space_vectors(scene.run, key, scene.queries, view_sets=branch.query_views),
        space_vectors(scene.run, key, scene.references, view_sets=branch.reference_views),
        space_bank(scene.run, key),
        images=len(scene.query_ids),
        free=free_views(branch.privileged),
        threshold=fitted_threshold(scene.run, branch),
        kept=scene.kept,
    )
