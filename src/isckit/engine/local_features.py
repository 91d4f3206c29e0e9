"""Local features of whole images, aspect kept, and the visual words next to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import Dataset

from isckit.augment.geometry import resize
from isckit.data.datasets import Substitute, opened
from isckit.data.image_sets import ImageSet
from isckit.data.loaders import Loader
from isckit.engine.distributed import Process
from isckit.models.backbone import as_map
from isckit.models.network import EmbeddingNetwork
from isckit.models.pooling import smoothed, strengths

_ROWS = 1_024


class Described(NamedTuple):
    """Local features (n, dim) float32 of one image, on the device; `reason` says why it is broken, if it is."""

    row: int
    features: torch.Tensor
    reason: str


class _Whole(Dataset):
    """Images as (3, H, W) uint8, the longer side at most `longest`; decoded once, by a loader worker."""

    def __init__(self, images: ImageSet, rows: np.ndarray, longest: int, substitute: Substitute | None) -> None:
        self.images, self.rows, self.longest, self.substitute = images, rows, longest, substitute

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> tuple[int, torch.Tensor, str]:
        row = int(self.rows[position])
        image, reason = opened(self.images, row, self.substitute)
        return row, torch.from_numpy(reduced(image, self.longest)).permute(2, 0, 1).contiguous(), reason


def reduced(image: np.ndarray, longest: int) -> np.ndarray:
    """Return (H, W, 3) with the longer side at most `longest` pixels, aspect kept; never enlarged."""
    factor = longest / max(image.shape[:2])
    if factor >= 1:
        return image
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    return resize(image, height, width)


def local_features(
    network: EmbeddingNetwork, image: torch.Tensor, *, scales: Sequence[float], count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the strongest local features of one image over all scales; they are not set to unit length.

    Args:
        network: with a head that takes pooled features one by one, in evaluation mode.
        image: (1, 3, H, W) uint8, on the network's device. One at a time: aspects stay, no image changes another.
        scales: factors of its sides; resized without antialiasing, as published.
        count: features kept, by strength.

    Returns:
        (n, dim) float32, and their strengths (n,), descending.
    """
    pixels = network.normalised(image)
    features, found = [], []
    for scale in scales:
        size = [max(1, int(side * scale)) for side in pixels.shape[-2:]]
        resized = pixels if scale == 1 else F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
        raw = as_map(network.backbone, network.backbone.forward_features(resized))
        features.append(smoothed(raw)[0].flatten(1).T)
        found.append(strengths(raw).flatten())
    ordered, order = torch.sort(torch.cat(found), descending=True, stable=True)
    narrow, _ = network.head(torch.cat(features)[order[:count]])
    return narrow.float(), ordered[:count]


def describe_locally(
    network: EmbeddingNetwork,
    images: ImageSet,
    *,
    rows: np.ndarray,
    scales: Sequence[float],
    longest: int,
    count: int,
    process: Process,
    workers: int,
    substitute: Substitute | None = None,
) -> Iterator[Described]:
    """Yield the local features of images, one after the other.

    Args:
        network: in evaluation mode, on the device of `process`.
        rows: of `images`.
        scales, count: see `local_features`.
        longest: pixels that the longer side is reduced to, before the scales.
        substitute: what takes the place of queries.
    """
    dataset = _Whole(images, rows, longest, substitute)
    loader = Loader(dataset, batch_size=None, workers=workers)
    with torch.inference_mode():
        for row, image, reason in loader:
            pixels = image[None].to(process.device, non_blocking=True)
            yield Described(row, local_features(network, pixels, scales=scales, count=count)[0], reason)


def nearest_words(features: torch.Tensor, codebook: torch.Tensor, *, k: int) -> np.ndarray:
    """Return (n, k) int64, the k words of the least Euclidean distance from each feature, the nearest first.

    Args:
        features: (n, d) float32, of one image: what is computed together does not depend on other images.
        codebook: (words, d) float32, on the same device.
    """
    lengths = codebook.square().sum(1)
    parts = [(2 * part @ codebook.T - lengths).topk(k, dim=1).indices for part in features.split(_ROWS)]
    return torch.cat(parts).cpu().numpy()
