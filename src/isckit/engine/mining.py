"""Offline mining: the train images that an edited copy takes for its own (Parajuli, ISC2021)."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from tqdm import tqdm

from isckit import config
from isckit.data.training import StageImages
from isckit.engine.distributed import Process, has_bf16
from isckit.engine.loading import Epoch, loader
from isckit.models.network import EmbeddingNetwork
from isckit.runs.artifacts import atomic

_EPOCH = 1_000_000
"""Number of the epoch that draws the edits of centroids: apart from those of training."""


def class_centroids(
    network: EmbeddingNetwork,
    stage: config.Stage,
    images: StageImages,
    *,
    seed: int,
    process: Process,
    workers: int,
) -> torch.Tensor:
    """Return (classes, dim) float32 on the device of `process`: each anchor's mean over one plain and several edited
    views.
    """
    assert isinstance(stage.loss, config.ArcFace)
    views = ("eval",) + (stage.views[0],) * stage.loss.centroid_views
    count = len(images.anchors)
    centroids = torch.zeros(count, network.dim, device=process.device)
    found = torch.zeros(count, 1, device=process.device)
    for labels, embeddings in anchor_views(
        network, stage, images, views=views, seed=seed, process=process, workers=workers, title="centroids"
    ):
        found[labels] = 1
        centroids[labels] = embeddings.mean(1)
    if process.world > 1:
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
    process: Process,
    workers: int,
    title: str,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Return embeddings of views of all train images of a stage, in evaluation mode, this process's part of each batch.

    Yields the numbers of the anchors (b,), and their embeddings (b, views, dim).
    """
    count, size = len(images.anchors), stage.image_size or network.settings.image_size
    # Whole batches only: the last one begins anew.
    rows = np.resize(np.arange(count), -(-count // stage.batch_images) * stage.batch_images)
    plain = config.replace(stage.data, negatives="none", negatives_per_anchor=0)
    described = config.replace(stage, views=views, on_device="", data=plain)
    epoch = Epoch(described, images, seed, _EPOCH, rows, np.zeros((len(rows), 0), np.int64))
    batches = loader(epoch, size=size, process=process, workers=workers)
    training = network.training
    network.eval()
    amp = stage.amp and has_bf16(process.device)
    with torch.inference_mode(), torch.autocast(process.device.type, torch.bfloat16, enabled=amp):
        for item in tqdm(batches, f"{title} {stage.name}", unit="batch", disable=not process.first):
            embeddings = network(item.pixels.to(process.device))
            labels = item.labels.view(-1, len(views))[:, 0].to(process.device)
            yield labels, embeddings.view(-1, len(views), network.dim)
    network.train(training)


log = logging.getLogger(__name__)

MINED = "mined.npy"
_BLOCK = 1_024


def with_mined(
    network: EmbeddingNetwork,
    settings: config.Network,
    number: int,
    images: StageImages,
    *,
    folder: Path,
    seed: int,
    process: Process,
    workers: int,
) -> StageImages:
    """Return stage's images with its mined anchors and their negatives, together with those of earlier mined stages.

    What a stage mines is left in `folder`: a resumed training goes on with it. Where nothing was ever mined, the images
    stay as they are, and their negatives are drawn at random.
    """
    stages = [stage for stage in settings.stages[: number + 1] if stage.data.negatives == "mined"]
    paths = [folder / f"{stage.name}.{MINED}" for stage in stages]
    if not paths[-1].is_file():
        found = confusions(network, stages[-1], images, seed=seed, process=process, workers=workers)
        if process.first:
            with atomic(paths[-1]) as temporary, temporary.open("wb") as handle:
                np.save(handle, found, allow_pickle=False)
    process.barrier()
    rounds = [np.load(path, allow_pickle=False) for path in paths]
    pairs = np.unique(np.concatenate(rounds), axis=0)
    log.info("mined %d confusions, %d with those of earlier stages", len(rounds[-1]), len(pairs))
    return dataclasses.replace(images, anchors=pairs[:, 0], own=pairs[:, 1]) if len(pairs) else images


def confusions(
    network: EmbeddingNetwork, stage: config.Stage, images: StageImages, *, seed: int, process: Process, workers: int
) -> np.ndarray:
    """Return (p, 2) rows of train: an image, and another that is nearest to an edited copy of it (the stage's first
    view).
    """
    count = len(images.anchors)
    tables = torch.zeros(2, count, network.dim, device=process.device)
    found = torch.zeros(count, 1, device=process.device)
    for labels, embeddings in anchor_views(
        network,
        stage,
        images,
        views=(stage.views[0], "eval"),
        seed=seed,
        process=process,
        workers=workers,
        title="mine",
    ):
        found[labels] = 1
        tables[:, labels] = embeddings.transpose(0, 1).float()
    if process.world > 1:
        for table in (tables, found):
            dist.all_reduce(table)
    edited, plain = tables / found  # an image that fills up the last batch may be embedded by two processes
    nearest = torch.cat([(block @ plain.T).argmax(1) for block in edited.split(_BLOCK)]).cpu().numpy()
    wrong = np.flatnonzero(nearest != np.arange(count))
    return np.stack([images.anchors[wrong], images.anchors[nearest[wrong]]], axis=1)
