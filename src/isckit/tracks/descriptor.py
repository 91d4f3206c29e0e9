"""Descriptor track: whole images -> ensemble -> normalised against train -> official HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isckit.judge.freeze import refuse_other_references
from isckit.runs.artifacts import rows_digest
from isckit.runs.run import Run
from isckit.runs.steps import Output, make
from isckit.runs.workspace import query_set
from isckit.submission import write_descriptors
from isckit.vectors.described import bank, ensembled, replaced, submitted_from, with_broken
from isckit.vectors.normalise import fit_normaliser, normalise


def descriptor_track(run: Run, *, phase: int) -> Path:
    """Write the Descriptor submission of a phase and return its path.

    Raises:
        MissingInput: the run was not extracted or not fitted.
        RuleViolation: in phase 2, the reference vectors differ from those that phase 1 recorded.
    """
    path, queries = run.workspace.descriptors(phase, run.name), query_set(phase)
    parts = {"ensemble": run.workspace.ensemble(run.name), "bank": run.workspace.bank(run.name)}

    def work() -> dict[str, Any]:
        background = bank(run)
        normaliser = fit_normaliser(background, run.recipe.normalise)
        broken = {name: replaced(run, name) for name in ("references", queries)}
        references = with_broken(normalise(ensembled(run, "references"), normaliser), broken["references"])
        digest = rows_digest(references.ids, references.vectors)
        if phase == 2:
            refuse_other_references(run.workspace.freeze(run.name), digest)
        described = with_broken(normalise(ensembled(run, queries), normaliser), broken[queries])
        write_descriptors(path, described, references)
        return {
            "normalised_against": background.role.value,
            "reference_rows": digest,
            "dim": references.vectors.shape[1],
            "images": len(described.ids) + len(references.ids),
            "replaced": broken,
        }

    make(Output(path, submitted_from(run, queries, parts)), work)
    return path
