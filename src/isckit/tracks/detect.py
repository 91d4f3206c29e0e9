"""The overlay detector of a finished run over any folder of images."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.engine.distributed import Process
from isckit.engine.survey import Sought, survey
from isckit.matching.inputs import detector_of
from isckit.runs.run import Run
from isckit.views.overlays import write_boxes
from isckit.views.table import read_table


def detect(run: Run, images: ImageSet, out: Path, *, process: Process, workers: int, batch: int | None = None) -> Path:
    """Write all boxes that the run's detector finds in images, as a CSV (see `views.overlays`).

    Args:
        run: trained, of a recipe with a detector.
        images: of any role.
        out: the CSV; a file that is there is replaced.
        process: this one.
        workers: image loading processes.
        batch: images a batch; None for the recipe's.

    Raises:
        MissingInput, BadInput: see `detector_of`; broken images, unless the recipe replaces them.
    """
    settings = run.recipe.extract
    if batch is not None:
        settings = replace(settings, batch_images=batch)
    detector = detector_of(run, process=process)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".boxes-") as folder:
        survey(
            images,
            Path(folder),
            sought=Sought(boxes=True),
            made_from={"detector": config.to_dict(detector.settings)},
            settings=settings,
            process=process,
            workers=workers,
            detector=detector,
        )
        table = read_table(Path(folder))
        return write_boxes(out, {str(name): table.boxes_of(row) for row, name in enumerate(table.ids)})
