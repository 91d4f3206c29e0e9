"""Fisher vectors of RootSIFT, reduced by PCA: they recognise content wherever it stands and however it is turned.

Sources: Perronnin, Sanchez & Mensink, "Improving the Fisher Kernel for Large-Scale Image Classification" (ECCV 2010);
Jegou et al., "Aggregating Local Image Descriptors into Compact Codes" (PAMI 2012), for PCA of descriptors before and of
vectors after.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from isckit import config
from isckit.features.sift import RootSift, mirrored_descriptors
from isckit.views.geometry import View

SIFT = RootSift.width
_PLACE = 2**16 - 1
"""Places are fractions of the image in 16 bits."""
_MIRROR = torch.from_numpy(mirrored_descriptors(np.arange(SIFT)[None])[0].copy())
_CHUNK = 32
"""Views whose statistics are summed at a time: bounds the memory, (views, points, Gaussians)."""


class FisherDescriber(nn.Module):
    """Fisher vectors as an ensemble member: points are found once in the whole image, a view is those inside it.

    A quarter turn changes no point's descriptor, a mirror permutes its values: no view costs a second pass.
    """

    mean: torch.Tensor
    axes: torch.Tensor
    shares: torch.Tensor
    means: torch.Tensor
    deviations: torch.Tensor
    centre: torch.Tensor
    components: torch.Tensor

    def __init__(self, settings: config.Fisher) -> None:
        super().__init__()
        self.settings, self.dim = settings, settings.dim
        words, reduced = settings.words, settings.reduced
        shapes = {
            "mean": (SIFT,),
            "axes": (SIFT, reduced),
            "shares": (words,),
            "means": (words, reduced),
            "deviations": (words, reduced),
            "centre": (words * reduced,),
            "components": (words * reduced, settings.dim),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.ones(shape))

    def prepare(self, image: np.ndarray, views: tuple[View, ...]) -> np.ndarray:
        """Return (points, 132) uint8 of (H, W, 3): RootSIFT, then x and y as fractions in 16 bits; zeros: none."""
        (points,) = RootSift(self.settings.keypoints).detect([image])
        height, width = image.shape[:2]
        part = np.sqrt(points.area / (height * width))
        places = points.frames[:, :2] / (part * np.array([width, height], np.float32))
        out = np.zeros((self.settings.keypoints.points, SIFT + 4), np.uint8)
        out[: len(points), :SIFT] = points.descriptors
        out[: len(points), SIFT:] = (places.clip(0, 1) * _PLACE).astype("<u2").view(np.uint8)
        return out

    def embed(self, prepared: torch.Tensor, views: tuple[View, ...]) -> torch.Tensor:
        """Return (B, V, dim) float32, L2-normalised, of (B, points, 132) uint8."""
        owners = [image for image in range(len(prepared)) for _ in views]
        return self.embed_found(prepared, owners, views * len(prepared)).unflatten(0, (len(prepared), len(views)))

    def embed_found(self, prepared: torch.Tensor, owners: Sequence[int], views: Sequence[View]) -> torch.Tensor:
        """Return (N, dim) float32, L2-normalised, of N views of the images `owners` among (B, points, 132) uint8.

        A view without points gets the direction of an empty Fisher vector.
        """
        with torch.autocast(prepared.device.type, enabled=False):
            vectors = (self.fisher_vectors(prepared, owners, views) - self.centre) @ self.components
            return functional.normalize(vectors, dim=-1)

    def fisher_vectors(self, prepared: torch.Tensor, owners: Sequence[int], views: Sequence[View]) -> torch.Tensor:
        """Return (N, words * reduced) float32: gradients by the means, signed roots, then L2; zero without points."""
        device = prepared.device
        places = _places(prepared[..., SIFT:])
        there = (prepared[..., :SIFT] > 0).any(-1)
        tables = {mirror: self._soft(prepared[..., :SIFT], mirror=mirror) for mirror in {v.mirror for v in views}}
        out = torch.empty(len(views), self.means.numel(), device=device)
        for mirror, (x, posterior) in tables.items():
            chosen = [n for n, view in enumerate(views) if view.mirror == mirror]
            for first in range(0, len(chosen), _CHUNK):
                part = chosen[first : first + _CHUNK]
                images = torch.tensor([owners[n] for n in part], device=device)
                boxes = torch.tensor([views[n].box for n in part], device=device)
                inside = there[images] & _inside(places[images], boxes)
                weights = posterior[images] * inside[..., None]
                out[torch.tensor(part, device=device)] = self._gradients(x[images], weights)
        return out

    def _soft(self, descriptors: torch.Tensor, *, mirror: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Return reduced descriptors (B, P, d) of (B, P, 128) uint8, and their shares of Gaussians (B, P, words)."""
        taken = descriptors[..., _MIRROR.to(descriptors.device)] if mirror else descriptors
        x = (taken.float() / 255 - self.mean) @ self.axes
        precision = self.deviations**-2
        log = x**2 @ (-0.5 * precision).T + x @ (self.means * precision).T
        log = log - 0.5 * (self.means**2 * precision).sum(1) - self.deviations.log().sum(1) + self.shares.log()
        return x, log.softmax(-1)

    def _gradients(self, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        first = weights.transpose(1, 2) @ x - weights.sum(1)[..., None] * self.means
        gradients = (first / self.deviations / self.shares.sqrt()[:, None]).flatten(1)
        return functional.normalize(gradients.sign() * gradients.abs().sqrt(), dim=-1)


def _places(packed: torch.Tensor) -> torch.Tensor:
    """Return x and y as fractions, (..., 2) float32, of (..., 4) uint8."""
    low, high = packed[..., 0::2].float(), packed[..., 1::2].float()
    return (low + 256 * high) / _PLACE


def _inside(places: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Return (N, P) bool: True for points (N, P, 2), x and y, in windows (N, 4): top, left, height and width."""
    first = boxes[:, None, [1, 0]]
    return ((places >= first) & (places <= first + boxes[:, None, [3, 2]])).all(-1)
