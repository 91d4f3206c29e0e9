"""Optimisers: those of torch, and timm's LARS."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from isckit import config


def optimiser(modules: Iterable[nn.Module], settings: config.Optim) -> torch.optim.Optimizer:
    """An optimiser of all parameters that want a gradient; the modules must be on their device already.

    Biases, norms, gains and other parameters along one axis get no weight decay. adam: decay as L2 in the gradient;
    adamw: decoupled (Loshchilov & Hutter 2019). lars: for matrices and convolutions the gradient and its decay times
    trust * |w| / (|g| + decay * |w|), then momentum and learning rate (You, Gitman & Ginsburg 2017); SGD for the rest.
    """
    parameters = dict.fromkeys(p for module in modules for p in module.parameters() if p.requires_grad)
    matrices: dict[str, Any] = {"params": [p for p in parameters if not _one_axis(p)]}
    others: dict[str, Any] = {"params": [p for p in parameters if _one_axis(p)], "weight_decay": 0.0}
    groups = [matrices, others]
    lr, decay, momentum = settings.lr, settings.weight_decay, settings.momentum
    # The fused kernels give the same bits with any number of threads, in a third of the time.
    if settings.name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, weight_decay=decay, fused=True)
    if settings.name == "adam":
        return torch.optim.Adam(groups, lr=lr, weight_decay=decay, fused=True)
    if settings.name == "sgd":
        return torch.optim.SGD(groups, lr=lr, weight_decay=decay, momentum=momentum, fused=True)
    from timm.optim import Lars

    # timm leaves out the trust ratio where a group has no decay, unless told otherwise.
    matrices["always_adapt"] = True
    return Lars(groups, lr=lr, weight_decay=decay, momentum=momentum, trust_coeff=settings.trust)


def _one_axis(parameter: torch.Tensor) -> bool:
    """Whether at most one axis is longer than 1, as in a bias (C,) or the gain (C, 1, 1, 1) of a convolution."""
    return parameter.numel() == max(parameter.shape, default=1)
