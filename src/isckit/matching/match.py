"""Branches one after the other, then their fusion: all scored pairs of a recipe's matching system."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.matching.fuse import best_per_query, fuse
from isckit.matching.inputs import MatchingInputs
from isckit.runs.run import Run
from isckit.submission import best_rows
from isckit.types import Matches
from isckit.vectors.described import fit, replaced

if TYPE_CHECKING:
    from isckit.engine.distributed import Process

log = logging.getLogger(__name__)


class BranchModule(Protocol):
    """The functions that a file of matching/branches offers, for branches of its kind."""

    def describe(self, run: Run, images: ImageSet, branch: Any, *, process: Process, workers: int) -> None:
        """Write what it needs of an image set beside embeddings; train comes first of all sets."""
        ...

    def fit(self, run: Run, branch: Any) -> None:
        """Fit on train what it needs: spaces, indices, codebooks, thresholds."""
        ...

    def matches(self, scene: MatchingInputs, branch: Any, found: Mapping[str, Matches]) -> Matches:
        """Return its scored pairs; `found` are those of the branches before it."""
        ...


def branch_of(settings: config.Branch) -> BranchModule:
    """Return the file of matching/branches that settings name by their kind, loaded when it is asked for."""
    return cast(BranchModule, importlib.import_module(f"isckit.matching.branches.{settings.kind}"))


def describe_branches(run: Run, images: ImageSet, *, process: Process, workers: int) -> None:
    """Write what the branches need of an image set beside embeddings."""
    for branch in run.recipe.matching.branches:
        branch_of(branch).describe(run, images, branch, process=process, workers=workers)


def fit_all(run: Run) -> None:
    """Fit the Descriptor track's ensemble, then what each branch needs.

    Raises:
        MissingInput: train was not extracted.
    """
    fit(run)
    for branch in run.recipe.matching.branches:
        branch_of(branch).fit(run, branch)


def scored_pairs(scene: MatchingInputs) -> Matches:
    """Return the list that is handed in: branches, fusion, the post-step where there is one, the best rows by score.

    Images that do not decode have no rows.
    """
    settings = scene.run.recipe.matching
    found: dict[str, Matches] = {}
    for branch in settings.branches:
        found[branch.name] = _decoded(branch_of(branch).matches(scene, branch, found), scene)
        log.info("%s: %d rows", branch.name, len(found[branch.name]))
    fused = fuse({branch.name: found[branch.name] for branch in settings.fused_branches}, settings.fusion)
    if settings.best_per_query:
        fused = best_per_query(fused, settings.best_per_query)
    return best_rows(fused, scene.rows)


def _decoded(matches: Matches, scene: MatchingInputs) -> Matches:
    queries, references = (np.array([*replaced(scene.run, name)], str) for name in (scene.queries, scene.references))
    if not len(queries) + len(references):
        return matches
    return matches.take(~(np.isin(matches.query_ids, queries) | np.isin(matches.reference_ids, references)))
