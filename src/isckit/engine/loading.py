"""The loader of one epoch of a stage, and the account of what it draws."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isckit import config
from isckit.augment.batched import find_batched
from isckit.augment.pipelines import find, view_rng
from isckit.data.image_sets import ImageSet
from isckit.data.items import StageItems, together
from isckit.data.loaders import Loader
from isckit.data.training import StageImages, Witness
from isckit.engine.distributed import Process
from isckit.runs.artifacts import ids_digest
from isckit.types import Role

_ROWS, _NEGATIVES = 77, 78
"""Keep the draws of anchors and of negatives apart."""


@dataclass(frozen=True)
class Epoch:
    """The draws of one epoch of a stage.

    Attributes:
        stage: of the recipe.
        images: its images.
        seed: of the stage.
        number: of the epoch within the stage.
        rows: anchors, in whole global batches.
        negatives: (len(rows), n) rows of the pool's image set.
    """

    stage: config.Stage
    images: StageImages
    seed: int
    number: int
    rows: np.ndarray
    negatives: np.ndarray

    @property
    def steps(self) -> int:
        """Batches of the epoch."""
        return len(self.rows) // min(self.stage.batch_images, len(self.rows))


def draw_epoch(stage: config.Stage, images: StageImages, *, seed: int, number: int) -> Epoch:
    """Return the anchors and negatives of an epoch; a function of the seed and the number."""
    count = stage.images_per_epoch or max(len(images.anchors), stage.batch_images)
    rows = epoch_rows(count, images=len(images.anchors), seed=seed, epoch=number)
    rows = rows[: max(1, len(rows) // stage.batch_images) * stage.batch_images]
    return Epoch(stage, images, seed, number, rows, images.draw_negatives(rows, key=(seed, _NEGATIVES, number)))


def epoch_rows(count: int, *, images: int, seed: int, epoch: int) -> np.ndarray:
    """Return rows of the anchors drawn in an epoch: the next `count` of an endless series of permutations."""
    first, last = epoch * count, (epoch + 1) * count
    rounds = range(first // images, (last - 1) // images + 1)
    series = np.concatenate([np.random.default_rng([seed, _ROWS, r]).permutation(images) for r in rounds])
    return series[first - rounds.start * images : last - rounds.start * images]


def loader(
    epoch: Epoch,
    *,
    size: int,
    process: Process,
    workers: int,
    skip: int = 0,
    plain: bool = False,
    witness: Path | None = None,
    counted: int = 0,
) -> Loader:
    """Return batches of this process, from step `skip` on.

    Every process takes its part of each global batch, so the global batch does not depend on their number.

    Args:
        epoch: what is drawn.
        size: side of the views.
        process: this one.
        workers: loading processes.
        skip: batches done before an interruption.
        plain: whether anchors are wanted as they are, too.
        witness: file in which every item is written down; `counted` is the epoch's number there.
    """
    stage = epoch.stage
    local = process.share(stage.batch_images, "stages.NAME.batch_images")
    positions = np.arange(len(epoch.rows)).reshape(-1, process.world, min(local, len(epoch.rows)))
    items = StageItems(
        epoch.images,
        rows=epoch.rows,
        negatives=epoch.negatives,
        views=[find(name) for name in stage.views],
        size=size,
        rng=functools.partial(view_rng, epoch.seed, epoch.number),
        raw=find("eval"),
        draw=find_batched(stage.on_device).draw if stage.on_device else None,
        plain=plain,
        witness=Witness(witness, counted) if witness else None,
    )
    return Loader(
        items,
        batch_size=local,
        sampler=positions[skip:, process.rank].ravel().tolist(),
        workers=workers,
        device=process.device,
        collate_fn=together,
    )


def consumed(epoch: Epoch) -> dict[str, Any]:
    """Return images drawn in an epoch, by role, for the referee; overlay partners come from the train images too."""
    images, training_data = epoch.images, epoch.images.training_data
    drawn: dict[Role, list[np.ndarray]] = {}
    sets: dict[Role, ImageSet] = {}

    def add(image_set: ImageSet, rows: np.ndarray) -> None:
        if rows.size:
            sets[image_set.role] = image_set
            drawn.setdefault(image_set.role, []).append(rows.ravel())

    anchors = images.anchors[epoch.rows]
    if images.paired:
        assert training_data.queries is not None and training_data.references is not None
        add(training_data.queries, anchors[:, 0])
        add(training_data.references, anchors[:, 1])
    else:
        add(training_data.train, anchors)
    add(images.pool_set, epoch.negatives)
    return {
        role.value: _account(sets[role].ids, np.concatenate(rows), listed=not role.may_be_fitted_on)
        for role, rows in drawn.items()
    }


def _account(ids: np.ndarray, rows: np.ndarray, *, listed: bool) -> dict[str, Any]:
    """Images that may not be edited are listed one by one, so that hidden ones among them can be found (rule 5.2)."""
    names = ids[np.unique(rows)]
    account = {"augmented": not listed, "draws": len(rows), "images": len(names), "ids": ids_digest(names)}
    return account | ({"listed": names.tolist()} if listed else {})
