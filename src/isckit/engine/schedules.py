"""Learning-rate schedules: pure functions of the epoch and, for "plateau", of the losses so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

from isckit import config

NEW_BEST = 1e-4
"""A loss is a new best when it is lower than the best by this share of it (torch's ReduceLROnPlateau)."""


def factor(settings: config.Optim, epoch: float, *, epochs: int, losses: Sequence[float]) -> float:
    """Factor of the learning rate at a fractional epoch in [0, epochs].

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
    """How often more than `patience` epochs in a row went by without a new best; the count starts anew after a cut."""
    best, waited, cuts = math.inf, 0, 0
    for loss in losses:
        if loss < best - NEW_BEST * abs(best) or math.isinf(best):
            best, waited = loss, 0
        else:
            waited += 1
        if waited > patience:
            cuts, waited = cuts + 1, 0
    return cuts
