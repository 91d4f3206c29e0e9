"""Layers that a recipe puts into a ResNet: IBN-a (Pan et al., ECCV 2018) and WaveBlock."""

from __future__ import annotations

import torch
from torch import nn


class InstanceBatchNorm(nn.Module):
    """IBN-a: InstanceNorm (affine) of the first half of the channels, BatchNorm of the rest; the authors' names."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.split = channels // 2
        self.IN = nn.InstanceNorm2d(self.split, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.split)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the same shape, (B, C, H, W)."""
        return torch.cat((self.IN(x[:, : self.split]), self.BN(x[:, self.split :])), dim=1)


class WaveBlock(nn.Module):
    """Multiplies by `rate` all rows but a band of round(width * H); the identity in evaluation. No parameters.

    One draw a call: all images and channels share the band. It is drawn on the map's device from torch's generator,
    so that a pass repeated for gradient checkpointing sees the same one.
    """

    def __init__(self, width: float = 0.3, rate: float = 1.5) -> None:
        super().__init__()
        self.width, self.rate = width, rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the same shape, (B, C, H, W)."""
        if not self.training:
            return x
        height = x.shape[-2]
        band = round(self.width * height)
        top = torch.randint(0, height - band + 1, (1,), device=x.device)  # both ends of the map can be reached
        rows = torch.arange(height, device=x.device)
        kept = (rows >= top) & (rows < top + band)
        return x * torch.where(kept, 1.0, self.rate).to(x.dtype).view(-1, 1)
