"""The one embedding network: timm backbone -> GeM -> linear -> BN -> L2, with its input normalisation inside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.transforms.v2.functional import InterpolationMode, resize

from isckit import config
from isckit.augment.geometry import square
from isckit.models.pooling import GeM
from isckit.storage.checkpoints import read_weights
from isckit.types import BadInput
from isckit.views.geometry import View, cut


class EmbeddingNetwork(nn.Module):
    """Images to unit vectors. Mean and std are buffers, so the preprocessing travels with the weights."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, settings: config.Network) -> None:
        super().__init__()
        self.settings = settings
        self.dim = settings.dim
        self.backbone: Any = _backbone(settings)
        normalisation = _normalisation(self.backbone)
        for name in ("mean", "std"):
            self.register_buffer(name, 255 * torch.tensor(normalisation[name]).view(1, 3, 1, 1))
        self.pool = GeM(settings.gem_p, learnable=settings.gem_learnable)
        self.fc = nn.Linear(self.backbone.num_features, settings.dim, bias=False)
        nn.init.xavier_normal_(self.fc.weight)
        self.bn = nn.BatchNorm1d(settings.dim)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) uint8 -> (B, dim) float32, L2-normalised."""
        x = ((images.float() - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        pooled = self.pool(_as_map(self.backbone, self.backbone.forward_features(x)))
        return F.normalize(self.bn(self.fc(pooled)).float(), dim=-1)

    def prepare(self, image: np.ndarray, views: tuple[View, ...]) -> np.ndarray:
        """(H, W, 3) uint8 -> (3, C, C) uint8: the canvas that every view is cut from, aspect ignored."""
        return np.ascontiguousarray(square(image, self.settings.canvas).transpose(2, 0, 1))

    def embed(self, prepared: torch.Tensor, views: tuple[View, ...]) -> torch.Tensor:
        """(B, 3, C, C) uint8 -> (B, V, dim) float32."""
        size = [self.settings.image_size] * 2
        mode = InterpolationMode.BICUBIC
        return torch.stack(
            [self(resize(cut(prepared, view), size, interpolation=mode, antialias=True)) for view in views], dim=1
        )


def _backbone(settings: config.Network) -> Any:
    """timm backbone without classifier; random, from timm's hub, or strictly from a local file."""
    if settings.pretrained != "hub":
        # Without this timm asks the network even where nothing is to be fetched; must be set before its import.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import timm

    if not timm.is_model(settings.backbone):
        near = timm.list_models(f"*{settings.backbone.split('_')[0]}*")[:5]
        raise BadInput(
            seen=f"backbone {settings.backbone!r}",
            allowed="a timm model name" + (f", such as {', '.join(near)}" if near else ""),
            remedy="correct the recipe's backbone",
        )
    model = timm.create_model(settings.backbone, pretrained=settings.pretrained == "hub", num_classes=0, global_pool="")
    if settings.pretrained not in ("none", "hub"):
        _load_backbone(model, Path(settings.pretrained))
    return model


def _load_backbone(model: Any, path: Path) -> None:
    weights = read_weights(path)
    heads = model.pretrained_cfg.get("classifier") or ()
    prefixes = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))
    result = model.load_state_dict({k: v for k, v in weights.items() if not k.startswith(prefixes)}, strict=False)
    if result.missing_keys or result.unexpected_keys:
        raise BadInput(
            seen=f"{path}: missing {result.missing_keys[:3]}, unexpected {result.unexpected_keys[:3]}",
            allowed="exactly the weights of the recipe's backbone (a classifier may be there)",
            remedy="use the weight file of that timm model",
        )


def _normalisation(model: nn.Module) -> dict[str, tuple[float, ...]]:
    from timm.data import resolve_model_data_config

    return resolve_model_data_config(model)


def _as_map(model: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Feature map (B, C, H, W) of convolutional (NCHW), windowed (NHWC) and token (B, N, C) backbones."""
    if features.ndim == 3:
        return features[:, getattr(model, "num_prefix_tokens", 0) :].transpose(1, 2).unsqueeze(-1)
    if features.shape[1] != model.num_features and features.shape[-1] == model.num_features:
        return features.permute(0, 3, 1, 2)
    return features
