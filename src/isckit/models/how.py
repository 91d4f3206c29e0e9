"""HOW: local features that are learnt through their weighted sum (Tolias, Jenicek & Chum, ECCV 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from isckit.models.backbone import as_map

if TYPE_CHECKING:
    from isckit.models.network import EmbeddingNetwork


def strengths(features: torch.Tensor) -> torch.Tensor:
    """Attention (B, h, w) of a map (B, C, h, w): the length of the feature at each position."""
    return (features.float().square().sum(1) + 1e-10).sqrt()


def smoothed(features: torch.Tensor) -> torch.Tensor:
    """(B, C, h, w) -> the mean over the 3 x 3 positions about each one; what lies outside does not count."""
    return F.avg_pool2d(features.float(), 3, stride=1, padding=1, count_include_pad=False)


class AttentionPool(nn.Module):
    """The smoothed features' mean, weighted by the strengths of the map as it is.

    With a linear layer W, b behind it this is the global descriptor of HOW, whose features are reduced before they are
    added up: sum a (W f + b) = (W m + b) * sum a, where m is this mean. Unit length takes the factor away.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> (B, C) float32."""
        weights = strengths(features).unsqueeze(1)
        return (smoothed(features) * weights).sum((-2, -1)) / weights.sum((-2, -1))


def local_features(
    network: EmbeddingNetwork, image: torch.Tensor, *, scales: Sequence[float], count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The strongest local features of one image over all scales; they are not set to unit length.

    Args:
        network: with a head that takes pooled features one by one, in evaluation mode.
        image: (1, 3, H, W) uint8, on the network's device. One at a time: aspects stay, no image changes another.
        scales: factors of its sides; resized without antialiasing, as published.
        count: features kept, by strength.

    Returns:
        (n, dim) float32, and their strengths (n,), descending.
    """
    pixels = network.normalised(image)
    features, found = [], []
    for scale in scales:
        size = [max(1, int(side * scale)) for side in pixels.shape[-2:]]
        resized = pixels if scale == 1 else F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
        raw = as_map(network.backbone, network.backbone.forward_features(resized))
        features.append(smoothed(raw)[0].flatten(1).T)
        found.append(strengths(raw).flatten())
    ordered, order = torch.sort(torch.cat(found), descending=True, stable=True)
    narrow, _ = network.head(torch.cat(features)[order[:count]])
    return narrow.float(), ordered[:count]
