"""Restoration: a light decoder undoes the edit, from the last feature map of an edited view to the plain image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.transforms.v2.functional import resize

WIDTHS = (128, 64, 32)


class Restoration(nn.Module):
    """Decoder and its loss: L1 to the small plain image, each view weighted.

    Three convolutions, before each of which the map grows (nearest neighbour, whose gradient is deterministic on every
    device) to a quarter, a half and the whole of `size`; then colours in [0, 1].
    """

    def __init__(self, channels: int, *, size: int) -> None:
        super().__init__()
        self.sizes = [max(1, size // 4), max(1, size // 2), size]
        self.enter = nn.Conv2d(channels, WIDTHS[0], 1)
        widths = zip(WIDTHS, (*WIDTHS[1:], WIDTHS[-1]), strict=True)
        self.convolutions = nn.ModuleList(nn.Conv2d(wide, narrow, 3, padding=1) for wide, narrow in widths)
        self.colours = nn.Conv2d(WIDTHS[-1], 3, 1)

    def decode(self, features: torch.Tensor) -> torch.Tensor:
        """(n, C, h, w) -> (n, 3, size, size) in [0, 1]."""
        x = F.relu(self.enter(features.float()))
        for size, convolution in zip(self.sizes, self.convolutions, strict=True):
            x = F.relu(convolution(F.interpolate(x, size=(size, size), mode="nearest-exact")))
        return self.colours(x).sigmoid()

    def forward(self, features: torch.Tensor, plain: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Mean over the views of weight times mean absolute error.

        The sum is divided by the number of views, not by the sum of weights: a batch of hidden images counts less.

        Args:
            features: (n, C, h, w) of the edited views.
            plain: (n, 3, S, S) uint8, the image that each was made from.
            weights: (n,) in [0, 1].
        """
        target = resize(plain.float(), [self.sizes[-1]] * 2, antialias=True) / 255
        return ((self.decode(features) - target).abs().mean((1, 2, 3)) * weights).mean()
