"""What a stage minimises, as the engine sees it: a module from a network's outputs to a table of loss parts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.nn.functional import all_gather

from isckit.models.outputs import Outputs


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
    """Whether `Batch.plain` must be given."""

    def forward(self, outputs: Outputs, batch: Batch) -> dict[str, torch.Tensor]:
        """Scalars by name; "loss" is what is minimised, the others are its parts, for the log."""
        raise NotImplementedError

    def after_step(self, network: nn.Module, *, progress: float) -> None:
        """Called after every step of the optimiser; `progress` runs from 0 to 1 over the stage."""

    def result(self, network: nn.Module) -> nn.Module:
        """The network that the stage leaves: the trained one, unless the objective has a better one (a teacher)."""
        return network


def gathered(rows: torch.Tensor) -> torch.Tensor:
    """The rows of all processes, in order of rank, with gradients that flow back to each; alone: the rows."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return rows
    return torch.cat(all_gather(rows.contiguous()) if rows.requires_grad else _plain_gather(rows))


def _plain_gather(rows: torch.Tensor) -> list[torch.Tensor]:
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.contiguous())
    return parts
