"""A pass over an image set that writes shards: divided over the processes, resumable, whole or not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.data.images import stop_message
from isckit.engine.distributed import Place
from isckit.runs.artifacts import ids_digest, is_fresh, read_receipt, write_receipt
from isckit.runs.meter import measured

Look = Callable[[np.ndarray, tqdm], tuple[Callable[[Path], None], dict[str, str]]]
"""Rows of a shard and the bar, to what writes the shard's file, and the broken images among them with their reasons."""


def write_in_shards(
    images: ImageSet,
    folder: Path,
    look: Look,
    *,
    title: str,
    suffix: str,
    made_from: Mapping[str, Any],
    settings: config.Extract,
    place: Place,
) -> None:
    """Write what `look` makes of an image set, shard by shard, then the receipt; what is already there is kept.

    Args:
        folder: of the files shard-*.`suffix` and their receipt.
        look: advances the bar by itself.
        title: of the bar.

    Raises:
        BadInput: broken images under the policy "stop", all of them listed; whole shards before them are kept.
        StaleArtifact: the folder holds what was made from something else.
    """
    if is_fresh(folder, made_from) and read_receipt(folder)["facts"]["complete"]:
        return
    folder.mkdir(parents=True, exist_ok=True)
    if place.first:
        write_receipt(folder, made_from=made_from, facts={"complete": False})
    broken: dict[str, str] = {}
    with measured() as cost:
        bar = tqdm(total=len(images), desc=f"{title} {images.name}", unit="img", disable=not place.first)
        for number, start in enumerate(range(0, len(images), settings.shard_images)):
            rows = np.arange(start, min(start + settings.shard_images, len(images)))
            path = folder / f"shard-{number:05d}.{suffix}"
            if number % place.world != place.rank or path.is_file():
                bar.update(len(rows))
                continue
            write, reasons = look(rows, bar)
            broken |= reasons
            if not reasons or settings.on_broken == "replace":
                write(path)
        bar.close()
        broken = place.merged(broken)
    if broken and settings.on_broken == "stop":
        raise stop_message(sorted(broken.items()))
    if place.first:
        facts = {
            "complete": True,
            "images": len(images),
            "ids": ids_digest(images.ids),
            "role": images.role.value,
            "replaced": sorted(broken),
            "cost": cost.record(images=len(images)),
            "device": str(place.device),
            "threads": torch.get_num_threads(),
        }
        write_receipt(folder, made_from=made_from, facts=facts)
    place.barrier()
