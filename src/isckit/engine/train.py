"""Training of one network member, stage by stage; a run that was killed goes on and ends in the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from isckit import config
from isckit.data.training import TrainingData, stage_images
from isckit.engine.distributed import Process, deterministic
from isckit.engine.mining import class_centroids, with_mined
from isckit.engine.stage import StageTrainer
from isckit.engine.trainer import SAVE_SECONDS, STAGE_SEEDS, TrainingLog
from isckit.engine.whitening import whiten
from isckit.models.network import EmbeddingNetwork
from isckit.runs import made_from
from isckit.runs.checkpoints import read_weights, write_weights
from isckit.types import BadInput


def train(
    settings: config.Network,
    training_data: TrainingData,
    *,
    seed: int,
    folder: Path,
    process: Process,
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
        process: this one.
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
    book = TrainingLog(folder, inputs, process.first)
    state = book.open()
    weights = _weights_so_far(settings, book, seed)
    for number in range(book.stage, len(settings.stages)):
        run = _begin(
            settings,
            book,
            weights,
            training_data,
            seed=seed,
            process=process,
            workers=workers,
            anchor=anchor,
            state=state,
        )
        state = None
        run.finish(book, workers=workers, witness=witness, save_seconds=save_seconds)
        weights = run.result()
        if process.first:
            write_weights(folder / f"{settings.stages[number].name}.safetensors", weights, recipe="")
        book.stage = number + 1
        book.save(None)
        process.barrier()
    return weights


def _begin(
    settings: config.Network,
    book: TrainingLog,
    weights: dict[str, torch.Tensor],
    training_data: TrainingData,
    *,
    seed: int,
    process: Process,
    workers: int,
    anchor: nn.Module | None,
    state: dict[str, Any] | None,
) -> StageTrainer:
    """Return the book's stage at its beginning, or where its state says."""
    number = book.stage
    stage, stage_seed = settings.stages[number], seed + STAGE_SEEDS * number
    deterministic(stage_seed)
    network = EmbeddingNetwork(settings)
    network.load_state_dict(weights)
    network.to(process.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = stage_images(training_data, stage.data)
    if stage.data.negatives == "mined":
        images = with_mined(
            network, settings, number, images, folder=book.folder, seed=stage_seed, process=process, workers=workers
        )
    if number == 0 and state is None and settings.head.whitened:
        whiten(network, stage, images, seed=stage_seed, process=process, workers=workers)
    run = StageTrainer(stage, network, images, seed=stage_seed, process=process, anchor=anchor)
    if state is not None:
        run.load(state)
    elif isinstance(stage.loss, config.ArcFace) and stage.loss.start == "centroids":
        centroids = class_centroids(network, stage, images, seed=stage_seed, process=process, workers=workers)
        run.objective.start_from(centroids)  # type: ignore[operator]
    return run


def _weights_so_far(settings: config.Network, book: TrainingLog, seed: int) -> dict[str, torch.Tensor]:
    """Return the weights that the stage in progress begins with."""
    if book.stage:
        return read_weights(book.folder / f"{settings.stages[book.stage - 1].name}.safetensors")
    deterministic(seed)
    return EmbeddingNetwork(settings).state_dict()
