"""The overlay detector of a finished run over any folder of images."""

from __future__ import annotations

from pathlib import Path

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.data.images import stop_message
from isckit.engine.distributed import Process
from isckit.engine.survey import Sought, survey
from isckit.matching.inputs import detector_of
from isckit.runs import made_from
from isckit.runs.artifacts import file_digest, read_receipt
from isckit.runs.run import Run
from isckit.runs.steps import scratch
from isckit.views.overlays import write_boxes
from isckit.views.table import read_table


def detect(
    run: Run, images: ImageSet, out: Path, *, process: Process, workers: int, batch: int | None = None
) -> dict[str, str]:
    """Write all boxes that the run's detector finds in images, as a CSV (see `views.overlays`).

    Images that do not decode are left out, and returned with their reasons.

    Args:
        run: trained, of a recipe with a detector.
        images: of any role.
        out: the CSV; a file that is there is replaced.
        process: this one.
        workers: image loading processes.
        batch: images a batch; None for the recipe's.

    Raises:
        MissingInput, BadInput: see `detector_of`; no image decodes.
    """
    run = run.extracting(on_broken="replace", **({} if batch is None else {"batch_images": batch}))
    detector = detector_of(run, process=process)
    inputs = made_from.detected(detector=config.to_dict(detector.settings), weights=file_digest(run.weights))
    inputs |= {"images": images.content_digest(), "extract": config.to_dict(run.recipe.extract)}
    with scratch(out.with_name(f"{out.name}.cache"), inputs, first=process.first) as cache:
        folder = cache.views(run.name, images.name)
        survey(
            images,
            folder,
            sought=Sought(boxes=True),
            made_from=inputs,
            settings=run.recipe.extract,
            process=process,
            workers=workers,
            detector=detector,
        )
        broken = read_receipt(folder)["facts"]["replaced"]
        if len(broken) == len(images):
            raise stop_message(broken, otherwise="name a folder with images that do")
        table = read_table(folder)
        rows = ((str(name), table.boxes_of(row)) for row, name in enumerate(table.ids))
        write_boxes(out, {name: boxes for name, boxes in rows if name not in broken})
    return broken
