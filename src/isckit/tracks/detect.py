"""The overlay detector of a finished run over any folder of images."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.engine.distributed import Place
from isckit.engine.survey import Sought, survey
from isckit.models.detector import OverlayDetector, load_detector
from isckit.storage.checkpoints import read_weights
from isckit.tracks.run import Run
from isckit.types import BadInput, MissingInput
from isckit.views.overlays import write_boxes
from isckit.views.table import read_table


def detector_of(run: Run, *, place: Place) -> OverlayDetector:
    """The trained detector of a run, on the place's device, in evaluation mode.

    Raises:
        MissingInput: the run has no weights yet.
        BadInput: its recipe has no detector, or the weights are those of another.
    """
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
    return load_detector(settings, own, device=place.device)


def detect(run: Run, images: ImageSet, out: Path, *, place: Place, workers: int, batch: int | None = None) -> Path:
    """Write all boxes that the run's detector finds in images, as a CSV (see `views.overlays`).

    Args:
        run: trained, of a recipe with a detector.
        images: of any role.
        out: the CSV; a file that is there is replaced.
        place: of this process.
        workers: image loading processes.
        batch: images a batch; None for the recipe's.

    Raises:
        MissingInput, BadInput: see `detector_of`; broken images, unless the recipe replaces them.
    """
    settings = run.recipe.extract
    if batch is not None:
        settings = replace(settings, batch_images=batch)
    detector = detector_of(run, place=place)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".boxes-") as folder:
        survey(
            images,
            Path(folder),
            sought=Sought(boxes=True),
            made_from={"detector": config.to_dict(detector.settings)},
            settings=settings,
            place=place,
            workers=workers,
            detector=detector,
        )
        table = read_table(Path(folder))
        return write_boxes(out, {str(name): table.boxes_of(row) for row, name in enumerate(table.ids)})
