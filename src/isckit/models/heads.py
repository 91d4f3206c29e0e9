"""Heads: from pooled features to the vector that becomes the embedding. Pooling itself is in `how`."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from timm.layers import create_conv2d, create_pool2d
from torch import nn

from isckit import config
from isckit.types import BadInput


class Outputs(NamedTuple):
    """Results of a network in training for n images."""

    embedding: torch.Tensor
    """(n, dim) float32, L2-normalised."""
    narrow: torch.Tensor
    """(n, dim): the head's result, before L2."""
    wide: torch.Tensor
    """(n, w): the projector's result; the pooled features where the head is linear."""
    pooled: torch.Tensor
    """(n, C): after GeM."""
    features: torch.Tensor
    """(n, C, h, w): the last feature map."""


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
        """Return (n, C) itself, twice."""
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
        """Return (n, dim), before L2, of (n, C), and the pooled features themselves."""
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
        """Return (n, dim), before L2, of (n, C), and the pooled features themselves."""
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
        """Return (n, dim), before L2, of (n, C), and the projector's (n, widths[1])."""
        wide = self.projector(pooled)
        return self.narrow(wide), wide


CHANNELS, KERNEL = 96, 8
BRANCHES = ((16, 3, 4), (32, 7, 2))
"""Stride of the convolution, window and stride of the maximum behind it; padded as TensorFlow pads ("same")."""


class ShallowBranches(nn.Module):
    """Two branches of a convolution and a maximum, each flattened and set to unit length.

    Attributes:
        widths: of the branches; 864 each for images of 160 pixels.
    """

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                create_conv2d(3, CHANNELS, KERNEL, stride=stride, padding="same", bias=True),
                create_pool2d("max", window, stride=reach, padding="same"),
            )
            for stride, window, reach in BRANCHES
        )
        self.widths = tuple(CHANNELS * shallow_cells(image_size, stride, reach) for stride, _, reach in BRANCHES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (B, sum of widths) float32 of (B, 3, S, S) normalised images."""
        return torch.cat([F.normalize(branch(images).flatten(1).float(), dim=-1) for branch in self.branches], dim=1)


def shallow_cells(image_size: int, stride: int, reach: int) -> int:
    """Return the number of positions that two strided layers with "same" padding leave of a square picture."""
    side = -(-image_size // stride)
    return (-(-side // reach)) ** 2


class DeepRankHead(nn.Module):
    """Two layers with ReLU and dropout on the deep branch, unit length, then one layer on all branches.

    The pooled features are the deep branch's, then those of the shallow ones.
    """

    def __init__(self, settings: config.Head, pooled_dim: int, dim: int, shallow_dim: int) -> None:
        super().__init__()
        self.wide_dim, self.deep_dim = pooled_dim, pooled_dim - shallow_dim
        first, second = settings.widths
        self.deep = nn.Sequential(
            nn.Linear(self.deep_dim, first),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
        )
        self.fc = nn.Linear(second + shallow_dim, dim)

    def forward(self, pooled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (n, dim), before L2, of (n, deep + shallow), and the pooled features themselves."""
        deep = F.normalize(self.deep(pooled[:, : self.deep_dim]), dim=-1)
        return self.fc(torch.cat([deep, pooled[:, self.deep_dim :].to(deep.dtype)], dim=1)), pooled


HEADS: dict[str, type[NoHead] | type[LinearHead] | type[DenseHead] | type[ProjectorHead]] = {
    "none": NoHead,
    "linear": LinearHead,
    "dense": DenseHead,
    "projector": ProjectorHead,
}
AnyHead = NoHead | LinearHead | DenseHead | ProjectorHead | DeepRankHead


def head(settings: config.Head, *, pooled_dim: int, dim: int, shallow_dim: int = 0) -> AnyHead:
    """Return the head of a recipe with fresh weights; the last `shallow_dim` pooled features are of shallow branches.

    Raises:
        BadInput: no head, and a width other than that of the pooled features.
    """
    if settings.kind == "deep_rank":
        return DeepRankHead(settings, pooled_dim, dim, shallow_dim)
    return HEADS[settings.kind](settings, pooled_dim, dim)


def _without_bias(norm: nn.BatchNorm1d) -> nn.BatchNorm1d:
    norm.bias.requires_grad_(False)
    return norm
