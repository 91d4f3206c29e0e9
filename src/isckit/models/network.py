"""The one embedding network: timm backbone -> GeM -> head -> L2, with its input normalisation inside."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.transforms.v2.functional import InterpolationMode, resize

from isckit import config
from isckit.augment.geometry import square
from isckit.models.backbone import as_map, backbone, normalisation
from isckit.models.heads import head
from isckit.models.outputs import Outputs
from isckit.models.pooling import GeM
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
        self.dim, self.pooled_dim = settings.dim, int(self.backbone.num_features)
        self.pool = GeM(settings.gem_p, learnable=settings.gem_learnable, at_test=settings.gem_p_at_test)
        self.head = head(settings.head, pooled_dim=self.pooled_dim, dim=settings.dim)
        self.wide_dim = self.head.wide_dim

    def outputs(self, images: torch.Tensor) -> Outputs:
        """(B, 3, S, S) uint8 -> everything that a loss may ask for."""
        x = ((images.float() - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        features = as_map(self.backbone, self.backbone.forward_features(x))
        pooled = self.pool(features)
        narrow, wide = self.head(pooled)
        return Outputs(F.normalize(narrow.float(), dim=-1), narrow, wide, pooled, features)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) uint8 -> (B, dim) float32, L2-normalised."""
        return self.outputs(images).embedding

    def prepare(self, image: np.ndarray, views: tuple[View, ...]) -> np.ndarray:
        """(H, W, 3) uint8 -> (3, C, C) uint8: the canvas that every view is cut from, aspect ignored."""
        return np.ascontiguousarray(square(image, self.settings.canvas).transpose(2, 0, 1))

    def embed(self, prepared: torch.Tensor, views: tuple[View, ...]) -> torch.Tensor:
        """(B, 3, C, C) uint8 -> (B, V, dim) float32."""
        return torch.stack([self._embed_view(cut(prepared, view)) for view in views], dim=1)

    def _embed_view(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, h, w) uint8 -> (B, dim): direction of the sum of the unit vectors of all scales, and mirrored ones."""
        parts = []
        for size in self.settings.scales or (self.settings.image_size,):
            square_images = resize(images, [size, size], interpolation=InterpolationMode.BICUBIC, antialias=True)
            parts.append(self(square_images))
            if self.settings.flip:
                parts.append(self(square_images.flip(-1)))
        return F.normalize(torch.stack(parts).sum(0), dim=-1)


def _refuse_enlarging(settings: config.Network) -> None:
    if max(settings.scales, default=0) > settings.canvas:
        raise BadInput(
            seen=f"member {settings.name}: scales {settings.scales} from a canvas of {settings.canvas} pixels",
            allowed="scales that are not larger than the canvas, from which all views are cut",
            remedy=f"set canvas to {max(settings.scales)} or more, or leave the larger scales out",
        )
