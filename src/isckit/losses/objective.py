"""The contract of losses: a module from a network's outputs to a table of loss parts, and sums over processes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.nn.functional import all_gather, all_reduce

from isckit.models.heads import Outputs

Parts = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Batch:
    """This process's images of a step, anchor by anchor: the views of an anchor, then its negatives.

    Attributes:
        pixels: (n, 3, S, S) uint8, after all edits.
        labels: (n,) int64; equal for copies of one image, across processes too. Train images have their row number.
        views: (n,) int64; number of the view within its anchor; -1 for negatives.
        weights: (n, n) float32 rows that sum to 1: shares of the batch's images in each mixed one; None where unmixed.
        plain: (a, 3, S, S) uint8, the anchors as they are; None where the objective does not ask for them.
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    views: torch.Tensor
    weights: torch.Tensor | None = None
    plain: torch.Tensor | None = None


class Objective(nn.Module):
    """A loss with whatever it learns or remembers; all of that is in its state_dict, so that a stage can be resumed.

    Under several processes the gradients of parameters are averaged over them. An objective on pairs therefore gathers
    (see `gathered`) and gives the loss of the global batch everywhere; one on single images gives its own part's mean.
    """

    wants_plain = False
    """True where `Batch.plain` must be given."""

    def forward(self, outputs: Outputs, batch: Batch) -> Parts:
        """Return scalars by name; "loss" is minimised, the others are its parts, for the log."""
        raise NotImplementedError

    def after_step(self, network: nn.Module, *, progress: float) -> None:
        """Do nothing; called after every step of the optimiser, `progress` runs from 0 to 1 over the stage."""

    def result(self, network: nn.Module) -> nn.Module:
        """Return the network that the stage leaves: the trained one, or a better one of the objective (a teacher)."""
        return network


def exact(forward: Callable[..., Parts]) -> Callable[..., Parts]:
    """Decorate an objective's forward: no automatic mixed precision inside, whatever the network ran in."""

    @functools.wraps(forward)
    def in_float32(objective: Objective, outputs: Outputs, batch: Batch) -> Parts:
        with torch.autocast(outputs.embedding.device.type, enabled=False):
            return forward(objective, outputs, batch)

    return in_float32


def two_views(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first and the second views, (a, d) each, of (2a, d) rows, anchor by anchor."""
    assert len(rows) % 2 == 0, "an objective on two views wants exactly two an anchor, and no negatives"
    return rows[0::2], rows[1::2]


def processes() -> tuple[int, int]:
    """Return (rank of this process, number of processes)."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def gathered(rows: torch.Tensor) -> torch.Tensor:
    """Return the rows of all processes, in order of rank, with gradients that flow back to each; alone: the rows."""
    if processes()[1] == 1:
        return rows
    return torch.cat(all_gather(rows.contiguous()) if rows.requires_grad else _plain_gather(rows))


def own_rows(rows: int) -> slice:
    """Return the slice of this process's `rows` among the gathered ones."""
    first = processes()[0] * rows
    return slice(first, first + rows)


def summed(values: torch.Tensor) -> torch.Tensor:
    """Return the sum over all processes, with gradients that flow back to each; alone: the values."""
    return values if processes()[1] == 1 else all_reduce(values)


def mean_where(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Return the mean of the values of all processes at the marked places, 0 where there are none.

    Each process gives its own rows against the global batch; value and (averaged) gradient are the global batch's.
    """
    total, count = summed(torch.stack([values.where(where, 0.0).sum(), where.sum().to(values.dtype)]))
    return total / count.clamp(min=1)


def _plain_gather(rows: torch.Tensor) -> list[torch.Tensor]:
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.contiguous())
    return parts
