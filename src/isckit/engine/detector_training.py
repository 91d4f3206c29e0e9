"""Training of a recipe's overlay detector; a run that was killed goes on and ends in the same bytes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from isckit import config
from isckit.data.training import StageImages, TrainingData, stage_images
from isckit.engine.distributed import Place, deterministic, has_bf16
from isckit.engine.loading import Epoch, consumed, draw_epoch
from isckit.engine.optimisers import factor, optimiser
from isckit.engine.pasting import LabelledBoxes, paste_loader
from isckit.engine.stage import Progress
from isckit.engine.train import SAVE_SECONDS, Book
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
    place: Place,
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
        place: of this process.
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
    listing = training_data.train.listing_digest()
    inputs = made_from.training(settings=config.to_dict(settings), seed=seed, images=listing)
    book = Book(folder, inputs, place.first)
    state = book.open()
    if book.stage:
        return read_weights(folder / f"{STAGE}.safetensors")
    run = DetectorRun(settings, images, seed=seed, place=place)
    if state is not None:
        run.load(state)
    while run.progress.epoch < settings.epochs:
        book.note(
            run.run_epoch(
                counted=len(book.lines), workers=workers, witness=witness, save=book.save, save_seconds=save_seconds
            )
        )
        book.save(run.state())
        place.barrier()
    if place.first:
        write_weights(folder / f"{STAGE}.safetensors", run.result(), recipe="")
    book.stage = 1
    book.save(None)
    place.barrier()
    return run.result()


class DetectorRun:
    """A detector's training in progress, resumable at any step."""

    def __init__(self, settings: config.Detector, images: StageImages, *, seed: int, place: Place) -> None:
        deterministic(seed)
        self.settings, self.images, self.seed, self.place = settings, images, seed, place
        self.progress = Progress()
        self.detector = OverlayDetector(settings).to(place.device)
        if place.world > 1:
            synchronised(self.detector)
        self.optimiser = optimiser([self.detector], settings.optim)
        self.ema = ModelEmaV3(self.detector, decay=settings.ema) if settings.ema else None
        self.amp = settings.amp and has_bf16(place.device)
        self.wrapped: nn.Module = self.detector
        if place.world > 1:
            self.wrapped = DistributedDataParallel(self.detector, broadcast_buffers=False, find_unused_parameters=True)

    def state(self) -> dict[str, Any]:
        """Return all that a resumed training needs to end in the same bytes."""
        state = {"progress": vars(self.progress) | {}, "detector": self.detector.state_dict()}
        state |= {"optimiser": self.optimiser.state_dict()}
        return state | ({"ema": self.ema.state_dict()} if self.ema else {})

    def load(self, state: dict[str, Any]) -> None:
        """Take up an interrupted training."""
        self.progress = Progress(**state["progress"])
        self.detector.load_state_dict(state["detector"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])

    def result(self) -> dict[str, torch.Tensor]:
        """Return the weights, of the moving average where there is one."""
        detector = self.ema.module if self.ema else self.detector
        return {key: value.detach().clone() for key, value in detector.state_dict().items()}

    def run_epoch(
        self,
        *,
        counted: int,
        workers: int,
        witness: Path | None,
        save: Callable[[dict[str, Any]], None],
        save_seconds: float,
    ) -> dict[str, Any]:
        """Do the rest of the epoch in progress and return its record; every `save_seconds` the state is handed out."""
        epoch = self._draw()
        batches = paste_loader(
            epoch,
            self.settings,
            place=self.place,
            workers=workers,
            skip=self.progress.step,
            witness=witness,
            counted=counted,
        )
        before, started = self.progress.seconds, time.perf_counter()
        saved = started
        title = f"train {self.settings.name} {self.progress.epoch + 1}/{self.settings.epochs}"
        bar = tqdm(batches, title, epoch.steps, initial=self.progress.step, unit="batch", disable=not self.place.first)
        self.wrapped.train()
        for batch in bar:
            loss = self._step(batch, epoch)
            now = time.perf_counter()
            self.progress.seconds = before + now - started
            speed = self.progress.seen / max(1e-9, self.progress.seconds)
            bar.set_postfix({"loss": f"{loss:.3f}", "img/s": f"{speed:.0f}"})
            if now - saved > save_seconds and self.progress.step < epoch.steps:
                save(self.state())
                saved = time.perf_counter()
        return self._finish(epoch)

    def _draw(self) -> Epoch:
        """Return the backgrounds of the epoch in progress, drawn as a stage on train images draws its anchors."""
        settings = self.settings
        stage = config.Stage(images_per_epoch=settings.images_per_epoch, batch_images=settings.batch_images)
        return draw_epoch(stage, self.images, seed=self.seed, number=self.progress.epoch)

    def _step(self, batch: LabelledBoxes, epoch: Epoch) -> float:
        done, optim = self.progress, self.settings.optim
        at = done.epoch + done.step / epoch.steps
        for group in self.optimiser.param_groups:
            group["lr"] = optim.lr * factor(optim, at, epochs=self.settings.epochs, losses=done.losses)
        # Every step has its own seed, so that a resumed run draws what an uninterrupted one does.
        seed = np.random.SeedSequence([self.seed, done.epoch, done.step, self.place.rank]).generate_state(1)[0]
        torch.manual_seed(int(seed))
        batch = batch.to(self.place.device)
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.place.device.type, torch.bfloat16, enabled=self.amp):
            parts = self.wrapped(*batch)
        loss = torch.stack([part.float() for part in parts.values()]).sum()
        loss.backward()
        if optim.clip:
            nn.utils.clip_grad_norm_(self.detector.parameters(), optim.clip)
        self.optimiser.step()
        if self.ema:
            self.ema.update(self.detector)
        done.step += 1
        done.seen += len(batch.pixels) * self.place.world
        for key, value in {"loss": loss, **parts}.items():
            done.sums[key] = done.sums.get(key, 0.0) + float(value.detach())
            done.counts[key] = done.counts.get(key, 0) + 1
        return float(loss.detach())

    def _finish(self, epoch: Epoch) -> dict[str, Any]:
        done = self.progress
        means = {key: value / done.counts[key] for key, value in done.sums.items()}
        if not math.isfinite(means["loss"]):
            raise BadInput(
                seen=f"loss {means['loss']} in epoch {done.epoch + 1} of the detector",
                allowed="a finite loss",
                remedy="lower detector.optim.lr, or its clip; the last good epoch is kept",
            )
        record = means | {"stage": STAGE, "bf16": self.amp, "seconds": done.seconds}
        record |= {"images_per_second": done.seen / done.seconds, "lr": self.optimiser.param_groups[0]["lr"]}
        self.progress = Progress(epoch=done.epoch + 1, losses=[*done.losses, means["loss"]])
        return record | {"consumed": consumed(epoch)}
