"""Class weights for a larger set of classes: the mean embedding of each image, clean and edited (drip training).

S-square: 1 clean and 4 edited embeddings, evaluation mode, the mean not renormalised.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader
from tqdm import tqdm

from isckit import config
from isckit.data.material import StageImages
from isckit.engine.distributed import Place, has_bf16
from isckit.engine.loading import Epoch, loader
from isckit.models.network import EmbeddingNetwork

_EPOCH = 1_000_000
"""Number of the epoch that draws the edits of centroids: apart from those of training."""


def class_centroids(
    network: EmbeddingNetwork,
    stage: config.Stage,
    images: StageImages,
    *,
    seed: int,
    place: Place,
    workers: int,
) -> torch.Tensor:
    """(classes, dim) float32 on the device of `place`: each anchor's mean over one plain and several edited views."""
    assert isinstance(stage.loss, config.ArcFace)
    views = ("eval",) + (stage.views[0],) * stage.loss.centroid_views
    count = len(images.anchors)
    centroids = torch.zeros(count, network.dim, device=place.device)
    found = torch.zeros(count, 1, device=place.device)
    for labels, embeddings in anchor_views(
        network, stage, images, views=views, seed=seed, place=place, workers=workers, title="centroids"
    ):
        found[labels] = 1
        centroids[labels] = embeddings.mean(1)
    if place.world > 1:
        for table in (centroids, found):
            dist.all_reduce(table)
    return centroids / found


def anchor_views(
    network: EmbeddingNetwork,
    stage: config.Stage,
    images: StageImages,
    *,
    views: tuple[str, ...],
    seed: int,
    place: Place,
    workers: int,
    title: str,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Embeddings of views of all train images of a stage, in evaluation mode, this process's part of each batch.

    Yields the numbers of the anchors (b,), and their embeddings (b, views, dim).
    """
    count, size = len(images.anchors), stage.image_size or network.settings.image_size
    # Whole batches only: the last one begins anew.
    rows = np.resize(np.arange(count), -(-count // stage.batch_images) * stage.batch_images)
    plain = config.replace(stage.data, negatives="none", negatives_per_anchor=0)
    described = config.replace(stage, views=views, on_device="", data=plain)
    epoch = Epoch(described, images, seed, _EPOCH, rows, np.zeros((len(rows), 0), np.int64))
    batches: DataLoader = loader(epoch, size=size, place=place, workers=workers)
    training = network.training
    network.eval()
    amp = stage.amp and has_bf16(place.device)
    with torch.inference_mode(), torch.autocast(place.device.type, torch.bfloat16, enabled=amp):
        for item in tqdm(batches, f"{title} {stage.name}", unit="batch", disable=not place.first):
            embeddings = network(item.pixels.to(place.device))
            labels = item.labels.view(-1, len(views))[:, 0].to(place.device)
            yield labels, embeddings.view(-1, len(views), network.dim)
    network.train(training)
