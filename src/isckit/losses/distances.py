"""Euclidean distances with a gradient that stays finite and small in memory."""

from __future__ import annotations

import torch


def euclidean(rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """(n, d) and (m, d) float32 -> (n, m) distances, at least 1e-6.

    By a matrix product: the gradient of torch.cdist needs n * m * d values on a GPU.
    """
    squares = rows.square().sum(1)[:, None] + others.square().sum(1) - 2 * rows @ others.T
    return squares.clamp(min=1e-12).sqrt()
