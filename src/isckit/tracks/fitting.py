"""Everything that a recipe fits on train once its images are described."""

from __future__ import annotations

from isckit.tracks.branches import fit_branches
from isckit.tracks.run import Run, fit
from isckit.tracks.spaces import fit_spaces


def fit_all(run: Run) -> None:
    """Fit the Descriptor track's ensemble, the spaces of branches, and what branches need beside.

    Raises:
        MissingInput: train was not extracted.
    """
    fit(run)
    fit_spaces(run)
    fit_branches(run)
