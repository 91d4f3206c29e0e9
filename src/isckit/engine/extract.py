"""Images to embeddings: one decode for all members and views, in shards, resumable, with bounded memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from isckit import config
from isckit.data.datasets import PreparedImages, Substitute, worker_init
from isckit.data.image_sets import ImageSet
from isckit.data.images import stop_message
from isckit.engine.distributed import Place
from isckit.storage.artifacts import ids_digest, is_fresh, read_receipt, write_receipt
from isckit.storage.descriptors import write_embeddings
from isckit.storage.meter import measured
from isckit.types import Embeddings, Role
from isckit.views.geometry import View
from isckit.views.overlays import open_overlays


class Describer(Protocol):
    """An ensemble member: prepares an image in a loader worker, embeds batches on the device."""

    dim: int

    def prepare(self, image: np.ndarray, views: tuple[View, ...]) -> np.ndarray:
        """(H, W, 3) uint8 -> uint8 array."""
        ...

    def embed(self, prepared: torch.Tensor, views: tuple[View, ...]) -> torch.Tensor:
        """(B, ...) uint8 -> (B, V, dim) unit float32."""
        ...


@dataclass(frozen=True)
class Target:
    """One member's embeddings of one image set: who computes them, where they go, what decides their freshness."""

    describer: Describer
    folder: Path
    made_from: Mapping[str, Any]


def extract(
    targets: Sequence[Target],
    images: ImageSet,
    *,
    views: tuple[View, ...],
    settings: config.Extract,
    place: Place,
    workers: int,
    substitution: config.Substitution | None = None,
) -> None:
    """Write the embeddings of all targets, shard by shard; what is already there is kept.

    A batch never crosses a shard, so an interrupted run ends in the same bytes as an uninterrupted one.

    Detected overlays of the `substitution` take the place of queries; other images stay as they are.

    Raises:
        MissingInput: there is no file of detected overlays.
        BadInput: broken images under the policy "stop", all of them listed; whole shards before them are kept. A file
            of overlays with faults.
        StaleArtifact: a folder holds embeddings made from something else.
    """
    if all(is_fresh(t.folder, t.made_from) and read_receipt(t.folder)["facts"]["complete"] for t in targets):
        return
    substitute = open_overlays(substitution) if substitution is not None and images.role is Role.QUERY else None
    for target in targets:
        target.folder.mkdir(parents=True, exist_ok=True)
        write_receipt(target.folder, made_from=target.made_from, facts={"complete": False})
    with measured() as cost:
        broken, described = _write_shards(targets, images, views, settings, place, workers, substitute)
        broken = place.merged(broken)
        described = sum(map(int, place.merged({str(place.rank): str(described)}).values()))
    if broken and settings.on_broken == "stop":
        raise stop_message(sorted(broken.items()))
    if place.first:
        facts = {
            "complete": True,
            "images": len(images),
            "ids": ids_digest(images.ids),
            "role": images.role.value,
            "replaced": sorted(broken),
            "substituted": len(
                (substitute.kept.keys() if substitute else set()) & set(images.ids.tolist()) - set(broken)
            ),
            "cost": cost.record(images=described),
            "device": str(place.device),
            "threads": torch.get_num_threads(),
        }
        for target in targets:
            write_receipt(target.folder, made_from=target.made_from, facts=facts)
    place.barrier()


def _write_shards(
    targets: Sequence[Target],
    images: ImageSet,
    views: tuple[View, ...],
    settings: config.Extract,
    place: Place,
    workers: int,
    substitute: Substitute | None,
) -> tuple[dict[str, str], int]:
    """Write this process's shards that are not there yet: broken images with their reasons, images looked at."""
    broken: dict[str, str] = {}
    described = 0
    rows = np.arange(len(images))
    bar = tqdm(total=len(rows), desc=f"describe {images.name}", unit="img", disable=not place.first)
    for number, start in enumerate(range(0, len(rows), settings.shard_images)):
        shard = rows[start : start + settings.shard_images]
        paths = [target.folder / f"shard-{number:05d}.h5" for target in targets]
        if number % place.world != place.rank or all(path.is_file() for path in paths):
            bar.update(len(shard))
            continue
        vectors, reasons = _describe(targets, images, shard, views, settings, place, workers, substitute, bar)
        broken |= reasons
        described += len(shard)
        if not reasons or settings.on_broken == "replace":
            for path, rows_of_images in zip(paths, vectors, strict=True):
                write_embeddings(path, _keyed(images, shard, views, rows_of_images))
    bar.close()
    return broken, described


def _describe(
    targets: Sequence[Target],
    images: ImageSet,
    shard: np.ndarray,
    views: tuple[View, ...],
    settings: config.Extract,
    place: Place,
    workers: int,
    substitute: Substitute | None,
    bar: tqdm,
) -> tuple[list[np.ndarray], dict[str, str]]:
    """Vectors (images of the shard, views, dim) of every target, and the broken images with their reasons."""
    members = [target.describer for target in targets]
    out = [np.empty((len(shard), len(views), member.dim), np.float32) for member in members]
    dataset = PreparedImages(images, rows=shard, members=members, views=views, substitute=substitute)
    loader = DataLoader(
        dataset,
        batch_size=settings.batch_images,
        num_workers=workers,
        worker_init_fn=worker_init,
        pin_memory=place.device.type == "cuda",
    )
    broken: dict[str, str] = {}
    start = 0
    with torch.inference_mode(), torch.autocast(place.device.type, torch.bfloat16, enabled=settings.bf16):
        for prepared, reasons in loader:
            stop = start + len(reasons)
            for vectors, member, batch in zip(out, members, prepared, strict=True):
                vectors[start:stop] = member.embed(batch.to(place.device, non_blocking=True), views).float().cpu()
            broken |= {str(images.ids[shard[start + i]]): reason for i, reason in enumerate(reasons) if reason}
            bar.update(stop - start)
            start = stop
    return out, broken


def _keyed(images: ImageSet, shard: np.ndarray, views: tuple[View, ...], vectors: np.ndarray) -> Embeddings:
    """Rows keyed by (image id, view): the views of an image stand together."""
    names = tuple(view.name for view in views)
    return Embeddings(
        images.role,
        np.repeat(images.ids[shard], len(views)),
        vectors.reshape(-1, vectors.shape[-1]),
        names,
        np.tile(np.arange(len(views), dtype=np.int16), len(shard)),
    )
