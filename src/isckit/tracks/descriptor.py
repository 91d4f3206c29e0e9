"""Descriptor track: whole images -> ensemble -> normalised against train -> official HDF5."""

from __future__ import annotations

import logging
from pathlib import Path

from isckit.judge.freeze import refuse_other_references
from isckit.runs.artifacts import is_fresh, rows_digest, write_receipt
from isckit.runs.meter import measured
from isckit.runs.run import Run
from isckit.runs.workspace import query_set
from isckit.submission import write_descriptors
from isckit.vectors.described import bank, ensembled, inputs
from isckit.vectors.normalise import fit_normaliser, normalise

log = logging.getLogger(__name__)


def descriptor_track(run: Run, *, phase: int) -> Path:
    """Write the Descriptor submission of a phase and return its path.

    Raises:
        MissingInput: the run was not extracted or not fitted.
        RuleViolation: in phase 2, the reference vectors differ from those that phase 1 recorded.
    """
    path = run.workspace.descriptors(phase, run.name)
    made_from = inputs(run, query_set(phase))
    if is_fresh(path, made_from):
        log.info("already written: %s", path)
        return path
    with measured() as cost:
        background = bank(run)
        normaliser = fit_normaliser(background, run.recipe.normalise)
        references = normalise(ensembled(run, "references"), normaliser)
        digest = rows_digest(references.ids, references.vectors)
        if phase == 2:
            refuse_other_references(run.workspace.freeze(run.name), digest)
        queries = normalise(ensembled(run, query_set(phase)), normaliser)
        write_descriptors(path, queries, references)
    facts = {
        "normalised_against": background.role.value,
        "reference_rows": digest,
        "dim": references.vectors.shape[1],
        "cost": cost.record(images=len(queries.ids) + len(references.ids)),
    }
    write_receipt(path, made_from=made_from, facts=facts)
    return path
