"""Pooling: from a feature map to one vector; GeM, and the attention of HOW (Tolias, Jenicek & Chum, ECCV 2020)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from isckit import config


class GeM(nn.Module):
    """f_k = mean over positions of max(x, eps)^p, to the power 1/p. One p for all channels; p = 1 is the mean.

    The clamp works as a ReLU on maps that may be negative, also for p = 1. `at_test` is the power used in evaluation
    instead of p (visionForce throws the learned one away); p itself stays among the weights.
    """

    def __init__(self, p: float, *, learnable: bool, at_test: float | None = None, eps: float = 1e-6) -> None:
        super().__init__()
        value = torch.tensor(float(p))
        if learnable:
            self.p: torch.Tensor = nn.Parameter(value)
        else:
            self.register_buffer("p", value)
        self.at_test, self.eps = at_test, eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, C) of (B, C, H, W), in float32: powers of half-precision maps overflow."""
        p = self.p if self.training or self.at_test is None else self.at_test
        return x.float().clamp(min=self.eps).pow(p).mean((-2, -1)).pow(1 / p)


class Mean(nn.Module):
    """The plain mean over positions, of features that may be negative."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, C) of (B, C, H, W), in float32."""
        return x.float().mean((-2, -1))


def strengths(features: torch.Tensor) -> torch.Tensor:
    """Return the attention (B, h, w) of a map (B, C, h, w): the length of the feature at each position."""
    return (features.float().square().sum(1) + 1e-10).sqrt()


def smoothed(features: torch.Tensor) -> torch.Tensor:
    """Return the mean of (B, C, h, w) over the 3 x 3 positions about each one, those outside left out."""
    return F.avg_pool2d(features.float(), 3, stride=1, padding=1, count_include_pad=False)


class AttentionPool(nn.Module):
    """The smoothed features' mean, weighted by the strengths of the map as it is.

    With a linear layer W, b behind it this is the global descriptor of HOW, whose features are reduced before they are
    added up: sum a (W f + b) = (W m + b) * sum a, where m is this mean. Unit length takes the factor away.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return (B, C) float32 of (B, C, h, w)."""
        weights = strengths(features).unsqueeze(1)
        return (smoothed(features) * weights).sum((-2, -1)) / weights.sum((-2, -1))


def pooled_width(backbone: Any, settings: config.Network) -> int:
    """Return the number of features that the pooling leaves of a backbone's map."""
    if settings.pooling != "flatten":
        return int(backbone.num_features)
    side = -(-settings.image_size // backbone.feature_info[-1]["reduction"])
    return int(backbone.num_features) * side**2


def pooling(settings: config.Network) -> nn.Module:
    """Return the pooling of a recipe's network; the class token needs none."""
    if settings.pooling == "gem":
        return GeM(settings.gem_p, learnable=settings.gem_learnable, at_test=settings.gem_p_at_test)
    return {"mean": Mean, "token": nn.Identity, "flatten": nn.Flatten, "attention": AttentionPool}[settings.pooling]()
