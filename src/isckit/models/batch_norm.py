"""Statistics of batch normalisation in training: over groups of a batch, or over the batch of all processes.

Both ways change the layers of a freshly built network in place and leave names, shapes and values of its tensors. Only
the forward pass in training differs; activation and dropout inside timm's layers stay where they are.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm


class _Ghost(_BatchNorm):
    ghost_images: int

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        return torch.cat([super(_Ghost, self).forward(part) for part in x.split(self.ghost_images)])


class _Synchronised(_BatchNorm):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        out = self._normalised(x.to(torch.promote_types(x.dtype, torch.float32))).to(x.dtype)
        for after in ("drop", "act"):  # timm's BatchNormAct2d
            out = getattr(self, after)(out) if hasattr(self, after) else out
        return out

    def _normalised(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise this process's (n, C, ...) by mean and variance over all; gradients flow through both."""
        others = [0, *range(2, x.ndim)]
        shape = [1, -1] + [1] * (x.ndim - 2)
        count = x.new_tensor([x.numel() / x.shape[1]])
        total = all_reduce(torch.cat((x.sum(others), count)))
        mean, images = total[:-1] / total[-1], total[-1].detach()
        centred = x - mean.view(shape)
        variance = all_reduce(centred.square().sum(others)) / images
        self._remember(mean.detach(), variance.detach() * images / (images - 1))
        out = centred * (variance + self.eps).rsqrt().view(shape)
        return out * self.weight.view(shape) + self.bias.view(shape) if self.affine else out

    @torch.no_grad()
    def _remember(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


def with_ghost_batches(module: nn.Module, images: int) -> nn.Module:
    """Return the module with batch statistics over each `images` consecutive rows in training (Hoffer et al. 2017).

    As if the groups came one after the other: the running statistics are updated once a group. The last group is
    smaller where `images` does not divide the batch.
    """
    _become(_Ghost, module, ghost_images=images)
    return module


def synchronised(module: nn.Module) -> nn.Module:
    """Return the module with batch statistics over the batches of all processes in training; alone, as it is.

    On CUDA these are torch's SyncBatchNorm layers, elsewhere (which these refuse) a differentiable all_reduce.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return module
    if any(parameter.is_cuda for parameter in module.parameters()):
        from timm.layers import convert_sync_batchnorm

        return convert_sync_batchnorm(module)
    _become(_Synchronised, module)
    return module


def _become(way: type[_BatchNorm], module: nn.Module, **attributes: int) -> None:
    """Give all batch normalisations (torch's, timm's with activation) the forward pass of `way` before their own."""
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    assert not any(isinstance(layer, _Ghost | _Synchronised | nn.SyncBatchNorm) for layer in layers)
    kinds = {type(layer) for layer in layers}
    variants = {kind: type(way.__name__ + kind.__name__, (way, kind), attributes) for kind in kinds}
    for layer in layers:
        layer.__class__ = variants[type(layer)]
