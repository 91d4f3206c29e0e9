"""The loop of every training: epochs of steps, a line of the log for each, and a state from which a killed run goes on
to the same bytes. What is trained (a member, a detector, a pair network) is a `Trainer`.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from timm.utils import ModelEmaV3
from torch import nn
from tqdm import tqdm

from isckit import config
from isckit.engine.collapse import warning
from isckit.engine.distributed import Process, has_bf16
from isckit.engine.optimisers import factor, optimiser
from isckit.runs.artifacts import write_text
from isckit.runs.checkpoints import read_state, write_state
from isckit.runs.workspace import METRICS
from isckit.types import BadInput, StaleArtifact

log = logging.getLogger(__name__)

BatchT = TypeVar("BatchT")
Save = Callable[[dict[str, Any]], None]

STATE = "last.pt"
SAVE_SECONDS = 600.0
"""The time that a killed run loses at most."""
STAGE_SEEDS = 1_000_003
"""Between the seeds of two stages of a training."""


@dataclass
class TrainingLog:
    """The record that a training has written down: where it is, and a line for each epoch."""

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
        """Add an epoch's line, and warn of what it shows."""
        record = {"epoch": len(self.lines), **record}
        self.lines.append(json.dumps(record, sort_keys=True))
        if self.first:
            write_text(self.folder / METRICS, "\n".join(self.lines) + "\n")
            if text := warning(record):
                log.warning("%s", text)


@dataclass
class Progress:
    """The state of a stage: epochs and steps done, mean losses of finished epochs, sums and counts of the one begun."""

    epoch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    seen: int = 0
    seconds: float = 0.0


