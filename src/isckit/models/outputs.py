"""What a network in training hands to a loss."""

from __future__ import annotations

from typing import NamedTuple

import torch


class Outputs(NamedTuple):
    """What a network in training gives for n images."""

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
