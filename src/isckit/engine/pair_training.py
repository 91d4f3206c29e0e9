"""Training of a pair network, stage by stage; a run that was killed goes on and ends in the same bytes."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isckit import config
from isckit.augment.pipelines import find, view_rng
from isckit.data.image_sets import ImageSet
from isckit.data.items import Group, GroupItems, LookAlikes, groups_of
from isckit.data.loaders import Loader
from isckit.data.training import TrainingData, Witness
from isckit.engine.distributed import Process, deterministic
from isckit.engine.look_alikes import tensors_digest
from isckit.engine.pair_steps import backward_group, group_statistics
from isckit.engine.trainer import SAVE_SECONDS, STAGE_SEEDS, Trainer, TrainingLog, weights_of
from isckit.models.pair import PairClassifier, begin_with
from isckit.runs import made_from
from isckit.runs.artifacts import ids_digest
from isckit.runs.checkpoints import write_weights


def train_pairs(
    settings: config.PairNetwork,
    training_data: TrainingData,
    *,
    neighbours: LookAlikes,
    seed: int,
    folder: Path,
    process: Process,
    workers: int,
    witness: Path | None = None,
    start: Mapping[str, torch.Tensor] | None = None,
    save_seconds: float = SAVE_SECONDS,
) -> dict[str, torch.Tensor]:
    """Train a pair network through its stages and return its weights; those of each stage are left in `folder` too.

    A stage goes on from the weights and from the optimiser's state of the one before.

    Args:
        settings: of the network.
        training_data: the train images.
        neighbours: what looks like each of them (see `look_alikes`).
        seed: of everything random.
        folder: of the resumable state, of metrics.jsonl and of the weights of each stage.
        process: this one.
        workers: image loading processes.
        witness: file in which every item that the loader yields is written down.
        start: weights of the member that `weights_of` names, keyed as its own state; None where it names none.
        save_seconds: time between two states within an epoch.

    Raises:
        RuleViolation: the train images are queries or references.
        StaleArtifact: `folder` holds the state of another recipe or of other images.
        BadInput: lists that are too short, a loss that is not finite.
    """
    assert (start is not None) == bool(settings.weights_of), "weights_of names the member whose weights `start` holds"
    inputs = made_from.training(settings=config.to_dict(settings), seed=seed, images=training_data.digest())
    inputs |= {"neighbours": neighbours.digest(), "start": tensors_digest(start or {})}
    book = TrainingLog(folder, inputs, process.first)
    state = book.open()
    deterministic(seed)
    network = PairClassifier(settings)
    if start is not None:
        begin_with(network, start)
    network.to(process.device)
    moments = None
    for number in range(book.stage, len(settings.stages)):
        book.stage = number
        run = PairTrainer(network, number, training_data.train, neighbours, seed=seed, process=process, moments=moments)
        if state is not None:
            run.load(state)
            state = None
        run.finish(book, workers=workers, witness=witness, save_seconds=save_seconds)
        if process.first:
            write_weights(folder / f"{run.name}.safetensors", network.state_dict(), recipe="")
        moments = run.optimiser
    return weights_of(network)


class PairTrainer(Trainer[Group]):
    """A stage of a pair network in progress; an epoch is the groups of a line of the log.

    Args:
        number: of the stage.
        moments: the optimiser of the stage before; one of its kind goes on from its state.
    """

    unit = "pairs"

    def __init__(
        self,
        network: PairClassifier,
        number: int,
        train: ImageSet,
        neighbours: LookAlikes,
        *,
        seed: int,
        process: Process,
        moments: torch.optim.Optimizer | None,
    ) -> None:
        self.stage, self.network, self.train, self.neighbours = (
            network.settings.stages[number],
            network,
            train,
            neighbours,
        )
        self.groups = groups_of(self.stage, train, neighbours)
        self.batches: Iterator[Group] | None = None
        super().__init__(
            self.stage.name,
            {"network": network},
            self.stage.optim,
            epochs=self.stage.epochs,
            schedule=self.stage.epochs,
            seed=seed + STAGE_SEEDS * number,
            process=process,
            amp=self.stage.amp,
        )
        if type(moments) is type(self.optimiser):
            state = {
                "state": moments.state_dict()["state"],
                "param_groups": self.optimiser.state_dict()["param_groups"],
            }
            self.optimiser.load_state_dict(state)

    @property
    def _first(self) -> int:
        return self.progress.epoch * self.stage.log_groups

    def _groups(self) -> np.ndarray:
        """Groups of the epoch in progress, the last of which may be shorter."""
        return self.groups[self._first : self._first + self.stage.log_groups]

    def position(self, steps: int) -> float:
        """Return epochs done, of `log_groups` groups each, whatever the last one has."""
        return (self._first + self.progress.step) / self.stage.log_groups

    def step_seed(self) -> list[int]:
        """Return the seed of a step's draws; the same in all processes, which share each group."""
        return [self.seed, self._first + self.progress.step]

    def open_epoch(self, *, counted: int, workers: int, witness: Path | None) -> tuple[int, Iterable[Group]]:
        """Return the groups of the epoch in progress, and those that are left, of a loader that goes on over epochs."""
        if self.batches is None:
            self.batches = self._loader(counted - self.progress.epoch, workers, witness)
        self.network.train()
        return len(self._groups()), self.batches

    def _loader(self, counted: int, workers: int, witness: Path | None) -> Iterator[Group]:
        items = GroupItems(
            self.train,
            self.groups,
            stage=self.stage,
            plain=find(self.stage.plain),
            view=find(self.stage.view),
            size=self.network.settings.image_size,
            rng=functools.partial(view_rng, self.seed, 0),
            vectors=self.neighbours.vectors,
            witness=functools.partial(_witness, witness, counted, self.stage.log_groups) if witness else None,
        )
        loader = Loader(
            items,
            batch_size=None,
            sampler=range(self._first + self.progress.step, len(self.groups)),
            workers=workers,
            device=self.process.device,
        )
        return iter(loader)

    def backward(self, batch: Group, seed: int) -> tuple[int, dict[str, float]]:
        """Set the gradients of a group; return its pairs, the loss and how well the group is told apart."""
        references, queries, counted = (part.to(self.process.device, non_blocking=True) for part in batch)
        micro = self.stage.micro_batch
        loss, logits = backward_group(
            self.network, references, queries, counted, process=self.process, micro_batch=micro, amp=self.amp
        )
        return self.stage.group**2, {"loss": float(loss)} | group_statistics(logits, counted)

    def record(self) -> dict[str, Any]:
        """Return the groups of the epoch in progress, and what they consumed."""
        groups = self._groups()
        names = self.train.ids[np.unique(groups)]
        consumed = {"augmented": True, "draws": groups.size, "images": len(names), "ids": ids_digest(names)}
        return {"groups": len(groups), "consumed": {self.train.role.value: consumed}}


def _witness(path: Path, counted: int, log_groups: int, position: int) -> Witness:
    """Return the witness of an item: its pass is the line of the log that it goes into."""
    return Witness(path, counted + position // log_groups)
