"""Batch-hard triplet loss with a soft margin (Hermans, Beyer & Leibe, 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from isckit.losses.distances import euclidean
from isckit.losses.objective import gathered, mean_where


def batch_hard(rows: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean of softplus(farthest positive - nearest negative) over the global batch; (n, d) rows as they are.

    Rows without another of their label, or without one of another, count with a positive distance of 0, or not at all.
    """
    same = labels[:, None] == gathered(labels)
    distances = euclidean(rows, gathered(rows))
    farthest = distances.masked_fill(~same, -torch.inf).amax(1)
    nearest = distances.masked_fill(same, torch.inf).amin(1)
    return mean_where(F.softplus(farthest - nearest), ~same.all(1))
