"""Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019) within a batch, element by element, as SSCD uses them.

An image mixed of two is a copy of both: whatever shares a source with another is its positive (Pizzi et al. 2022).
"""

from __future__ import annotations

import numpy as np
import torch

from isckit import config
from isckit.augment.batched_ops import as_bytes, boxes


@torch.no_grad()
def mix(pixels: torch.Tensor, settings: config.Mix, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix some images with their partners: that of image i is image n - 1 - i, as it was.

    Args:
        pixels: (n, 3, S, S) uint8, on any device.
        settings: how often and how strongly.
        rng: the batch's own; all draws are made on the host.

    Returns:
        (n, 3, S, S) uint8 and (n, n) float32 on the same device: share of each image of the batch in each result; rows
        sum to 1.
    """
    n, device = len(pixels), pixels.device
    chosen = np.flatnonzero(rng.random(n) < settings.probability)
    drawn = torch.from_numpy(_draw(len(chosen), pixels.shape[-1], settings.beta, rng)).to(device)
    own, cut, top, left, height, width = drawn.unbind(1)
    first = torch.from_numpy(chosen).to(device)
    second = n - 1 - first
    foreign = boxes(pixels, top=top, left=left, height=height, width=width)
    kept = torch.where(cut[:, None, None, None] > 0, (~foreign).float(), own[:, None, None, None])
    mixed = pixels.clone()
    mixed[first] = as_bytes(torch.lerp(pixels[second].float(), pixels[first].float(), kept))
    weights = torch.eye(n, device=device)
    weights[first, first] = own
    weights[first, second] += 1 - own  # the middle one of an odd number is its own partner
    return mixed, weights


def overlapping(weights: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Which images share a source: (n, n) bool, the diagonal included.

    Args:
        weights: (n, n) of `mix`.
        labels: (n,) of the images before mixing, equal for copies; an image's sources are those of weight > 0.
    """
    sources = (weights > 0).float()
    same = (labels[:, None] == labels).float()
    return sources @ same @ sources.mT > 0


def _draw(count: int, side: int, beta: float, rng: np.random.Generator) -> np.ndarray:
    """(count, 6) float32: own share, whether by CutMix, and its box: top, left, height, width."""
    own = rng.beta(beta, beta, count)
    cut = rng.random(count) < 0.5
    half = (side * np.sqrt(1 - own)).astype(int)[:, None] // 2
    centre = rng.integers(side, size=(count, 2))
    low, high = np.maximum(centre - half, 0), np.minimum(centre + half, side)
    # A box cut off by the image's edge leaves more of the image than was drawn.
    left_over = 1 - (high - low).prod(1) / side**2
    return np.column_stack([np.where(cut, left_over, own), cut, low, high - low]).astype(np.float32)
