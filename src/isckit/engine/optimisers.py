"""Optimisers: those of torch, and timm's LARS."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from isckit import config

NEW_BEST = 1e-4
"""A loss is a new best when it is lower than the best by this share of it (torch's ReduceLROnPlateau)."""


def factor(settings: config.Optim, epoch: float, *, epochs: int, losses: Sequence[float]) -> float:
    """Return the factor of the learning rate at a fractional epoch in [0, epochs].

    Linear from `warmup_start` to 1 over the warm-up, 1 while held, then by the schedule: cosine or linear down to
    `final` at `epochs`, constant, or plateau, which sees the losses of the epochs after warm-up and hold. With
    per="epoch" the factor is that of the epoch's start. A step's factor is that of its start too, so that with
    `warmup_start` 0 the very first step changes no weights; it moves batch statistics and the optimiser's moments.

    Args:
        settings: the schedule.
        epoch: epochs done, with the part of the running one.
        epochs: length of the schedule.
        losses: mean loss of each epoch done.
    """
    warmup, start = settings.warmup_epochs, settings.warmup_epochs + settings.hold_epochs
    if settings.per == "epoch":
        epoch = math.floor(epoch)
    if epoch < warmup:
        return settings.warmup_start + (1 - settings.warmup_start) * epoch / warmup
    if epoch < start or settings.schedule == "constant":
        return 1.0
    if settings.schedule == "plateau":
        cuts = _cuts(losses[math.ceil(start) :], patience=settings.plateau_patience)
        return max(settings.final, settings.plateau_factor**cuts)
    progress = (epoch - start) / (epochs - start) if epoch < epochs else 1.0
    left = 1 - progress if settings.schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return settings.final + (1 - settings.final) * left


def _cuts(losses: Sequence[float], *, patience: int) -> int:
    """Return how often more than `patience` epochs in a row went by without a new best; the count starts anew after a
    cut.
    """
    best, waited, cuts = math.inf, 0, 0
    for loss in losses:
        if loss < best - NEW_BEST * abs(best) or math.isinf(best):
            best, waited = loss, 0
        else:
            waited += 1
        if waited > patience:
            cuts, waited = cuts + 1, 0
    return cuts


def optimiser(modules: Iterable[nn.Module], settings: config.Optim) -> torch.optim.Optimizer:
    """Return an optimiser of all parameters that want a gradient; the modules must be on their device already.

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
    """Return True if at most one axis is longer than 1, as in a bias (C,) or the gain (C, 1, 1, 1) of a convolution."""
    return parameter.numel() == max(parameter.shape, default=1)