class Trainer(ABC, Generic[BatchT]):
    """One stage of a training in progress, resumable at any step.

    Args:
        name: of the stage, in the log and in errors.
        modules: what is optimised; the first is the network that the stage leaves.
        optim: the optimiser's settings.
        epochs: to do.
        schedule: epochs of the learning rate's schedule.
        seed: of everything random.
        process: this one.
        ema: decay of the weights' moving average (0: none).
        amp: whether in mixed precision, where the device has it.
    """

    unit = "images"
    """The name of what is counted for the throughput."""

    def __init__(
        self,
        name: str,
        modules: dict[str, nn.Module],
        optim: config.Optim,
        *,
        epochs: int,
        schedule: int,
        seed: int,
        process: Process,
        ema: float = 0.0,
        amp: bool = False,
    ) -> None:
        self.name, self.modules, self.optim, self.epochs, self.schedule = name, modules, optim, epochs, schedule
        self.seed, self.process, self.amp = seed, process, amp and has_bf16(process.device)
        self.progress = Progress()
        self.optimiser = optimiser(modules.values(), optim)
        self.leaves = next(iter(modules.values()))
        self.ema = ModelEmaV3(self.leaves, decay=ema) if ema else None

    @abstractmethod
    def open_epoch(self, *, counted: int, workers: int, witness: Path | None) -> tuple[int, Iterable[BatchT]]:
        """Return the steps of the epoch in progress, and the batches of those that are left.

        Args:
            counted: lines of the log so far.
            workers: image loading processes.
            witness: file in which every item that the loader yields is written down.
        """

    @abstractmethod
    def backward(self, batch: BatchT, seed: int) -> tuple[int, dict[str, float]]:
        """Set the gradients of a batch; return what all processes saw of `unit`, and "loss" and other figures."""

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """Return what the log says of the epoch in progress besides the figures, such as what was consumed."""

    def after_step(self, steps: int) -> None:
        """Do what follows the step of the optimiser; `progress` counts the step already."""

    def position(self, steps: int) -> float:
        """Return the epochs done of the learning rate's schedule, with the part of the running one."""
        return self.progress.epoch + self.progress.step / steps

    def step_seed(self) -> list[int]:
        """Return the seed of a step's draws: its own, so that a resumed run draws what an uninterrupted one does."""
        return [self.seed, self.progress.epoch, self.progress.step, self.process.rank]

    def state(self) -> dict[str, Any]:
        """Return all that a resumed stage needs to end in the same bytes."""
        state = {"progress": vars(self.progress) | {}, "optimiser": self.optimiser.state_dict()}
        state |= {name: module.state_dict() for name, module in self.modules.items()}
        return state | ({"ema": self.ema.state_dict()} if self.ema else {})

    def load(self, state: dict[str, Any]) -> None:
        """Take up an interrupted stage."""
        self.progress = Progress(**state["progress"])
        for name, module in self.modules.items():
            module.load_state_dict(state[name])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])

    def result(self) -> dict[str, torch.Tensor]:
        """Return the weights that the stage leaves, of the moving average where there is one."""
        return weights_of(self.ema.module if self.ema else self.leaves)

    def finish(self, book: TrainingLog, *, workers: int, witness: Path | None, save_seconds: float) -> None:
        """Do the epochs that are left; the state is kept after each, and every `save_seconds` within.

        Raises:
            BadInput: a loss that is not finite.
        """
        while self.progress.epoch < self.epochs:
            record = self.run_epoch(
                counted=len(book.lines), workers=workers, witness=witness, save=book.save, save_seconds=save_seconds
            )
            book.note(record)
            book.save(self.state())
            self.process.barrier()

    def run_epoch(
        self, *, counted: int, workers: int, witness: Path | None, save: Save, save_seconds: float
    ) -> dict[str, Any]:
        """Do the rest of the epoch in progress and return its record; every `save_seconds` the state is handed out."""
        steps, batches = self.open_epoch(counted=counted, workers=workers, witness=witness)
        done = self.progress
        before, began = done.seconds, time.perf_counter()
        saved = began
        title = f"train {self.name} {done.epoch + 1}/{self.epochs}"
        with tqdm(total=steps, desc=title, initial=done.step, unit="batch", disable=not self.process.first) as bar:
            # No more than these: a loader over several epochs keeps the batch that comes after the last step.
            for batch in itertools.islice(batches, steps - done.step):
                loss = self._step(batch, steps)
                now = time.perf_counter()
                done.seconds = before + now - began
                speed = f"{done.seen / max(1e-9, done.seconds):.0f}"
                bar.set_postfix({"loss": f"{loss:.4f}", f"{self.unit}/s": speed}, refresh=False)
                bar.update()
                if now - saved > save_seconds and done.step < steps:
                    save(self.state())
                    saved = time.perf_counter()
        return self._close_epoch()

    def _step(self, batch: BatchT, steps: int) -> float:
        done = self.progress
        at = self.position(steps)
        for group in self.optimiser.param_groups:
            group["lr"] = self.optim.lr * factor(self.optim, at, epochs=self.schedule, losses=done.losses)
        seed = int(np.random.SeedSequence(self.step_seed()).generate_state(1)[0])
        torch.manual_seed(seed)
        self.optimiser.zero_grad(set_to_none=True)
        seen, figures = self.backward(batch, seed)
        if self.optim.clip:
            nn.utils.clip_grad_norm_(nn.ModuleList(self.modules.values()).parameters(), self.optim.clip)
        self.optimiser.step()
        if self.ema:
            self.ema.update(self.leaves)
        done.step, done.seen = done.step + 1, done.seen + seen
        self.after_step(steps)
        for key, number in figures.items():
            done.sums[key] = done.sums.get(key, 0.0) + number
            done.counts[key] = done.counts.get(key, 0) + 1
        return figures["loss"]

    def _close_epoch(self) -> dict[str, Any]:
        done = self.progress
        # Some figures are missing from steps that have no such pair.
        means = {key: value / done.counts[key] for key, value in done.sums.items()}
        if not math.isfinite(means["loss"]):
            raise BadInput(
                seen=f"loss {means['loss']} in epoch {done.epoch + 1} of {self.name}",
                allowed="a finite loss",
                remedy="lower optim.lr there, or set its clip=1; the last good epoch is kept",
            )
        record = means | {"stage": self.name, "bf16": self.amp, "seconds": done.seconds}
        record |= {f"{self.unit}_per_second": done.seen / max(1e-9, done.seconds)}
        record |= {"lr": self.optimiser.param_groups[0]["lr"]} | self.record()
        self.progress = Progress(epoch=done.epoch + 1, losses=[*done.losses, means["loss"]])
        return record


def weights_of(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return copies of a network's parameters and buffers."""
    return {key: value.detach().clone() for key, value in network.state_dict().items()}
