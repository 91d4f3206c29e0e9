"""Training of a recipe's overlay detector; a run that was killed goes on and ends in the same bytes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from isckit import config
from isckit.data.training import StageImages, TrainingData, stage_images
from isckit.engine.distributed import Process, averaged, deterministic
from isckit.engine.loading import consumed, draw_epoch
from isckit.engine.pasting import LabelledBoxes, paste_loader
from isckit.engine.trainer import SAVE_SECONDS, Trainer, TrainingLog
from isckit.models.batch_norm import synchronised
from isckit.models.detector import OverlayDetector
from isckit.runs import made_from
from isckit.runs.checkpoints import read_weights, write_weights
from isckit.types import BadInput

STAGE = "main"
"""A detector is trained in one stage."""


def train_detector(
    settings: config.Detector,
    training_data: TrainingData,
    *,
    seed: int,
    folder: Path,
    process: Process,
    workers: int,
    witness: Path | None = None,
    save_seconds: float = SAVE_SECONDS,
) -> dict[str, torch.Tensor]:
    """Train the detector on pastes of train images and return its weights; they are left in `folder` too.

    Args:
        settings: of the detector.
        training_data: of which the train images are used.
        seed: of everything random.
        folder: of the resumable state, of metrics.jsonl and of the weights.
        process: this one.
        workers: image loading processes.
        witness: file in which every item that the loader yields is written down.
        save_seconds: time between two states within an epoch.

    Raises:
        RuleViolation: the train images are queries or references.
        StaleArtifact: `folder` holds the state of another detector, or of other images.
        BadInput: fewer than two train images; a loss that is not finite.
    """
    images = stage_images(training_data, config.Data())
    if len(training_data.train) < 2:
        raise BadInput(
            seen=f"{len(training_data.train)} train images", allowed="at least two", remedy="train on more images"
        )
    listing = training_data.train.content_digest()
    inputs = made_from.training(settings=config.to_dict(settings), seed=seed, images=listing)
    book = TrainingLog(folder, inputs, process.first)
    state = book.open()
    if book.stage:
        return read_weights(folder / f"{STAGE}.safetensors")
    run = DetectorTrainer(settings, images, seed=seed, process=process)
    if state is not None:
        run.load(state)
    run.finish(book, workers=workers, witness=witness, save_seconds=save_seconds)
    if process.first:
        write_weights(folder / f"{STAGE}.safetensors", run.result(), recipe="")
    book.stage = 1
    book.save(None)
    process.barrier()
    return run.result()


class DetectorTrainer(Trainer[LabelledBoxes]):
    """A detector's training in progress."""

    def __init__(self, settings: config.Detector, images: StageImages, *, seed: int, process: Process) -> None:
        deterministic(seed)
        self.settings, self.images = settings, images
        self.detector = OverlayDetector(settings).to(process.device)
        if process.world > 1:
            synchronised(self.detector)
        super().__init__(
            STAGE,
            {"detector": self.detector},
            settings.optim,
            epochs=settings.epochs,
            schedule=settings.epochs,
            seed=seed,
            process=process,
            ema=settings.ema,
            amp=settings.amp,
        )
        self.wrapped = averaged(self.detector, process)

    def open_epoch(self, *, counted: int, workers: int, witness: Path | None) -> tuple[int, Iterable[LabelledBoxes]]:
        """Return the steps of the epoch in progress, and the batches of those that are left.

        Backgrounds are drawn as a stage on train images draws its anchors.
        """
        settings = self.settings
        stage = config.Stage(images_per_epoch=settings.images_per_epoch, batch_images=settings.batch_images)
        self.epoch = draw_epoch(stage, self.images, seed=self.seed, number=self.progress.epoch)
        self.wrapped.train()
        skip = self.progress.step
        return self.epoch.steps, paste_loader(
            self.epoch, settings, process=self.process, workers=workers, skip=skip, witness=witness, counted=counted
        )

    def backward(self, batch: LabelledBoxes, seed: int) -> tuple[int, dict[str, float]]:
        """Set the gradients of a batch; return images seen in all processes, and the loss with its parts."""
        batch = batch.to(self.process.device)
        with torch.autocast(self.process.device.type, torch.bfloat16, enabled=self.amp):
            parts = self.wrapped(*batch)
        loss = torch.stack([part.float() for part in parts.values()]).sum()
        loss.backward()
        figures = {key: float(value.detach()) for key, value in {"loss": loss, **parts}.items()}
        return len(batch.pixels) * self.process.world, figures

    def record(self) -> dict[str, Any]:
        """Return what the epoch in progress consumed."""
        return {"consumed": consumed(self.epoch)}
