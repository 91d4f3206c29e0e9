"""Generalised-mean pooling (GeM; Radenovic, Tolias & Chum, TPAMI 2018)."""

from __future__ import annotations

import torch
from torch import nn


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
        """(B, C, H, W) -> (B, C), in float32: powers of half-precision maps overflow."""
        p = self.p if self.training or self.at_test is None else self.at_test
        return x.float().clamp(min=self.eps).pow(p).mean((-2, -1)).pow(1 / p)
