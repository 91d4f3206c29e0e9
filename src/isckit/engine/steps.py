"""One step of training: network, objective, gradient; whole batches, or in parts that fit the memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import nn

from isckit.losses.objective import Batch, Objective
from isckit.models.network import EmbeddingNetwork
from isckit.models.outputs import Outputs


class TrainingStep(nn.Module):
    """Network and objective as one module, so that one wrapper averages all gradients over the processes."""

    def __init__(self, network: EmbeddingNetwork, objective: Objective, *, amp: bool, compiled: bool) -> None:
        super().__init__()
        self.network, self.objective, self.amp = network, objective, amp
        self._outputs = torch.compile(network.outputs) if compiled else network.outputs

    def forward(self, batch: Batch) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Loss parts, and the embeddings (n, dim) for statistics."""
        outputs = self.outputs(batch.pixels)
        return self.objective(outputs, batch), outputs.embedding.detach()

    def outputs(self, pixels: torch.Tensor) -> Outputs:
        """The network's outputs, in mixed precision where that is wanted."""
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.amp):
            return self._outputs(pixels)


def backward_in_parts(step: TrainingStep, batch: Batch, *, images: int, seed: int) -> tuple[dict, torch.Tensor]:
    """The gradient of a whole batch with the activations of `images` images at a time in memory.

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
