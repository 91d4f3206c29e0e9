"""Batch norms that use running statistics in training too (Momentum^2 Teacher, Li et al. 2021)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from isckit.losses.objective import processes, summed


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
