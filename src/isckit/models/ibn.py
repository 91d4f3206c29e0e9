"""IBN-a: half instance, half batch normalisation (Pan et al., ECCV 2018)."""

from __future__ import annotations

import torch
from torch import nn


class InstanceBatchNorm(nn.Module):
    """InstanceNorm (affine) of the first half of the channels, BatchNorm of the others; named as by the authors."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.split = channels // 2
        self.IN = nn.InstanceNorm2d(self.split, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.split)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> the same shape."""
        return torch.cat((self.IN(x[:, : self.split]), self.BN(x[:, self.split :])), dim=1)
