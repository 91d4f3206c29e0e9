"""Offline mining: the train images that an edited copy takes for its own (Parajuli, ISC2021)."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from isckit import config
from isckit.data.material import StageImages
from isckit.engine.centroids import anchor_views
from isckit.engine.distributed import Place
from isckit.models.network import EmbeddingNetwork
from isckit.storage.artifacts import atomic

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
    place: Place,
    workers: int,
) -> StageImages:
    """The stage's images with its mined anchors and their negatives, together with those of earlier mined stages.

    What a stage mines is left in `folder`: a resumed training goes on with it. Where nothing was ever mined, the images
    stay as they are, and their negatives are drawn at random.
    """
    stages = [stage for stage in settings.stages[: number + 1] if stage.data.negatives == "mined"]
    paths = [folder / f"{stage.name}.{MINED}" for stage in stages]
    if not paths[-1].is_file():
        found = confusions(network, stages[-1], images, seed=seed, place=place, workers=workers)
        if place.first:
            with atomic(paths[-1]) as temporary, temporary.open("wb") as handle:
                np.save(handle, found, allow_pickle=False)
    place.barrier()
    rounds = [np.load(path, allow_pickle=False) for path in paths]
    pairs = np.unique(np.concatenate(rounds), axis=0)
    log.info("mined %d confusions, %d with those of earlier stages", len(rounds[-1]), len(pairs))
    return dataclasses.replace(images, anchors=pairs[:, 0], own=pairs[:, 1]) if len(pairs) else images


def confusions(
    network: EmbeddingNetwork, stage: config.Stage, images: StageImages, *, seed: int, place: Place, workers: int
) -> np.ndarray:
    """(p, 2) rows of train: an image, and another that is nearest to an edited copy of it (the stage's first view)."""
    count = len(images.anchors)
    tables = torch.zeros(2, count, network.dim, device=place.device)
    found = torch.zeros(count, 1, device=place.device)
    for labels, embeddings in anchor_views(
        network, stage, images, views=(stage.views[0], "eval"), seed=seed, place=place, workers=workers, title="mine"
    ):
        found[labels] = 1
        tables[:, labels] = embeddings.transpose(0, 1).float()
    if place.world > 1:
        for table in (tables, found):
            dist.all_reduce(table)
    edited, plain = tables / found  # an image that fills up the last batch may be embedded by two processes
    nearest = torch.cat([(block @ plain.T).argmax(1) for block in edited.split(_BLOCK)]).cpu().numpy()
    wrong = np.flatnonzero(nearest != np.arange(count))
    return np.stack([images.anchors[wrong], images.anchors[nearest[wrong]]], axis=1)
