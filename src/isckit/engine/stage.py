"""One stage of a member's training: its network and its objective."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from isckit import config
from isckit.augment.batched import find_batched, mix
from isckit.data.items import Item
from isckit.data.training import StageImages
from isckit.engine.collapse import statistics
from isckit.engine.distributed import Process, averaged
from isckit.engine.loading import consumed, draw_epoch, loader
from isckit.engine.trainer import Trainer, weights_of
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


def _refuse_split_groups(images: int, rows: int, process: Process) -> None:
    """Refuse processes whose share of a step would cut groups of common statistics apart: they would be others."""
    if process.world > 1 and (rows // process.world) % images:
        raise BadInput(
            seen=f"statistics over groups of {images} images, and {rows} images a step in {process.world} processes",
            allowed="whole groups in each process, so that training is the same on any number of GPUs",
            remedy="start fewer processes, or set ghost_batch of the stage",
        )


class StageTrainer(Trainer[Item]):
    """A stage in progress.

    Raises:
        BadInput: a batch that cannot be divided over the processes.
    """

    def __init__(
        self,
        stage: config.Stage,
        network: EmbeddingNetwork,
        images: StageImages,
        *,
        seed: int,
        process: Process,
        anchor: nn.Module | None = None,
    ) -> None:
        rows = stage.batch_images * (2 if images.paired else len(stage.views)) + stage.batch_images * images.negatives
        if stage.checkpointing:
            network.backbone.set_grad_checkpointing(True)
        if stage.ghost_batch:
            _refuse_split_groups(stage.ghost_batch, rows, process)
            with_ghost_batches(network, stage.ghost_batch)
        elif process.world > 1:
            synchronised(network)
        torch.manual_seed(seed)
        objective = build(stage.loss, network, classes=len(images.anchors), batch_rows=rows, anchor=anchor)
        super().__init__(
            stage.name,
            {"network": network, "objective": objective.to(process.device)},
            stage.optim,
            epochs=stage.stop_after or stage.epochs,
            schedule=stage.epochs,
            seed=seed,
            process=process,
            ema=stage.ema,
            amp=stage.amp,
        )
        self.stage, self.network, self.images, self.objective = stage, network, images, objective
        self.model = TrainingStep(network, objective, amp=self.amp, compiled=stage.compiled)
        self.wrapped = averaged(self.model, process)

    def open_epoch(self, *, counted: int, workers: int, witness: Path | None) -> tuple[int, Iterable[Item]]:
        """Return the steps of the epoch in progress, and the batches of those that are left."""
        self.epoch = draw_epoch(self.stage, self.images, seed=self.seed, number=self.progress.epoch)
        self.wrapped.train()
        return self.epoch.steps, loader(
            self.epoch,
            size=self.stage.image_size or self.network.settings.image_size,
            process=self.process,
            workers=workers,
            skip=self.progress.step,
            plain=self.objective.wants_plain,
            witness=witness,
            counted=counted,
        )

    def backward(self, batch: Item, seed: int) -> tuple[int, dict[str, float]]:
        """Set the gradients of a batch; return images seen in all processes, the loss's parts and signs of collapse."""
        given = self._batch(batch, np.random.default_rng([seed, 5]))
        if 0 < self.stage.micro_batch < len(given.pixels):
            parts, embeddings = backward_in_parts(self.model, given, images=self.stage.micro_batch, seed=seed)
        else:
            parts, embeddings = self.wrapped(given)
            parts["loss"].backward()
        figures = {key: float(value.detach()) for key, value in parts.items()} | statistics(embeddings, given.labels)
        return len(given.pixels) * self.process.world, figures

    def after_step(self, steps: int) -> None:
        """Let the objective follow the network."""
        done = self.progress
        self.objective.after_step(self.network, progress=(done.epoch * steps + done.step) / (self.epochs * steps))

    def record(self) -> dict[str, Any]:
        """Return what the epoch in progress consumed."""
        return {"consumed": consumed(self.epoch)}

    def result(self) -> dict[str, torch.Tensor]:
        """Return weights that the stage leaves: of the moving average, of the objective's choice, or of the network."""
        return super().result() if self.ema else weights_of(self.objective.result(self.network))

    def _batch(self, item: Item, rng: np.random.Generator) -> Batch:
        tables = item.tables  # read on the host: each edit asks which images it applies to
        item = Item(*(part.to(self.process.device, non_blocking=True) for part in item))
        pixels, weights = item.pixels, None
        if self.stage.on_device and tables.shape[1]:
            edited = find_batched(self.stage.on_device).apply(pixels, tables)
            # Negatives stay as they are.
            pixels = torch.where((item.views >= 0)[:, None, None, None], edited, pixels)
        if self.stage.mix is not None:
            pixels, weights = mix(pixels, self.stage.mix, rng)
        return Batch(pixels, item.labels, item.views, weights, item.plain if len(item.plain) else None)
