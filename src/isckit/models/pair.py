"""Networks that see a reference and a query together: one logit, the larger the likelier a copy.

In two steps, so that the work on one image is done once: `describe` an image, `compare` two described ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.transforms.v2.functional import InterpolationMode, resize, rgb_to_grayscale

from isckit import config
from isckit.models.backbone import as_map, backbone, normalisation
from isckit.types import BadInput

_HIDDEN = 64
_STEEPNESS, _USUAL = 10.0, 0.75
"""First values of comparing tokens: rise of the logit with the mean best cosine of a side, and its zero."""


class PairClassifier(nn.Module):
    """Reference and query side by side in one picture (Jeon 2021), or compared token by token, where `tokens` is set.

    Mean and std are buffers, so the preprocessing travels with the weights. The two sides are not interchangeable.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, settings: config.PairNetwork) -> None:
        super().__init__()
        self.settings = settings
        self.backbone: Any = backbone(settings.backbone)
        for name, values in normalisation(self.backbone, settings.backbone.normalisation).items():
            self.register_buffer(name, 255 * torch.tensor(values).view(1, 3, 1, 1))
        width = int(self.backbone.num_features)
        if settings.tokens:
            self.project = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, settings.tokens))
            self.attention = AttendAndCompare(settings.tokens)
        else:
            if hasattr(self.backbone, "set_input_size"):
                self.backbone.set_input_size(img_size=settings.image_size)
            self.logit = nn.Linear(width, 1, bias=False)

    def describe(self, images: torch.Tensor) -> torch.Tensor:
        """Return the input of `compare`: (B, 3, S, S / 2) uint8 halves, or (B, P, tokens) unit tokens."""
        size = self.settings.image_size
        columns = size if self.settings.tokens else size // 2
        small = resize(images, [size, columns], interpolation=InterpolationMode.BILINEAR, antialias=True)
        if self.settings.grey:
            small = rgb_to_grayscale(small, num_output_channels=3)
        if not self.settings.tokens:
            return small
        features = as_map(self.backbone, self.backbone.forward_features(self._normalised(small)))
        return F.normalize(self.project(features.flatten(2).transpose(1, 2)).float(), dim=-1)

    def compare(self, references: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        """Return (B,) float32 logits of described references and queries, one of each a pair."""
        if self.settings.tokens:
            return self.attention(references, queries).float()
        joined = torch.cat([references, queries], dim=-1)
        features = self.backbone.forward_features(self._normalised(joined))
        return self.logit(self._pooled(features))[:, 0].float()

    def forward(self, references: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        """Return (B,) logits of two batches of (B, 3, h, w) uint8 images."""
        return self.compare(self.describe(references), self.describe(queries))

    def train(self, mode: bool = True) -> PairClassifier:
        """Set the mode, but leave batch statistics: a group of look-alikes says nothing of images at large."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def _normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels.float() - self.mean) / self.std

    def _pooled(self, features: torch.Tensor) -> torch.Tensor:
        """Return (B, width): the class token where there is one, else the mean over the picture."""
        prefix: int = getattr(self.backbone, "num_prefix_tokens", 0)
        if features.ndim == 3 and prefix:
            return features[:, 0]
        return as_map(self.backbone, features).mean((2, 3))


class AttendAndCompare(nn.Module):
    """Decomposable attention (Parikh et al. 2016): each token is compared with what it finds in the other image.

    It begins as the mean of each token's best cosine, both ways; all else is learnt on top of that.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(math.log(10.0)))
        self.evidence = nn.Sequential(nn.Linear(width + 1, _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, _HIDDEN), nn.GELU())
        self.logit = nn.Linear(2 * (2 * _HIDDEN + 1), 1)
        nn.init.zeros_(self.logit.weight)
        with torch.no_grad():
            self.logit.weight[0, :: 2 * _HIDDEN + 1] = _STEEPNESS
            self.logit.bias.fill_(-2 * _STEEPNESS * _USUAL)

    def forward(self, references: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        """Return (B,) logits of (B, P, d) and (B, P', d) unit tokens."""
        cosines = references @ queries.transpose(1, 2)
        found = self._found(references, queries, cosines) + self._found(queries, references, cosines.transpose(1, 2))
        return self.logit(torch.cat(found, dim=-1))[:, 0]

    def _found(self, own: torch.Tensor, other: torch.Tensor, cosines: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the mean best cosine (B, 1); mean and largest evidence (B, _HIDDEN)."""
        best = cosines.amax(-1, keepdim=True)
        matched = (cosines * self.sharpness.exp()).softmax(-1) @ other
        # Products of unit vectors' coordinates are of the order of 1 / width.
        evidence = self.evidence(torch.cat([own * matched * own.shape[-1], 4 * best], dim=-1))
        return best.mean(1), evidence.mean(1), evidence.amax(1)


def begin_with(network: PairClassifier, weights: Mapping[str, torch.Tensor]) -> None:
    """Load a member's backbone, keyed "backbone.<parameter>", as the first weights.

    Raises:
        BadInput: it is another backbone.
    """
    own = {k.removeprefix("backbone."): v for k, v in weights.items() if k.startswith("backbone.")}
    expected = network.backbone.state_dict()
    wrong = [k for k in expected.keys() | own.keys() if k not in own or k not in expected]
    wrong += [k for k in expected.keys() & own.keys() if own[k].shape != expected[k].shape]
    if wrong:
        raise BadInput(
            seen=f"backbone of {network.settings.weights_of}: {len(wrong)} tensors do not fit {network.settings.name}: "
            f"{', '.join(sorted(wrong)[:3])}",
            allowed="two backbones of one kind",
            remedy=f"set backbone.name of {network.settings.name} to that of {network.settings.weights_of}",
        )
    network.backbone.load_state_dict(own)


def load_pair(
    settings: config.PairNetwork, weights: Mapping[str, torch.Tensor], *, device: torch.device
) -> PairClassifier:
    """Return a pair network with its weights from a run's table, "<name>.<parameter>", in evaluation mode.

    Raises:
        BadInput: tensors missing, left over or of another shape.
    """
    prefix = f"{settings.name}."
    own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    network = PairClassifier(config.replace(settings, backbone=config.replace(settings.backbone, pretrained="none")))
    expected = network.state_dict()
    wrong = sorted(own.keys() ^ expected.keys()) or [k for k in own if own[k].shape != expected[k].shape]
    if wrong:
        raise BadInput(
            seen=f"weights of {settings.name}: {len(wrong)} tensors missing, unknown or of another shape: {wrong[:3]}",
            allowed="exactly the tensors of the recipe's pair network, keyed <network>.<parameter>",
            remedy="use the recipe that the weights were made with",
        )
    network.load_state_dict(own)
    return network.to(device).eval()
