"""Images to keypoints: in loader workers, in shards, resumable, with bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from isckit import config
from isckit.data.datasets import Substitute, opened, worker_init
from isckit.data.image_sets import ImageSet
from isckit.data.images import stop_message
from isckit.engine.distributed import Place
from isckit.matching.local.keypoints import Points, extract
from isckit.matching.local.store import Block, write_block
from isckit.storage.artifacts import ids_digest, is_fresh, read_receipt, write_receipt
from isckit.storage.meter import measured


class _Pictures(Dataset):
    """Images decoded and described, with the reason where one is broken."""

    def __init__(
        self, images: ImageSet, rows: np.ndarray, keypoints: config.Keypoints, take: Substitute | None, flipped: bool
    ) -> None:
        self.images, self.rows, self.keypoints, self.take, self.flipped = images, rows, keypoints, take, flipped

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> tuple[Points, str]:
        image, reason = opened(self.images, int(self.rows[position]), self.take)
        return extract(cv2.flip(image, 1) if self.flipped else image, self.keypoints), reason


def extract_keypoints(
    images: ImageSet,
    folder: Path,
    *,
    keypoints: config.Keypoints,
    flipped: bool,
    made_from: Mapping[str, Any],
    settings: config.Extract,
    take: Substitute | None,
    place: Place,
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
    if is_fresh(folder, made_from) and read_receipt(folder)["facts"]["complete"]:
        return
    folder.mkdir(parents=True, exist_ok=True)
    if place.first:
        write_receipt(folder, made_from=made_from, facts={"complete": False})
    broken: dict[str, str] = {}
    with measured() as cost:
        bar = tqdm(total=len(images), desc=f"keypoints {images.name}", unit="img", disable=not place.first)
        for number, start in enumerate(range(0, len(images), settings.shard_images)):
            rows = np.arange(start, min(len(images), start + settings.shard_images))
            path = folder / f"shard-{number:05d}.h5"
            if number % place.world == place.rank and not path.is_file():
                points, reasons = _described(_Pictures(images, rows, keypoints, take, flipped), workers, bar)
                broken |= reasons
                if not reasons or settings.on_broken == "replace":
                    write_block(path, Block.of(images.ids[rows], points))
            else:
                bar.update(len(rows))
        bar.close()
        broken = place.merged(broken)
    if broken and settings.on_broken == "stop":
        raise stop_message(sorted(broken.items()))
    place.barrier()
    if place.first:
        facts = {
            "complete": True,
            "images": len(images),
            "ids": ids_digest(images.ids),
            "role": images.role.value,
            "replaced": sorted(broken),
            "cost": cost.record(images=len(images)),
            "threads": torch.get_num_threads(),
        }
        write_receipt(folder, made_from=made_from, facts=facts)
    place.barrier()


def _described(pictures: _Pictures, workers: int, bar: tqdm) -> tuple[list[Points], dict[str, str]]:
    """The points of every picture, and the broken images with their reasons."""
    found, broken = [], {}
    loader = DataLoader(pictures, batch_size=None, num_workers=workers, worker_init_fn=worker_init)
    for row, (points, reason) in zip(pictures.rows.tolist(), loader, strict=True):
        found.append(points)
        if reason:
            broken[str(pictures.images.ids[row])] = reason
        bar.update()
    return found, broken
