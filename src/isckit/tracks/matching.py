"""Matching track: branches that each score pairs -> fusion -> CSV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isckit.data.image_sets import ImageSet
from isckit.judge.state import parts
from isckit.matching.inputs import MatchingInputs
from isckit.matching.match import scored_pairs
from isckit.runs.executor import current
from isckit.runs.run import Run
from isckit.runs.steps import NOT_KEPT, Kept, Output, make, scratch
from isckit.runs.workspace import query_set
from isckit.submission import write_matches
from isckit.types import MAX_ROWS
from isckit.vectors.described import image_ids, replaced, submitted_from

if TYPE_CHECKING:
    from isckit.engine.distributed import Process

PARTS = "matching.parts"
"""Folder, beside the list, of what a matching has finished; it goes once the list is written."""


def matching_track(
    run: Run,
    *,
    phase: int,
    images: Mapping[str, ImageSet] | None = None,
    process: Process | None = None,
    workers: int = 0,
) -> Path:
    """Write the Matching submission of a phase and return its path.

    Args:
        images: the image sets by name, for recipes with branches that look at pixels.

    Raises:
        MissingInput: the run was not extracted or not fitted; images are needed and not there.
    """
    path, queries = run.workspace.matches(phase, run.name), query_set(phase)
    fitted = {part: file for part, file in parts(run.workspace, run.name).items() if part != "weights"}
    inputs, executor = submitted_from(run, queries, fitted), process.executor if process else current()

    def work() -> dict[str, Any]:
        with scratch(path.with_name(PARTS), inputs, first=executor.first) as there:
            kept = Kept(there.root, inputs, executor)
            scene = scene_of(
                run, queries, "references", images=images or {}, process=process, workers=workers, kept=kept
            )
            matches = scored_pairs(scene)
            executor.map(lambda _: write_matches(path, matches), range(1), name=f"write {path}")
            executor.together(f"{path} {PARTS}")  # everyone has read the parts, which now go
        count = len(scene.query_ids) + len(scene.reference_ids)
        broken = {name: replaced(run, name) for name in ("references", queries)}
        return {"rows": len(matches), "score_normalised_against": "train", "images": count, "replaced": broken}

    make(Output(path, inputs), work)
    return path


def scene_of(
    run: Run,
    queries: str,
    references: str,
    *,
    images: Mapping[str, ImageSet],
    process: Process | None,
    workers: int,
    every_pair: bool = False,
    kept: Kept = NOT_KEPT,
) -> MatchingInputs:
    """Return what the branches of a run have at hand; `every_pair`: the list is not cut."""
    ids = image_ids(run, queries), image_ids(run, references)
    settings = run.recipe.matching
    wanted = len(ids[0]) * len(ids[1]) if every_pair else min(settings.max_rows, settings.rows_per_query * len(ids[0]))
    return MatchingInputs(run, queries, references, *ids, min(wanted, MAX_ROWS), images, process, workers, kept)
