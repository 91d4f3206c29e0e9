"""Training of a pair network, stage by stage; a run that was killed goes on and ends in the same bytes."""

from __future__ import annotations

import functools
import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from isckit import config
from isckit.augment.pipelines import find, view_rng
from isckit.data.datasets import worker_init
from isckit.data.image_sets import ImageSet
from isckit.data.items import Group, GroupItems, LookAlikes, groups_of
from isckit.data.training import TrainingData, Witness
from isckit.engine.distributed import Place, deterministic, has_bf16
from isckit.engine.look_alikes import tensors_digest
from isckit.engine.optimisers import factor, optimiser
from isckit.engine.pair_steps import backward_group, group_statistics
from isckit.engine.train import SAVE_SECONDS, STAGE_SEEDS, Book
from isckit.models.pair import PairClassifier, begin_with
from isckit.runs import made_from
from isckit.runs.artifacts import ids_digest
from isckit.runs.checkpoints import write_weights
from isckit.types import BadInput

log = logging.getLogger(__name__)

NOTHING_LEARNT = 0.55
"""Below this chance that a copy scores higher than a look-alike, an epoch has taught nothing."""


@dataclass
class PairProgress:
    """Groups done of the stage in progress, losses of its finished epochs, sums and seconds of the one begun."""

    group: int = 0
    losses: list[float] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def train_pairs(
    settings: config.PairNetwork,
    training_data: TrainingData,
    *,
    neighbours: LookAlikes,
    seed: int,
    folder: Path,
    place: Place,
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
        place: of this process.
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
    book = Book(folder, inputs, place.first)
    state = book.open()
    deterministic(seed)
    network = PairClassifier(settings)
    if start is not None:
        begin_with(network, start)
    run = _Run(
        network.to(place.device), book, training_data.train, neighbours, seed, place, workers, witness, save_seconds
    )
    if state is not None:
        run.load(state)
    for number in range(book.stage, len(settings.stages)):
        run.do_stage(number)
    return {key: value.detach().clone() for key, value in network.state_dict().items()}


@dataclass
class _Run:
    """A training in progress."""

    network: PairClassifier
    book: Book
    train: ImageSet
    neighbours: LookAlikes
    seed: int
    place: Place
    workers: int
    witness: Path | None
    save_seconds: float

    def __post_init__(self) -> None:
        self.progress = PairProgress()
        self.optimiser: torch.optim.Optimizer | None = None
        self.carried: dict[str, Any] = {"name": "", "state": {}}

    def state(self) -> dict[str, Any]:
        """Return all that a resumed training needs to end in the same bytes."""
        return {
            "progress": dict(vars(self.progress)),
            "network": self.network.state_dict(),
            "carried": self.carried | {"state": self.optimiser.state_dict()["state"] if self.optimiser else {}},
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take up an interrupted training."""
        self.progress = PairProgress(**state["progress"])
        self.network.load_state_dict(state["network"])
        self.carried = state["carried"]

    def _optimiser(self, optim: config.Optim) -> torch.optim.Optimizer:
        """Return the optimiser of a stage, with the moments that one of its kind has left."""
        new = optimiser([self.network], optim)
        if self.carried["name"] == optim.name:
            new.load_state_dict({"state": self.carried["state"], "param_groups": new.state_dict()["param_groups"]})
        self.carried = {"name": optim.name, "state": {}}
        return new

    def do_stage(self, number: int) -> None:
        """Do what is left of a stage."""
        stage, seed = self.network.settings.stages[number], self.seed + STAGE_SEEDS * number
        groups = groups_of(stage, self.train, self.neighbours)
        counted = len(self.book.lines) - self.progress.group // stage.log_groups
        batches = self._loader(stage, groups, seed=seed, counted=counted)
        self.optimiser = self._optimiser(stage.optim)
        self.network.train()
        while self.progress.group < stage.groups:
            self._do_epoch(stage, groups, batches, seed=seed)
        if self.place.first:
            write_weights(self.book.folder / f"{stage.name}.safetensors", self.network.state_dict(), recipe="")
        self.book.stage, self.progress = number + 1, PairProgress()
        state = self.state()
        self.carried, self.optimiser = state["carried"], None
        self.book.save(state)
        self.place.barrier()

    def _loader(self, stage: config.PairStage, groups: np.ndarray, *, seed: int, counted: int) -> Iterator[Group]:
        items = GroupItems(
            self.train,
            groups,
            stage=stage,
            plain=find(stage.plain),
            view=find(stage.view),
            size=self.network.settings.image_size,
            rng=functools.partial(view_rng, seed, 0),
            vectors=self.neighbours.vectors,
            witness=functools.partial(_witness, self.witness, counted, stage.log_groups) if self.witness else None,
        )
        return iter(
            DataLoader(
                items,
                batch_size=None,
                sampler=range(self.progress.group, len(groups)),
                num_workers=self.workers,
                worker_init_fn=worker_init,
                pin_memory=self.place.device.type == "cuda",
            )
        )

    def _do_epoch(self, stage: config.PairStage, groups: np.ndarray, batches: Iterator[Group], *, seed: int) -> None:
        """Do the groups up to the next line of the log, and write it."""
        done = self.progress
        epoch = done.group // stage.log_groups
        last = min((epoch + 1) * stage.log_groups, stage.groups)
        first = epoch * stage.log_groups
        amp = stage.amp and has_bf16(self.place.device)
        before, began = done.seconds, time.perf_counter()
        saved = began
        title = f"pairs {stage.name} {epoch + 1}/{stage.epochs}"
        with tqdm(
            total=last - first, desc=title, initial=done.group - first, unit="group", disable=not self.place.first
        ) as bar:
            while done.group < last:
                loss = self._step(next(batches), stage, seed=seed, amp=amp)
                now = time.perf_counter()
                done.seconds = before + now - began
                speed = (done.group - first) * stage.group**2 / max(1e-9, done.seconds)
                bar.set_postfix({"loss": f"{loss:.4f}", "pairs/s": f"{speed:.0f}"}, refresh=False)
                bar.update()
                if now - saved > self.save_seconds and done.group < last:
                    self.book.save(self.state())
                    saved = time.perf_counter()
        self._note(stage, groups[first:last], amp=amp)

    def _step(self, group: Group, stage: config.PairStage, *, seed: int, amp: bool) -> float:
        done = self.progress
        assert self.optimiser is not None
        rate = factor(stage.optim, done.group / stage.log_groups, epochs=stage.epochs, losses=done.losses)
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = stage.optim.lr * rate
        # Every step has its own seed, so that a resumed run draws what an uninterrupted one does.
        torch.manual_seed(int(np.random.SeedSequence([seed, done.group]).generate_state(1)[0]))
        self.optimiser.zero_grad(set_to_none=True)
        references, queries, counted = (part.to(self.place.device, non_blocking=True) for part in group)
        loss, logits = backward_group(
            self.network, references, queries, counted, place=self.place, micro_batch=stage.micro_batch, amp=amp
        )
        if stage.optim.clip:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), stage.optim.clip)
        self.optimiser.step()
        done.group += 1
        for key, number in ({"loss": float(loss)} | group_statistics(logits, counted)).items():
            done.sums[key] = done.sums.get(key, 0.0) + number
            done.counts[key] = done.counts.get(key, 0) + 1
        return float(loss)

    def _note(self, stage: config.PairStage, groups: np.ndarray, *, amp: bool) -> None:
        done = self.progress
        assert self.optimiser is not None
        means = {key: value / done.counts[key] for key, value in done.sums.items()}
        if not math.isfinite(means["loss"]):
            raise BadInput(
                seen=f"loss {means['loss']} in stage {stage.name}, before group {done.group}",
                allowed="a finite loss",
                remedy=f"lower stages.{stage.name}.optim.lr, or set its clip=1; the last good state is kept",
            )
        names = self.train.ids[np.unique(groups)]
        consumed = {"augmented": True, "draws": groups.size, "images": len(names), "ids": ids_digest(names)}
        record = means | {"stage": stage.name, "bf16": amp, "seconds": done.seconds, "groups": len(groups)}
        record |= {"pairs_per_second": groups.size * stage.group / max(1e-9, done.seconds)}
        record |= {"lr": self.optimiser.param_groups[0]["lr"], "consumed": {self.train.role.value: consumed}}
        self.progress = PairProgress(group=done.group, losses=[*done.losses, means["loss"]])
        self.book.note(record)
        if self.place.first and means.get("auc", 1.0) < NOTHING_LEARNT:
            log.warning(
                "stage %s, after %d groups: copies are not told from look-alikes (AUC %.3f). What to do: begin with "
                "trained weights (backbone.pretrained or weights_of), raise optim.lr, or choose a milder view",
                *(stage.name, done.group, means["auc"]),
            )
        self.book.save(self.state())
        self.place.barrier()


def _witness(path: Path, counted: int, log_groups: int, position: int) -> Witness:
    """Return the witness of an item: its pass is the line of the log that it goes into."""
    return Witness(path, counted + position // log_groups)
