"""Branches one after the other, then their fusion: all scored pairs of a recipe's matching system."""

from __future__ import annotations

import logging

from isckit import config
from isckit.matching.branches import views
from isckit.matching.fuse import best_per_query, fuse
from isckit.matching.inputs import Scene
from isckit.matching.spaces import fit_spaces, fit_thresholds
from isckit.runs.run import Run
from isckit.submission import best_rows
from isckit.types import Matches
from isckit.vectors.described import fit

log = logging.getLogger(__name__)


def fit_branches(run: Run) -> None:
    """Fit on train whatever the branches need: indices, codebooks, thresholds."""
    for branch in run.recipe.matching.branches:
        if isinstance(branch, config.Local):
            from isckit.matching.branches import local

            local.fit(run, branch)
        elif isinstance(branch, config.Asmk):
            from isckit.matching.branches import asmk

            asmk.fit(run, branch)
        elif isinstance(branch, config.Views | config.Agreement):
            fit_thresholds(run, branch)


def scored_pairs(scene: Scene) -> Matches:
    """The list that is handed in: branches, fusion, the post-step where the recipe has it, the best rows by score."""
    settings = scene.run.recipe.matching
    found: dict[str, Matches] = {}
    for branch in settings.branches:
        found[branch.name] = _branch(scene, branch, found)
        log.info("%s: %d rows", branch.name, len(found[branch.name]))
    fused = fuse({branch.name: found[branch.name] for branch in settings.fused_branches}, settings.fusion)
    if settings.best_per_query:
        fused = best_per_query(fused, settings.best_per_query)
    return best_rows(fused, scene.rows)


def _branch(scene: Scene, branch: config.Branch, found: dict[str, Matches]) -> Matches:
    # Imported where they are needed: some bring torch or faiss along, and most recipes use one of them.
    if isinstance(branch, config.Views):
        return views.matches(scene, branch, found)
    if isinstance(branch, config.Agreement):
        from isckit.matching.branches import agreement

        return agreement.matches(scene, branch, found)
    if isinstance(branch, config.Local):
        from isckit.matching.branches import local

        return local.matches(scene, branch, found)
    if isinstance(branch, config.Asmk):
        from isckit.matching.branches import asmk

        return asmk.matches(scene, branch, found)
    from isckit.matching.branches import pairs

    return pairs.matches(scene, branch, found)


def fit_all(run: Run) -> None:
    """Fit the Descriptor track's ensemble, the spaces of branches, and what branches need beside.

    Raises:
        MissingInput: train was not extracted.
    """
    fit(run)
    fit_spaces(run)
    fit_branches(run)
