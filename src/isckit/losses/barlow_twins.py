"""Barlow Twins (Zbontar et al., ICML 2021): the cross-correlation of two views, drawn towards the identity."""

from __future__ import annotations

import torch
from torch import nn

from isckit import config
from isckit.losses.objective import Batch, Objective, Parts, exact, gathered, two_views
from isckit.models.batch_norm import synchronised
from isckit.models.heads import Outputs


class BarlowTwinsObjective(Objective):
    """Projector on `pooled`, and (1 - c_ii)^2 + off_diagonal * c_ij^2 summed over the cross-correlation c of the views.

    The projector's batch statistics, and c, are those of the global batch.
    """

    def __init__(self, settings: config.BarlowTwins, *, pooled: int) -> None:
        super().__init__()
        self.off_diagonal = settings.off_diagonal
        self.projector = synchronised(_projector(pooled, settings.width))

    @exact
    def forward(self, outputs: Outputs, batch: Batch) -> Parts:
        """Return the loss and its parts diagonal, off_diagonal (before its weight), of exactly two views an anchor."""
        first, second = (gathered(self.projector(view)) for view in two_views(outputs.pooled.float()))
        diagonal, off_diagonal = redundancy(first, second)
        loss = diagonal + self.off_diagonal * off_diagonal
        return {"loss": loss, "diagonal": diagonal, "off_diagonal": off_diagonal}


def redundancy(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sums of (1 - c_ii)^2, and of c_ij^2 elsewhere, c the correlation of two (n, d) standardised views."""
    correlation = first.T @ second / len(first)
    diagonal = correlation.diagonal()
    return (1 - diagonal).square().sum(), correlation.square().sum() - diagonal.square().sum()


def _projector(inputs: int, width: int) -> nn.Sequential:
    """Two hidden layers, a linear one, and the standardisation of its columns over the batch."""
    return nn.Sequential(
        nn.Linear(inputs, width, bias=False),
        nn.BatchNorm1d(width),
        nn.ReLU(inplace=True),
        nn.Linear(width, width, bias=False),
        nn.BatchNorm1d(width),
        nn.ReLU(inplace=True),
        nn.Linear(width, width, bias=False),
        nn.BatchNorm1d(width, affine=False),
    )
