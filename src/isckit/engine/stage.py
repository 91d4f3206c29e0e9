"""One stage of training: network, objective and optimiser over its epochs; resumable at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from isckit import config
from isckit.augment.batched import find_batched, mix
from isckit.data.items import Item
from isckit.data.training import StageImages
from isckit.engine.collapse import statistics
from isckit.engine.distributed import Place, has_bf16
from isckit.engine.loading import Epoch, consumed, draw_epoch, loader
from isckit.engine.optimisers import factor, optimiser
from isckit.losses.build import build
from isckit.losses.objective import Batch, Objective
from isckit.models.batch_norm import synchronised, with_ghost_batches
from isckit.models.heads import Outputs
from isckit.models.network import EmbeddingNetwork
from isckit.types import BadInput


class TrainingStep(nn.Module):
    """Network and objective as one module, so that one wrapper averages all gradients over the processes."""

    def __init__(self, network: EmbeddingNetwork, objective: Objective, *, amp: bool, compiled: bool) -> None:
        super().__init__()
        self.network, self.objective, self.amp = network, objective, amp
        self._outputs = torch.compile(network.outputs) if compiled else network.outputs

    def forward(self, batch: Batch) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return the loss parts, and the embeddings (n, dim) for statistics."""
        outputs = self.outputs(batch.pixels)
        return self.objective(outputs, batch), outputs.embedding.detach()

    def outputs(self, pixels: torch.Tensor) -> Outputs:
        """Return the network's outputs, in mixed precision where that is wanted."""
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.amp):
            return self._outputs(pixels)


def backward_in_parts(step: TrainingStep, batch: Batch, *, images: int, seed: int) -> tuple[dict, torch.Tensor]:
    """Return the gradient of a whole batch with the activations of `images` images at a time in memory.

    First all outputs without activations, then the loss and its gradient in them, then each part once more, forward
    and backward from that gradient (gradient caching; Gao et al. 2021). Equal to the whole batch where images do not
    meet inside the network; batch statistics are those of a part, in both passes.
    """
    parts = batch.pixels.split(images)
    kept = [buffer.clone() for buffer in step.network.buffers()]
    with torch.no_grad():
        outputs = [_seeded(step, part, seed + number) for number, part in enumerate(parts)]
        for buffer, value in zip(step.network.buffers(), kept, strict=True):
            buffer.copy_(value)
    whole = Outputs(*(torch.cat(field).requires_grad_() for field in zip(*outputs, strict=True)))
    losses = step.objective(whole, batch)
    losses["loss"].backward()
    gradients = [field.grad.split(images) if field.grad is not None else None for field in whole]
    for number, part in enumerate(parts):
        again = _seeded(step, part, seed + number)
        wanted = [(out, grads[number]) for out, grads in zip(again, gradients, strict=True) if grads is not None]
        torch.autograd.backward([out for out, _ in wanted], [gradient for _, gradient in wanted])
    _average_gradients(step.parameters())
    return losses, whole.embedding.detach()


def _seeded(step: TrainingStep, pixels: torch.Tensor, seed: int) -> Outputs:
    """Random layers must draw the same in both passes."""
    torch.manual_seed(seed)
    return step.outputs(pixels)


def _average_gradients(parameters: Iterator[nn.Parameter]) -> None:
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return
    for parameter in parameters:
        if parameter.requires_grad:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()


Save = Callable[[dict[str, Any]], None]


@dataclass
class Progress:
    """How far a stage is: epochs and steps done, mean losses of finished epochs, sums and counts of the one begun."""

    epoch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    seen: int = 0
    seconds: float = 0.0


