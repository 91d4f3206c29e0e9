"""Momentum^2 Teacher (Li et al., 2021): BYOL (Grill et al., NeurIPS 2020) with momentum statistics in the teacher."""

from __future__ import annotations

import copy
import math
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from isckit import config
from isckit.losses.objective import Batch, Objective, Parts, exact, processes, summed, two_views
from isckit.models.batch_norm import synchronised
from isckit.models.heads import Outputs


class MomentumStatistics(nn.Module):
    """Makes the batch norms of some modules, which stay theirs, update their statistics before they use them.

    `share` of the new statistics is the batch's: 1 at first, so that the batch's own are used.
    """

    share: torch.Tensor

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.register_buffer("share", torch.ones(()))
        # A tuple, so that the norms are not registered a second time.
        self._norms = tuple(n for module in modules for n in module.modules() if isinstance(n, _BatchNorm))
        for norm in self._norms:
            norm.register_forward_pre_hook(self._update)
        self.use()

    def use(self) -> None:
        """Switch the norms to their running statistics."""
        for norm in self._norms:
            norm.eval()

    @torch.no_grad()
    def _update(self, norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(norm, _BatchNorm) and not norm.training
        assert norm.running_mean is not None and norm.running_var is not None
        values = inputs[0].float()
        axes = [axis for axis in range(values.ndim) if axis != 1]
        variance, mean = torch.var_mean(values, axes, correction=0)
        # Over processes of equal parts: the mean of the means, and of the squares.
        moments = summed(torch.stack([mean, variance + mean.square()])) / processes()[1]
        norm.running_mean.lerp_(moments[0], self.share)
        norm.running_var.lerp_((moments[1] - moments[0].square()).clamp(min=0), self.share)


class MomentumTeacherObjective(Objective):
    """4 - 2 (q1 k2 + q2 k1), q the student's predictions of a view and k the teacher's projections, unit vectors.

    The teacher is a running mean of the student's weights whose momentum rises to 1 by a cosine over the stage.
    Its batch norms use running means of the statistics, from the batch's own at first to frozen ones at the end; or
    those of the batch throughout.
    """

    def __init__(self, settings: config.MomentumTeacher, network: Any) -> None:
        super().__init__()
        self.momentum, self.keeps_teacher = settings.momentum, settings.statistics == "momentum"
        self.projector = _mlp(network.pooled_dim, settings.hidden, settings.width)
        self.predictor = _mlp(settings.width, settings.hidden, settings.width)
        self.teacher = copy.deepcopy(network).requires_grad_(False)
        self.teacher_projector = copy.deepcopy(self.projector).requires_grad_(False)
        slow = (self.teacher, self.teacher_projector) if self.keeps_teacher else ()
        self.statistics = MomentumStatistics(*slow)

    def train(self, mode: bool = True) -> Self:
        """Set the mode, but never let a teacher of momentum statistics take a batch's alone."""
        super().train(mode)
        self.statistics.use()
        return self

    def forward(self, outputs: Outputs, batch: Batch) -> Parts:
        """Return the loss, which has no parts, of exactly two views an anchor."""
        precision = outputs.features.dtype
        mixed = torch.autocast(batch.pixels.device.type, precision, enabled=precision != torch.float32)
        with torch.no_grad(), mixed:
            seen = self.teacher.outputs(batch.pixels)
        return self._distance(outputs, seen)

    @exact
    def _distance(self, student: Outputs, teacher: Outputs) -> Parts:
        """Return the loss of both networks' outputs for the same images."""
        with torch.no_grad():
            k1, k2 = two_views(F.normalize(self.teacher_projector(teacher.pooled.float()), dim=-1))
        q1, q2 = two_views(F.normalize(self.predictor(self.projector(student.pooled.float())), dim=-1))
        return {"loss": (4 - 2 * ((q1 * k2).sum(1) + (q2 * k1).sum(1))).mean()}

    @torch.no_grad()
    def after_step(self, network: nn.Module, *, progress: float) -> None:
        """Move the teacher's weights towards the student's; lower the momentum of its statistics."""
        falling = (1 + math.cos(math.pi * progress)) / 2
        for teacher, student in ((self.teacher, network), (self.teacher_projector, self.projector)):
            for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
                slow.lerp_(fast.to(slow.dtype), (1 - self.momentum) * falling)
        self.statistics.share.fill_(falling)

    def result(self, network: nn.Module) -> nn.Module:
        """Return the network with the teacher's weights and statistics; as it is where these are the batch's."""
        if self.keeps_teacher:
            network.load_state_dict(self.teacher.state_dict())
        return network


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Module:
    """One hidden layer, its batch statistics those of the global batch."""
    layers = (nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, outputs))
    return synchronised(nn.Sequential(*layers))
