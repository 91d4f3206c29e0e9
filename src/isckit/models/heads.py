"""From pooled features to the vector that becomes the embedding: nothing, layers, or visionForce's projector."""

from __future__ import annotations

import torch
from torch import nn

from isckit import config
from isckit.models.deep_rank import DeepRankHead
from isckit.types import BadInput


class NoHead(nn.Module):
    """The pooled features are the embedding (MultiGrain, Berman et al. 2019).

    Raises:
        BadInput: the recipe gives the embedding another width.
    """

    def __init__(self, settings: config.Head, pooled_dim: int, dim: int) -> None:
        super().__init__()
        if dim != pooled_dim:
            raise BadInput(
                seen=f"a network of dim {dim} without a head, behind {pooled_dim} pooled features",
                allowed="the number of pooled features",
                remedy=f"set the member's dim={pooled_dim}, or give it a head",
            )
        self.wide_dim = pooled_dim

    def forward(self, pooled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, C) -> itself, twice."""
        return pooled, pooled


class DenseHead(nn.Module):
    """Dropout, a hidden layer with ReLU and BatchNorm, a layer to `dim` (Parajuli's triplet network)."""

    def __init__(self, settings: config.Head, pooled_dim: int, dim: int) -> None:
        super().__init__()
        self.wide_dim, hidden = pooled_dim, settings.widths[0]
        self.layers = nn.Sequential(
            nn.Dropout(settings.dropout),
            nn.Linear(pooled_dim, hidden),
            nn.ReLU(),
            nn.BatchNorm1d(hidden),
            nn.Linear(hidden, dim),
        )

    def forward(self, pooled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, C) -> (n, dim), before L2, and the pooled features themselves."""
        return self.layers(pooled), pooled


class LinearHead(nn.Module):
    """Linear layer (Xavier-normal, zero bias) and BatchNorm, both optional parts as the recipe says."""

    def __init__(self, settings: config.Head, pooled_dim: int, dim: int) -> None:
        super().__init__()
        self.wide_dim = pooled_dim
        self.fc = nn.Linear(pooled_dim, dim, bias=settings.bias)
        nn.init.xavier_normal_(self.fc.weight)
        if settings.bias:
            nn.init.zeros_(self.fc.bias)
        self.fc.requires_grad_(not settings.whitened)
        self.bn = nn.BatchNorm1d(dim) if settings.norm else nn.Identity()

    def forward(self, pooled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, C) -> (n, dim), before L2, and the pooled features themselves."""
        return self.bn(self.fc(pooled)), pooled


class ProjectorHead(nn.Module):
    """visionForce's (BoT, 2021): C -> 4096 -> 8192 with a BatchNorm behind, and from there a block to `dim`.

    The block begins with a BatchNorm of its own, so two of them meet; the last one of each part has its bias frozen
    at zero. Where `dim` is the projector's own width there is no block: its result is the embedding (D2LV).
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
        block = [
            nn.BatchNorm1d(self.wide_dim),
            nn.LeakyReLU(0.2),
            nn.Linear(self.wide_dim, dim),
            _without_bias(nn.BatchNorm1d(dim)),
        ]
        self.narrow = nn.Sequential(*(block if dim != self.wide_dim else ()))

    def forward(self, pooled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, C) -> (n, dim), before L2, and the projector's (n, widths[1])."""
        wide = self.projector(pooled)
        return self.narrow(wide), wide


HEADS: dict[str, type[NoHead] | type[LinearHead] | type[DenseHead] | type[ProjectorHead]] = {
    "none": NoHead,
    "linear": LinearHead,
    "dense": DenseHead,
    "projector": ProjectorHead,
}
AnyHead = NoHead | LinearHead | DenseHead | ProjectorHead | DeepRankHead


def head(settings: config.Head, *, pooled_dim: int, dim: int, shallow_dim: int = 0) -> AnyHead:
    """The head of a recipe, with fresh weights; the last `shallow_dim` pooled features are of shallow branches.

    Raises:
        BadInput: no head, and a width other than that of the pooled features.
    """
    if settings.kind == "deep_rank":
        return DeepRankHead(settings, pooled_dim, dim, shallow_dim)
    return HEADS[settings.kind](settings, pooled_dim, dim)


def _without_bias(norm: nn.BatchNorm1d) -> nn.BatchNorm1d:
    norm.bias.requires_grad_(False)
    return norm