class StageRun:
    """A stage in progress.

    Raises:
        BadInput: a batch that cannot be divided over the processes, a loss that is not finite.
    """

    def __init__(
        self,
        stage: config.Stage,
        network: EmbeddingNetwork,
        images: StageImages,
        *,
        seed: int,
        place: Place,
        anchor: nn.Module | None = None,
    ) -> None:
        self.stage, self.images, self.seed, self.place = stage, images, seed, place
        self.progress = Progress()
        rows = stage.batch_images * (2 if images.paired else len(stage.views)) + stage.batch_images * images.negatives
        self.network = network
        if stage.checkpointing:
            network.backbone.set_grad_checkpointing(True)
        if stage.ghost_batch:
            with_ghost_batches(network, stage.ghost_batch)
        elif place.world > 1:
            synchronised(network)
        torch.manual_seed(seed)
        objective = build(stage.loss, network, classes=len(images.anchors), batch_rows=rows, anchor=anchor)
        self.objective: Objective = objective.to(place.device)
        self.optimiser = optimiser([network, self.objective], stage.optim)
        self.ema = ModelEmaV3(network, decay=stage.ema) if stage.ema else None
        amp = stage.amp and has_bf16(place.device)
        self.model = TrainingStep(network, self.objective, amp=amp, compiled=stage.compiled)
        self.wrapped: nn.Module = self.model
        if place.world > 1:
            self.wrapped = DistributedDataParallel(self.model, broadcast_buffers=False, find_unused_parameters=True)

    @property
    def epochs(self) -> int:
        """Epochs that are done of those scheduled."""
        return self.stage.stop_after or self.stage.epochs

    def state(self) -> dict[str, Any]:
        """Return all that a resumed stage needs to end in the same bytes."""
        state = {"progress": vars(self.progress) | {}, "network": self.network.state_dict()}
        state |= {"objective": self.objective.state_dict(), "optimiser": self.optimiser.state_dict()}
        return state | ({"ema": self.ema.state_dict()} if self.ema else {})

    def load(self, state: dict[str, Any]) -> None:
        """Take up an interrupted stage."""
        self.progress = Progress(**state["progress"])
        self.network.load_state_dict(state["network"])
        self.objective.load_state_dict(state["objective"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])

    def run_epoch(
        self, *, counted: int, workers: int, witness: Path | None, save: Save, save_seconds: float
    ) -> dict[str, Any]:
        """Do the rest of the epoch in progress and return its record; every `save_seconds` the state is handed out."""
        epoch = draw_epoch(self.stage, self.images, seed=self.seed, number=self.progress.epoch)
        batches = loader(
            epoch,
            size=self.stage.image_size or self.network.settings.image_size,
            place=self.place,
            workers=workers,
            skip=self.progress.step,
            plain=self.objective.wants_plain,
            witness=witness,
            counted=counted,
        )
        before, started = self.progress.seconds, time.perf_counter()
        saved = started
        title = f"train {self.stage.name} {self.progress.epoch + 1}/{self.epochs}"
        bar = tqdm(batches, title, epoch.steps, initial=self.progress.step, unit="batch", disable=not self.place.first)
        self.wrapped.train()
        for item in bar:
            loss = self._step(item, epoch)
            now = time.perf_counter()
            self.progress.seconds = before + now - started
            bar.set_postfix(
                {"loss": f"{loss:.3f}", "img/s": f"{self.progress.seen / max(1e-9, self.progress.seconds):.0f}"}
            )
            if now - saved > save_seconds and self.progress.step < epoch.steps:
                save(self.state())
                saved = time.perf_counter()
        return self._finish(epoch)

    def _step(self, item: Item, epoch: Epoch) -> float:
        done = self.progress
        at = done.epoch + done.step / epoch.steps
        for group in self.optimiser.param_groups:
            group["lr"] = self.stage.optim.lr * factor(
                self.stage.optim, at, epochs=self.stage.epochs, losses=done.losses
            )
        # Every step has its own seed, so that a resumed run draws what an uninterrupted one does.
        seed = int(np.random.SeedSequence([self.seed, done.epoch, done.step, self.place.rank]).generate_state(1)[0])
        torch.manual_seed(seed)
        batch = self._batch(item, np.random.default_rng([seed, 5]))
        self.optimiser.zero_grad(set_to_none=True)
        if 0 < self.stage.micro_batch < len(batch.pixels):
            parts, embeddings = backward_in_parts(self.model, batch, images=self.stage.micro_batch, seed=seed)
        else:
            parts, embeddings = self.wrapped(batch)
            parts["loss"].backward()
        if self.stage.optim.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.stage.optim.clip)
        self.optimiser.step()
        if self.ema:
            self.ema.update(self.network)
        done.step += 1
        total = self.epochs * epoch.steps
        self.objective.after_step(self.network, progress=(done.epoch * epoch.steps + done.step) / total)
        done.seen += len(batch.pixels) * self.place.world
        numbers = {key: float(value.detach()) for key, value in parts.items()} | statistics(embeddings, batch.labels)
        for key, number in numbers.items():
            done.sums[key] = done.sums.get(key, 0.0) + number
            done.counts[key] = done.counts.get(key, 0) + 1
        return numbers["loss"]

    def _batch(self, item: Item, rng: np.random.Generator) -> Batch:
        tables = item.tables  # read on the host: each edit asks which images it applies to
        item = Item(*(part.to(self.place.device, non_blocking=True) for part in item))
        pixels, weights = item.pixels, None
        if self.stage.on_device and tables.shape[1]:
            edited = find_batched(self.stage.on_device).apply(pixels, tables)
            # Negatives stay as they are.
            pixels = torch.where((item.views >= 0)[:, None, None, None], edited, pixels)
        if self.stage.mix is not None:
            pixels, weights = mix(pixels, self.stage.mix, rng)
        return Batch(pixels, item.labels, item.views, weights, item.plain if len(item.plain) else None)

    def _finish(self, epoch: Epoch) -> dict[str, Any]:
        done = self.progress
        # Some statistics are missing from steps that have no such pair.
        means = {key: value / done.counts[key] for key, value in done.sums.items()}
        if not math.isfinite(means["loss"]):
            raise BadInput(
                seen=f"loss {means['loss']} in epoch {done.epoch + 1} of stage {self.stage.name}",
                allowed="a finite loss",
                remedy=f"lower stages.{self.stage.name}.optim.lr, or set its clip=1; the last good epoch is kept",
            )
        record = means | {"stage": self.stage.name, "bf16": self.model.amp, "seconds": done.seconds}
        record |= {"images_per_second": done.seen / done.seconds, "lr": self.optimiser.param_groups[0]["lr"]}
        self.progress = Progress(epoch=done.epoch + 1, losses=[*done.losses, means["loss"]])
        return record | {"consumed": consumed(epoch)}

    def result(self) -> dict[str, torch.Tensor]:
        """Return weights that the stage leaves: of the moving average, of the objective's choice, or of the network."""
        network = self.ema.module if self.ema else self.objective.result(self.network)
        return {key: value.detach().clone() for key, value in network.state_dict().items()}
