"""The one embedding network: timm backbone -> GeM -> head -> L2, with its input normalisation inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.transforms.v2.functional import InterpolationMode, resize

from isckit import config
from isckit.augment.geometry import square
from isckit.models.backbone import as_map, backbone, freeze, normalisation
from isckit.models.heads import Outputs, ShallowBranches, head
from isckit.models.pooling import pooled_width, pooling
from isckit.types import BadInput
from isckit.views.geometry import View, cut


class EmbeddingNetwork(nn.Module):
    """Images to unit vectors. Mean and std are buffers, so the preprocessing travels with the weights.

    Attributes:
        dim, pooled_dim, wide_dim: widths of the embedding, the pooled features and the head's wide result.

    Raises:
        BadInput: a scale larger than the canvas, or a backbone that cannot be made (see `backbone`).
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, settings: config.Network) -> None:
        super().__init__()
        _refuse_enlarging(settings)
        self.settings = settings
        self.backbone: Any = backbone(settings.backbone)
        for name, values in normalisation(self.backbone, settings.backbone.normalisation).items():
            self.register_buffer(name, 255 * torch.tensor(values).view(1, 3, 1, 1))
        self.still = freeze(self.backbone, settings.backbone)
        self.shallow = ShallowBranches(settings.image_size) if settings.backbone.shallow else None
        shallow_dim = sum(self.shallow.widths) if self.shallow else 0
        self.dim, self.pooled_dim = settings.dim, pooled_width(self.backbone, settings) + shallow_dim
        self.pool = pooling(settings)
        self.head = head(settings.head, pooled_dim=self.pooled_dim, dim=settings.dim, shallow_dim=shallow_dim)
        self.wide_dim = self.head.wide_dim

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """Return the backbone's input of (B, 3, H, W) uint8: mean 0 and deviation 1, grey where the recipe says so."""
        pixels = greyed(images) if self.settings.grey else images.float()
        return ((pixels - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def outputs(self, images: torch.Tensor) -> Outputs:
        """Return everything that a loss may ask for, of (B, 3, S, S) uint8."""
        x = self.normalised(images)
        tokens = self.backbone.forward_features(x)
        features = as_map(self.backbone, tokens)
        pooled = tokens[:, 0].float() if self.settings.pooling == "token" else self.pool(features)
        if self.shallow is not None:
            pooled = torch.cat([pooled, self.shallow(x)], dim=1)
        narrow, wide = self.head(pooled)
        return Outputs(F.normalize(narrow.float(), dim=-1), narrow, wide, pooled, features)

    def train(self, mode: bool = True) -> EmbeddingNetwork:
        """Set the mode, but leave frozen parts of the backbone in evaluation mode: their statistics do not move."""
        super().train(mode)
        for name in self.still:
            self.backbone.get_submodule(name).eval()
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (B, dim) float32, L2-normalised, of (B, 3, S, S) uint8."""
        return self.outputs(images).embedding

    def prepare(self, image: np.ndarray, views: tuple[View, ...]) -> np.ndarray:
        """Return the canvas that every view is cut from, (3, C, C) uint8, aspect ignored, of (H, W, 3) uint8."""
        return np.ascontiguousarray(square(image, self.settings.canvas).transpose(2, 0, 1))

    def embed(self, prepared: torch.Tensor, views: tuple[View, ...]) -> torch.Tensor:
        """Return (B, V, dim) float32 of (B, 3, C, C) uint8."""
        return torch.stack([self._embed_view([cut(prepared, view)]) for view in views], dim=1)

    def embed_found(self, prepared: torch.Tensor, owners: Sequence[int], views: Sequence[View]) -> torch.Tensor:
        """Return (N, dim) float32 of N views of the images `owners` among (B, 3, C, C) uint8."""
        cuts = [cut(prepared[owner, None], view) for owner, view in zip(owners, views, strict=True)]
        return self._embed_view(cuts)

    def _embed_view(self, cuts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return (sum of B, dim) of pictures (B, 3, h, w) uint8, of any sizes.

        Each is the direction of the sum of its unit vectors at all scales, mirrored ones included.
        """
        parts = []
        for size in self.settings.scales or (self.settings.image_size,):
            side, how = [size, size], InterpolationMode.BICUBIC
            sized = [resize(pictures, side, interpolation=how, antialias=True) for pictures in cuts]
            pictures = sized[0] if len(sized) == 1 else torch.cat(sized)
            parts.append(self(pictures))
            if self.settings.flip:
                parts.append(self(pictures.flip(-1)))
        return F.normalize(torch.stack(parts).sum(0), dim=-1)


def greyed(images: torch.Tensor) -> torch.Tensor:
    """Return (B, 3, H, W) as three equal channels of float32: BT.601's luma, in whole levels as in a grey file."""
    luma = images.new_tensor((0.299, 0.587, 0.114), dtype=torch.float32).view(3, 1, 1)
    return (images.float() * luma).sum(1, keepdim=True).round().expand(-1, 3, -1, -1)


def _refuse_enlarging(settings: config.Network) -> None:
    if max(settings.scales, default=0) > settings.canvas:
        raise BadInput(
            seen=f"member {settings.name}: scales {settings.scales} from a canvas of {settings.canvas} pixels",
            allowed="scales that are not larger than the canvas, from which all views are cut",
            remedy=f"set canvas to {max(settings.scales)} or more, or leave the larger scales out",
        )
