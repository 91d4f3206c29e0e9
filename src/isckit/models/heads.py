"""From pooled features to the vector that becomes the embedding: a linear layer, or visionForce's projector."""

from __future__ import annotations

import torch
from torch import nn

from isckit import config


class LinearHead(nn.Module):
    """Linear layer (Xavier-normal, zero bias) and BatchNorm, both optional parts as the recipe says."""

    def __init__(self, settings: config.Head, pooled_dim: int, dim: int) -> None:
        super().__init__()
        self.wide_dim = pooled_dim
        self.fc = nn.Linear(pooled_dim, dim, bias=settings.bias)
        nn.init.xavier_normal_(self.fc.weight)
        if settings.bias:
            nn.init.zeros_(self.fc.bias)
        self.bn = nn.BatchNorm1d(dim) if settings.norm else nn.Identity()

    def forward(self, pooled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, C) -> (n, dim), before L2, and the pooled features themselves."""
        return self.bn(self.fc(pooled)), pooled


class ProjectorHead(nn.Module):
    """visionForce's (BoT, 2021): C -> 4096 -> 8192 with a BatchNorm behind, and from there a block to `dim`.

    The block begins with a BatchNorm of its own, so two of them meet; the last one of each part has its bias frozen
    at zero.
    """

    def __init__(self, settings: config.Head, pooled_dim: int, dim: int) -> None:
        super().__init__()
        middle, self.wide_dim = settings.widths
        self.projector = nn.Sequential(
            nn.Linear(pooled_dim, middle),
            nn.BatchNorm1d(middle),
            nn.LeakyReLU(0.2),
            nn.Linear(middle, self.wide_dim),
            _without_bias(nn.BatchNorm1d(self.wide_dim)),
        )
        self.narrow = nn.Sequential(
            nn.BatchNorm1d(self.wide_dim),
            nn.LeakyReLU(0.2),
            nn.Linear(self.wide_dim, dim),
            _without_bias(nn.BatchNorm1d(dim)),
        )

    def forward(self, pooled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, C) -> (n, dim), before L2, and the projector's (n, widths[1])."""
        wide = self.projector(pooled)
        return self.narrow(wide), wide


def head(settings: config.Head, *, pooled_dim: int, dim: int) -> LinearHead | ProjectorHead:
    """The head of a recipe, with fresh weights."""
    kind = LinearHead if settings.kind == "linear" else ProjectorHead
    return kind(settings, pooled_dim, dim)


def _without_bias(norm: nn.BatchNorm1d) -> nn.BatchNorm1d:
    norm.bias.requires_grad_(False)
    return norm
