"""Matching track: branches that each score pairs -> fusion -> CSV."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from isckit.data.image_sets import ImageSet
from isckit.judge.state import parts
from isckit.matching.inputs import Scene
from isckit.matching.match import scored_pairs
from isckit.runs.artifacts import file_digest, is_fresh, write_receipt
from isckit.runs.meter import measured
from isckit.runs.run import Run
from isckit.runs.workspace import query_set
from isckit.submission import write_matches
from isckit.types import MAX_ROWS
from isckit.vectors.described import image_ids, inputs

if TYPE_CHECKING:
    from isckit.engine.distributed import Place

log = logging.getLogger(__name__)


def matching_track(
    run: Run, *, phase: int, images: Mapping[str, ImageSet] | None = None, place: Place | None = None, workers: int = 0
) -> Path:
    """Write the Matching submission of a phase and return its path.

    Args:
        images: the image sets by name, for recipes with branches that look at pixels.

    Raises:
        MissingInput: the run was not extracted or not fitted; images are needed and not there.
    """
    path = run.workspace.matches(phase, run.name)
    made_from = inputs(run, query_set(phase))
    fitted = parts(run.workspace, run.name).items()
    made_from |= {part: file_digest(file) for part, file in fitted if part != "weights" and part not in made_from}
    if is_fresh(path, made_from):
        log.info("already written: %s", path)
        return path
    with measured() as cost:
        scene = scene_of(run, query_set(phase), "references", images=images or {}, place=place, workers=workers)
        matches = scored_pairs(scene)
        write_matches(path, matches)
    count = len(scene.query_ids) + len(scene.reference_ids)
    facts = {"rows": len(matches), "score_normalised_against": "train", "cost": cost.record(images=count)}
    write_receipt(path, made_from=made_from, facts=facts)
    return path


def scene_of(
    run: Run,
    queries: str,
    references: str,
    *,
    images: Mapping[str, ImageSet],
    place: Place | None,
    workers: int,
    every_pair: bool = False,
) -> Scene:
    """What the branches of a run have at hand; `every_pair`: the list is not cut."""
    ids = image_ids(run, queries), image_ids(run, references)
    settings = run.recipe.matching
    wanted = len(ids[0]) * len(ids[1]) if every_pair else min(settings.max_rows, settings.rows_per_query * len(ids[0]))
    return Scene(run, queries, references, *ids, min(wanted, MAX_ROWS), images, place, workers)
