"""Training of one network member, stage by stage; a run that was killed goes on and ends in the same bytes."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from isckit import config
from isckit.data.training import TrainingData, stage_images
from isckit.engine.collapse import warning
from isckit.engine.distributed import Place, deterministic
from isckit.engine.mining import class_centroids, with_mined
from isckit.engine.stage import StageRun
from isckit.engine.whitening import whiten
from isckit.models.network import EmbeddingNetwork
from isckit.runs import made_from
from isckit.runs.artifacts import write_text
from isckit.runs.checkpoints import read_state, read_weights, write_state, write_weights
from isckit.runs.workspace import METRICS
from isckit.types import BadInput, StaleArtifact

log = logging.getLogger(__name__)

STATE = "last.pt"
SAVE_SECONDS = 600.0
"""What a killed run loses at most."""
STAGE_SEEDS = 1_000_003


@dataclass
class Book:
    """What a training has written down: where it is, and a line for each epoch."""

    folder: Path
    made_from: dict[str, Any]
    first: bool
    stage: int = 0
    lines: list[str] = field(default_factory=list)

    def open(self) -> dict[str, Any] | None:
        """Take up the state in the folder, if there is one, and return that of the stage in progress.

        Raises:
            StaleArtifact: it is the state of another training.
        """
        path = self.folder / STATE
        if not path.is_file():
            return None
        state = read_state(path)
        changed = [key for key, value in self.made_from.items() if state["made_from"].get(key) != value]
        if changed:
            raise StaleArtifact(
                seen=f"{path} is the state of a training with other {', '.join(changed)}",
                allowed="the state of the same recipe on the same images",
                remedy=f"choose another --name, or remove {self.folder}",
            )
        self.stage, self.lines = state["stage"], state["lines"]
        return state["run"]

    def save(self, run: dict[str, Any] | None) -> None:
        """Write the state; `run` is that of the stage in progress, None between stages."""
        if self.first:
            state = {"made_from": self.made_from, "stage": self.stage, "lines": self.lines, "run": run}
            write_state(self.folder / STATE, state)

    def note(self, record: dict[str, Any]) -> None:
        """Add an epoch's line to the log."""
        record = {"epoch": len(self.lines), **record}
        self.lines.append(json.dumps(record, sort_keys=True))
        if self.first:
            write_text(self.folder / METRICS, "\n".join(self.lines) + "\n")
            told = warning(record)
            if told:
                log.warning("%s", told)


def train(
    settings: config.Network,
    training_data: TrainingData,
    *,
    seed: int,
    folder: Path,
    place: Place,
    workers: int,
    witness: Path | None = None,
    anchor: nn.Module | None = None,
    save_seconds: float = SAVE_SECONDS,
) -> dict[str, torch.Tensor]:
    """Train a network through its stages and return its weights; those of each stage are left in `folder` too.

    Args:
        settings: with at least one stage.
        training_data: what the stages need.
        seed: of everything random.
        folder: of the resumable state, of metrics.jsonl and of the weights of each stage.
        place: of this process.
        workers: image loading processes.
        witness: file in which every item that the loader yields is written down.
        anchor: the network whose features are targets, where a stage has such a loss.
        save_seconds: time between two states within an epoch.

    Raises:
        RuleViolation: the train images are queries or references.
        StaleArtifact: `folder` holds the state of another recipe or of other images.
    """
    if len(training_data.train) < 2:
        seen = f"{len(training_data.train)} train images"
        raise BadInput(seen=seen, allowed="at least two", remedy="train on more images")
    inputs = made_from.training(settings=config.to_dict(settings), seed=seed, images=training_data.digest())
    book = Book(folder, inputs, place.first)
    state = book.open()
    weights = _weights_so_far(settings, book, seed)
    for number in range(book.stage, len(settings.stages)):
        run = _begin(
            settings, book, weights, training_data, seed=seed, place=place, workers=workers, anchor=anchor, state=state
        )
        state = None
        while run.progress.epoch < run.epochs:
            counted = len(book.lines)
            book.note(
                run.run_epoch(
                    counted=counted, workers=workers, witness=witness, save=book.save, save_seconds=save_seconds
                )
            )
            book.save(run.state())
            place.barrier()
        weights = run.result()
        if place.first:
            write_weights(folder / f"{settings.stages[number].name}.safetensors", weights, recipe="")
        book.stage = number + 1
        book.save(None)
        place.barrier()
    return weights


def _begin(
    settings: config.Network,
    book: Book,
    weights: dict[str, torch.Tensor],
    training_data: TrainingData,
    *,
    seed: int,
    place: Place,
    workers: int,
    anchor: nn.Module | None,
    state: dict[str, Any] | None,
) -> StageRun:
    """Return the book's stage at its beginning, or where its state says."""
    number = book.stage
    stage, stage_seed = settings.stages[number], seed + STAGE_SEEDS * number
    deterministic(stage_seed)
    network = EmbeddingNetwork(settings)
    network.load_state_dict(weights)
    network.to(place.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = stage_images(training_data, stage.data)
    if stage.data.negatives == "mined":
        images = with_mined(
            network, settings, number, images, folder=book.folder, seed=stage_seed, place=place, workers=workers
        )
    if number == 0 and state is None and settings.head.whitened:
        whiten(network, stage, images, seed=stage_seed, place=place, workers=workers)
    run = StageRun(stage, network, images, seed=stage_seed, place=place, anchor=anchor)
    if state is not None:
        run.load(state)
    elif isinstance(stage.loss, config.ArcFace) and stage.loss.start == "centroids":
        centroids = class_centroids(network, stage, images, seed=stage_seed, place=place, workers=workers)
        run.objective.start_from(centroids)  # type: ignore[operator]
    return run


def _weights_so_far(settings: config.Network, book: Book, seed: int) -> dict[str, torch.Tensor]:
    """Return the weights that the stage in progress begins with."""
    if book.stage:
        return read_weights(book.folder / f"{settings.stages[book.stage - 1].name}.safetensors")
    deterministic(seed)
    return EmbeddingNetwork(settings).state_dict()
