"""Images to keypoints: in loader workers, in shards, resumable, with bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch.utils.data import Dataset

from isckit import config
from isckit.data.datasets import Substitute, opened
from isckit.data.image_sets import ImageSet
from isckit.data.loaders import Loader
from isckit.engine.distributed import Process
from isckit.engine.shards import write_in_shards
from isckit.features.kinds import feature_of
from isckit.features.points import LocalFeature, Points
from isckit.features.store import Block, write_block
from isckit.runs.steps import Advance, Output, Writer


class _Pictures(Dataset):
    """Images decoded, and described where that is done in loader workers, with the reason where one is broken."""

    def __init__(
        self, images: ImageSet, rows: np.ndarray, feature: LocalFeature, take: Substitute | None, flipped: bool
    ) -> None:
        self.images, self.rows, self.feature, self.take, self.flipped = images, rows, feature, take, flipped

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> tuple[Points | np.ndarray, str]:
        image, reason = opened(self.images, int(self.rows[position]), self.take)
        image = cv2.flip(image, 1) if self.flipped else image
        return image if self.feature.on_device else self.feature.detect([image])[0], reason


def extract_keypoints(
    images: ImageSet,
    folder: Path,
    *,
    keypoints: config.Keypoints,
    flipped: bool,
    made_from: Mapping[str, Any],
    settings: config.Extract,
    take: Substitute | None,
    process: Process,
    workers: int,
) -> None:
    """Write the keypoints of an image set, shard by shard; what is already there is kept.

    Args:
        folder: of the shards and their receipt.
        flipped: mirror every image before it is described.
        take: gives what is described in place of an image; None for the image itself.

    Raises:
        BadInput: broken images under the policy "stop", all of them listed; whole shards before them are kept.
        StaleArtifact: the folder holds keypoints made from something else.
    """

    feature = feature_of(keypoints)

    def look(rows: np.ndarray, advance: Advance) -> tuple[list[Writer], dict[str, str]]:
        pictures = _Pictures(images, rows, feature, take, flipped)
        points, reasons = _described(pictures, settings.batch_images, workers, process, advance)
        return [lambda path: write_block(path, Block.of(images.ids[rows], points))], reasons

    outputs = [Output(folder, made_from, ".h5")]
    write_in_shards(images, outputs, look, title="keypoints", settings=settings, process=process)


def _described(
    pictures: _Pictures, batch: int, workers: int, process: Process, advance: Advance
) -> tuple[list[Points], dict[str, str]]:
    """Return the points of every picture, and the broken images with their reasons."""
    found: list[Points] = []
    broken: dict[str, str] = {}
    loader = Loader(pictures, batch_size=batch, workers=workers, collate_fn=list)
    for items in loader:
        for row, (_, reason) in zip(pictures.rows[len(found) :].tolist(), items, strict=False):
            if reason:
                broken[str(pictures.images.ids[row])] = reason
        made = [item for item, _ in items]
        found += pictures.feature.detect(made, process.device) if pictures.feature.on_device else made
        advance(len(items))
    return found, broken
