"""Objectives by the settings of a stage's loss: the one place that knows all of them."""

from __future__ import annotations

from typing import Any

from torch import nn

from isckit import config
from isckit.losses.arcface import ArcFaceObjective
from isckit.losses.barlow_twins import BarlowTwinsObjective
from isckit.losses.compatibility import CompatibilityObjective
from isckit.losses.contrastive import ContrastiveObjective, InfoNceObjective
from isckit.losses.momentum_teacher import MomentumTeacherObjective
from isckit.losses.ntxent import NtXentObjective
from isckit.losses.objective import Objective
from isckit.losses.triplet import TripletObjective
from isckit.losses.two_heads import TwoHeadsObjective


def build(
    settings: config.Loss, network: Any, *, classes: int, batch_rows: int, anchor: nn.Module | None = None
) -> Objective:
    """Return the objective for outputs of `network`, on the CPU.

    Args:
        settings: the stage's loss.
        network: knows the widths of its outputs: `dim`, `wide_dim`, `pooled_dim`; a teacher starts as a copy of it.
        classes: number of different images that a classifying objective tells apart.
        batch_rows: images of a global batch, all views and negatives counted.
        anchor: the frozen network that `compatibility` draws near to.

    Raises:
        BadInput: a memory that is smaller than a batch.
    """
    match settings:
        case config.Contrastive():
            return ContrastiveObjective(settings, dim=network.dim, batch_rows=batch_rows)
        case config.InfoNce():
            return InfoNceObjective(settings, dim=network.dim, batch_rows=batch_rows)
        case config.NtXent():
            return NtXentObjective(settings)
        case config.ArcFace():
            return ArcFaceObjective(settings, dim=network.dim, classes=classes)
        case config.TwoHeads():
            return TwoHeadsObjective(settings, wide=network.wide_dim, narrow=network.dim, classes=classes)
        case config.BarlowTwins():
            return BarlowTwinsObjective(settings, pooled=network.pooled_dim)
        case config.MomentumTeacher():
            return MomentumTeacherObjective(settings, network)
        case config.Triplet():
            return TripletObjective(settings)
        case config.Compatibility():
            assert anchor is not None, "a stage towards compatibility is given its anchor"
            return CompatibilityObjective(settings, network, anchor=anchor)
