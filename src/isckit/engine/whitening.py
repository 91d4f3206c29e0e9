"""The reduction of HOW's local features before training: their PCA whitening on train images.

Source: Tolias, Jenicek & Chum 2020, and their code: features at scale 1 of 5,000 training images, 1,000 each.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from tqdm import tqdm

from isckit import config
from isckit.data.training import StageImages
from isckit.engine.distributed import Process
from isckit.engine.loading import Epoch, loader
from isckit.models.backbone import as_map
from isckit.models.network import EmbeddingNetwork
from isckit.models.pooling import smoothed, strengths
from isckit.types import BadInput

IMAGES, FEATURES = 5_000, 1_000
"""Images looked at, and the strongest features of each."""
_EPOCH = 1_000_001
"""Number of the epoch that these images are drawn in: apart from those of training."""


def whiten(
    network: EmbeddingNetwork, stage: config.Stage, images: StageImages, *, seed: int, process: Process, workers: int
) -> None:
    """Set the head's layer to x -> L^-1/2 V' (x - m): mean m, largest eigenvalues L and their vectors V of features.

    The images are as training sees them, without edits; every process looks at its part.

    Raises:
        BadInput: features of fewer dimensions than the layer has rows.
    """
    layer = network.head.fc
    assert isinstance(layer, nn.Linear)
    count = min(IMAGES, len(images.anchors))
    rows = np.resize(np.arange(count), -(-count // stage.batch_images) * stage.batch_images)  # whole batches only
    plain = config.replace(stage.data, negatives="none", negatives_per_anchor=0)
    shown = config.replace(stage, views=("eval",), on_device="", data=plain)
    epoch = Epoch(shown, images, seed, _EPOCH, rows, np.zeros((len(rows), 0), np.int64))
    width = network.pooled_dim
    sums = torch.zeros(width + 1, width + 1, dtype=torch.float64, device=process.device)
    training = network.training
    network.eval()
    with torch.inference_mode():
        batches = loader(epoch, size=stage.image_size or network.settings.image_size, process=process, workers=workers)
        for item in tqdm(batches, f"whitening {stage.name}", unit="batch", disable=not process.first):
            x = network.normalised(item.pixels.to(process.device))
            features = _strongest(as_map(network.backbone, network.backbone.forward_features(x)))
            ones = torch.cat([features, torch.ones_like(features[:, :1])], dim=1).double()
            sums += ones.T @ ones
    network.train(training)
    if process.world > 1:
        dist.all_reduce(sums)
    weight, bias = whitening(sums.cpu(), dim=network.dim)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)


def whitening(sums: torch.Tensor, *, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weight (dim, C) and bias (dim,) of the whitening to the `dim` largest principal components.

    Args:
        sums: (C + 1, C + 1) float64, the sum of outer products of the features (C,) with a 1 behind them.

    Raises:
        BadInput: fewer components than `dim` that vary at all.
    """
    mean = sums[-1, :-1] / sums[-1, -1]
    values, vectors = torch.linalg.eigh(sums[:-1, :-1] / sums[-1, -1] - torch.outer(mean, mean))
    values, vectors = values.flip(0)[:dim], vectors.flip(1)[:, :dim]
    varying = int((values > 1e-10 * values[0]).sum())
    if varying < dim:
        raise BadInput(
            seen=f"local features of {varying} dimensions, to be whitened to {dim}",
            allowed="at least as many dimensions, and images of different content",
            remedy=f"set the member's dim={varying} or less, or train on more images",
        )
    # Of the two directions of an eigenvector, the one whose largest part is positive.
    signs = vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
    weight = (vectors * signs).T / values.sqrt()[:, None]
    return weight.float(), -(weight @ mean).float()


def _strongest(maps: torch.Tensor) -> torch.Tensor:
    """(B, C, h, w) -> (B * n, C): the smoothed features at the n = min(FEATURES, h * w) strongest places of each."""
    places = strengths(maps).flatten(1).topk(min(FEATURES, maps.shape[-2] * maps.shape[-1]), dim=1).indices
    features = smoothed(maps).flatten(2).transpose(1, 2)
    return features.gather(1, places[..., None].expand(-1, -1, features.shape[-1])).flatten(0, 1)
