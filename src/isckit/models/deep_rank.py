"""Parajuli's three-branch network after DeepRank (Wang et al. 2014): a deep branch beside two shallow ones.

The shallow branches see the same picture as the deep one, through one large strided convolution each.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers import create_conv2d, create_pool2d
from torch import nn

from isckit import config

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
        """(B, 3, S, S) normalised images -> (B, sum of widths) float32."""
        return torch.cat([F.normalize(branch(images).flatten(1).float(), dim=-1) for branch in self.branches], dim=1)


def shallow_cells(image_size: int, stride: int, reach: int) -> int:
    """Positions that two strided layers with "same" padding leave of a square picture."""
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
        """(n, deep + shallow) -> (n, dim), before L2, and the pooled features themselves."""
        deep = F.normalize(self.deep(pooled[:, : self.deep_dim]), dim=-1)
        return self.fc(torch.cat([deep, pooled[:, self.deep_dim :].to(deep.dtype)], dim=1)), pooled
