"""The inputs that a branch of the Matching track has at hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.runs import made_from
from isckit.runs.artifacts import file_digest, read_receipt, receipt_path
from isckit.runs.run import Run
from isckit.runs.steps import NOT_KEPT, Kept
from isckit.types import BadInput, MissingInput, Role
from isckit.vectors.described import substituted_from
from isckit.views.overlays import open_overlays
from isckit.views.table import OVERLAYS, PROPOSALS, Table, read_table

if TYPE_CHECKING:
    from isckit.data.datasets import Substitute
    from isckit.engine.distributed import Process
    from isckit.engine.survey import Sought
    from isckit.models.detector import OverlayDetector


@dataclass(frozen=True)
class MatchingInputs:
    """A run, the two image sets that are matched, by name, and what branches that look at pixels need beside.

    Attributes:
        query_ids, reference_ids: sorted text, all images of both sets that were described.
        images: the sets that were opened, by name.
        rows: rows of the list that is handed in.
        kept: where the parts of long computations lie until the list is handed in.
    """

    run: Run
    queries: str
    references: str
    query_ids: np.ndarray
    reference_ids: np.ndarray
    rows: int
    images: Mapping[str, ImageSet] = field(default_factory=dict)
    process: Process | None = None
    workers: int = 0
    kept: Kept = NOT_KEPT

    def opened(self, name: str) -> ImageSet:
        """Return an image set, for branches that look at pixels.

        Raises:
            MissingInput: matching was begun without images.
        """
        if name not in self.images:
            raise MissingInput(
                seen=f"a branch that looks at images of {name}, and no --data",
                allowed="a folder with the images",
                remedy="pass --data DIR",
            )
        return self.images[name]


def references_of(run: Run) -> int:
    """Return how many references the run described: what is bounded by their number is fitted for it; 0 before that."""
    folder = run.folder("references", run.recipe.members[0].name)
    return int(read_receipt(folder)["facts"].get("images", 0)) if receipt_path(folder).is_file() else 0


def open_table(run: Run, image_set: str) -> Table:
    """Return what was found in each image of a set.

    Raises:
        MissingInput: no extraction looked for anything in these images, or it is not finished.
    """
    folder = table_folder(run, image_set)
    run.finished(folder)
    return read_table(folder)


def table_folder(run: Run, image_set: str) -> Path:
    """Return where the table of an image set lies."""
    return run.described.views(run.name, image_set)


def survey_set(run: Run, images: ImageSet, *, process: Process, workers: int) -> Table | None:
    """Find what the recipe needs of these images, where it needs anything, and return it.

    Raises:
        BadInput: overlays are wanted, and the recipe has no detector.
    """
    from isckit.engine.survey import survey  # imports torch

    sought = sought_in(run.recipe, images.role)
    if sought is None:
        return None
    folder = table_folder(run, images.name)
    detector = None
    if sought.boxes:
        detector = detector_of(run, process=process)
    survey(
        images,
        folder,
        sought=sought,
        made_from=_made_from(run, images, sought),
        settings=run.recipe.extract,
        process=process,
        workers=workers,
        detector=detector,
    )
    return read_table(folder)


def substitute_of(run: Run, images: ImageSet) -> Substitute | None:
    """Return what is looked at in place of queries: their overlays by a file of boxes, or by the recipe's own detector.

    Raises:
        MissingInput: nobody looked for overlays yet, or there is no such file.
    """
    settings = run.recipe.substitution
    if settings is None or images.role is not Role.QUERY:
        return None
    return open_overlays(settings) if settings.boxes else open_table(run, images.name).substitute(settings)


def substitute_made_from(run: Run, images: ImageSet) -> dict[str, str]:
    """Return what decides on that, for receipts; nothing for other images, which stay as they are."""
    settings = run.recipe.substitution
    found = substituted_from(settings, images.role)
    if settings is not None and not settings.boxes and images.role is Role.QUERY:
        found["overlays"] = table_receipt(run, images.name)
    return found


def table_receipt(run: Run, image_set: str) -> str:
    """Return what the table of an image set was made from, in words."""
    return made_from.words(read_receipt(table_folder(run, image_set))["made_from"])


def sought_in(recipe: config.Recipe, role: Role) -> Sought | None:
    """Return what the branches, and the substitution, have to know of each image of this role; None where it is
    nothing.
    """
    from isckit.engine.survey import Sought

    sets = set(view_sets_of(recipe, role))
    needs = [branch.needs(role) for branch in recipe.matching.branches]
    substitution = recipe.substitution if role is Role.QUERY else None
    boxes = OVERLAYS in sets or (substitution is not None and not substitution.boxes) or any(n.boxes for n in needs)
    faces = any(need.faces for need in needs)
    if not (sets & {PROPOSALS, OVERLAYS} or boxes or faces or any(need.sizes for need in needs)):
        return None
    return Sought(recipe.proposals if PROPOSALS in sets else None, boxes, faces, substitution)


def view_sets_of(recipe: config.Recipe, role: Role, member: str | None = None) -> Iterator[str]:
    """Return the view sets that some branch compares of images of this role, by a member or by any.

    Of train none: nothing is matched against crops of it.
    """
    for branch in recipe.matching.branches:
        if member is None or not branch.reads or member in branch.reads:
            yield from branch.view_sets(role)


def _made_from(run: Run, images: ImageSet, sought: Sought) -> dict[str, str]:
    recipe = run.recipe
    parts = made_from.table(
        images=images.content_digest(),
        proposals=config.to_dict(sought.proposals) if sought.proposals else None,
        faces=sought.faces,
        extract=config.to_dict(recipe.extract),
    )
    if sought.boxes:
        detector = config.to_dict(recipe.detector) if recipe.detector else None
        parts |= made_from.detected(detector=detector, weights=file_digest(run.weights))
    return parts | substituted_from(sought.substitution, images.role)


def detector_of(run: Run, *, process: Process) -> OverlayDetector:
    """Return the trained detector of a run, on the place's device, in evaluation mode.

    Raises:
        MissingInput: the run has no weights yet.
        BadInput: its recipe has no detector, or the weights are those of another.
    """
    from isckit.models.detector import load_detector  # imports torch
    from isckit.runs.checkpoints import read_weights

    settings = run.recipe.detector
    if settings is None:
        raise BadInput(
            seen=f"the recipe of run {run.name!r} has no detector",
            allowed="a recipe with one, such as overlay_detector",
            remedy="name a run of such a recipe, or set detector={...} in a new one",
        )
    if not run.weights.is_file():
        raise MissingInput(
            seen=f"no {run.weights}", allowed="a trained run", remedy=f"run: isckit train --name {run.name}"
        )
    prefix = f"{settings.name}."
    table = read_weights(run.weights).items()
    own = {key.removeprefix(prefix): value for key, value in table if key.startswith(prefix)}
    return load_detector(settings, own, device=process.device)
