"""The rows of a shard of embeddings: the views of an image stand together, fixed ones first."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch

from isckit import config
from isckit.data.datasets import Order, Prepared, PreparedImages, Substitute, together
from isckit.data.image_sets import ImageSet
from isckit.data.loaders import Loader
from isckit.engine.distributed import Process
from isckit.engine.shards import write_in_shards
from isckit.runs.embeddings import write_embeddings
from isckit.runs.steps import Advance, Output, Writer, shards
from isckit.types import Embeddings, Role
from isckit.views.geometry import View
from isckit.views.table import WHOLE_ONLY, Table, Wanted


class FoundViews(NamedTuple):
    """Views found in a range of images: the image of each, counted from the first, the views, their rows."""

    owners: list[int]
    views: list[View]
    places: np.ndarray


class ViewRows:
    """Space for the vectors of all views of some images.

    Attributes:
        fixed: views of every image.
    """

    def __init__(
        self,
        ids: np.ndarray,
        fixed: tuple[View, ...],
        found: Sequence[tuple[View, ...]],
        *,
        names: tuple[str, ...],
        dim: int,
    ) -> None:
        """`found` are the further views of each image, `names` all that the views may have."""
        self.ids, self.fixed, self.found, self.names = ids, fixed, found, names
        self.starts = np.concatenate([[0], np.cumsum([len(fixed) + len(views) for views in found])]).astype(np.int64)
        self.vectors = np.empty((int(self.starts[-1]), dim), np.float32)

    def put_fixed(self, start: int, vectors: np.ndarray) -> None:
        """Vectors (B, V, dim) of the fixed views of the images from `start` on."""
        places = self.starts[start : start + len(vectors), None] + np.arange(len(self.fixed))
        self.vectors[places] = vectors

    def found_in(self, start: int, stop: int) -> FoundViews:
        """Return all found views of a range of images."""
        owners = [k for k, views in enumerate(self.found[start:stop]) for _ in views]
        views = [view for found in self.found[start:stop] for view in found]
        firsts = self.starts[start:stop] + len(self.fixed)
        places = [np.arange(first, end) for first, end in zip(firsts, self.starts[start + 1 : stop + 1], strict=True)]
        return FoundViews(owners, views, np.concatenate(places))

    def put_found(self, places: np.ndarray, vectors: np.ndarray) -> None:
        """Vectors (N, dim) of found views, by their places."""
        self.vectors[places] = vectors

    def embeddings(self, role: Role) -> Embeddings:
        """Return the rows keyed by (image id, view)."""
        number = {name: k for k, name in enumerate(self.names)}
        fixed = [number[view.name] for view in self.fixed]
        views = [k for found in self.found for k in (*fixed, *(number[view.name] for view in found))]
        ids = np.repeat(self.ids, np.diff(self.starts))
        return Embeddings(role, ids, self.vectors, self.names, np.array(views, np.int16))


class Describer(Protocol):
    """An ensemble member: prepares an image in a loader worker, embeds batches on the device."""

    dim: int

    def prepare(self, image: np.ndarray, views: tuple[View, ...]) -> np.ndarray:
        """(H, W, 3) uint8 -> uint8 array; (V, ...) of a member that is no `DeviceCutter`."""
        ...

    def embed(self, prepared: torch.Tensor, views: tuple[View, ...]) -> torch.Tensor:
        """(B, ...) uint8 -> (B, V, dim) unit float32."""
        ...


@runtime_checkable
class DeviceCutter(Protocol):
    """A member that cuts views on the device, from what was prepared of the whole image."""

    def embed_found(self, prepared: torch.Tensor, owners: Sequence[int], views: Sequence[View]) -> torch.Tensor:
        """(B, ...) uint8, and N views each of the image `owners` names -> (N, dim) unit float32."""
        ...


@dataclass(frozen=True)
class Target:
    """A member, and the views that it describes of an image set.

    Attributes:
        describer: the member.
        wanted: the views described.
        blur: Gaussian radius in pixels of the image as it is, for all images but queries.
    """

    describer: Describer
    wanted: Wanted = WHOLE_ONLY
    blur: float = 0.0


def describe(
    targets: Sequence[Target],
    images: ImageSet,
    *,
    settings: config.Extract,
    process: Process,
    workers: int,
    substitute: Substitute | None = None,
    table: Table | None = None,
) -> Iterator[tuple[list[Embeddings], dict[str, str]]]:
    """Yield the embeddings of all targets, one each, some images at a time, and the broken ones with their reasons.

    Nothing is written. Arguments as of `extract`.
    """
    extraction = _Extraction(targets, images, settings, process, workers, substitute, table)
    for rows in shards(len(images), settings.shard_images):
        yield extraction.describe(np.arange(rows.start, rows.stop), lambda _: None)


def extract(
    targets: Sequence[Target],
    outputs: Sequence[Output],
    images: ImageSet,
    *,
    settings: config.Extract,
    process: Process,
    workers: int,
    substitute: Substitute | None = None,
    table: Table | None = None,
) -> None:
    """Write the embeddings of all targets, shard by shard; what is already there is kept.

    A batch never crosses a shard, so an interrupted run ends in the same bytes as an uninterrupted one.

    Args:
        targets: what is described, one decode of an image for all.
        outputs: a folder for each.
        substitute: what takes the place of queries (`views.overlays.open_overlays`).
        table: what was found in the images, where targets want views that differ from image to image.

    Raises:
        BadInput: broken images under the policy "stop", all of them listed; whole shards before them are kept.
            Substitution in images that are no queries.
        StaleArtifact: a folder holds embeddings made from something else.
    """
    assert table is not None or not any(target.wanted.finds for target in targets)
    extraction = _Extraction(targets, images, settings, process, workers, substitute, table)
    kept = getattr(substitute, "kept", {}).keys()
    write_in_shards(
        images,
        outputs,
        extraction.look,
        title="describe",
        settings=settings,
        process=process,
        more=lambda broken: {"substituted": len((kept & set(images.ids.tolist())) - set(broken))},
    )


@dataclass(frozen=True)
class _Extraction:
    targets: Sequence[Target]
    images: ImageSet
    settings: config.Extract
    process: Process
    workers: int
    substitute: Substitute | None
    table: Table | None

    def look(self, shard: np.ndarray, advance: Advance) -> tuple[list[Writer], dict[str, str]]:
        """Describe a shard, see `write_in_shards`."""
        parts, broken = self.describe(shard, advance)
        return [functools.partial(write_embeddings, embeddings=part) for part in parts], broken

    def describe(self, shard: np.ndarray, advance: Advance) -> tuple[list[Embeddings], dict[str, str]]:
        """Return the embeddings of every target, and the broken images with their reasons."""
        names = tuple(dict.fromkeys(name for target in self.targets for name in target.wanted.names))
        ids = self.images.ids[shard]
        found = [[self._found(target, row) for row in shard.tolist()] for target in self.targets]
        out = [
            ViewRows(ids, target.wanted.fixed, views, names=names, dim=target.describer.dim)
            for target, views in zip(self.targets, found, strict=True)
        ]
        broken: dict[str, str] = {}
        bf16, device, start = self.settings.bf16, self.process.device, 0
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            for batch in self._loader(shard):
                stop = start + len(batch.reasons)
                for k, (target, rows) in enumerate(zip(self.targets, out, strict=True)):
                    self._embed(target.describer, batch, k, rows, start)
                broken |= {str(ids[start + i]): reason for i, reason in enumerate(batch.reasons) if reason}
                advance(stop - start)
                start = stop
        return [rows.embeddings(self.images.role) for rows in out], broken

    def _loader(self, shard: np.ndarray) -> Loader:
        orders = []
        for target in self.targets:
            in_worker = target.wanted.finds and not isinstance(target.describer, DeviceCutter)
            orders.append(
                Order(
                    target.describer,
                    target.wanted.fixed,
                    found=functools.partial(self._found, target) if in_worker else None,
                    blur=target.blur,
                )
            )
        return Loader(
            PreparedImages(self.images, rows=shard, orders=orders, substitute=self.substitute),
            batch_size=self.settings.batch_images,
            workers=self.workers,
            device=self.process.device,
            collate_fn=together,
        )

    def _found(self, target: Target, row: int) -> tuple[View, ...]:
        return target.wanted.found(self.table, row) if self.table is not None and target.wanted.finds else ()

    def _embed(self, member: Describer, batch: Prepared, number: int, rows: ViewRows, start: int) -> None:
        """Embed the views of a batch by one member."""
        device, count = self.process.device, len(batch.reasons)
        whole = batch.whole[number].to(device, non_blocking=True)
        rows.put_fixed(start, member.embed(whole, rows.fixed).float().cpu().numpy())
        found = rows.found_in(start, start + count)
        # Found views go in parts of a batch's size, so that the peak of memory is that of whole images.
        for first in range(0, len(found.views), self.settings.batch_images):
            part = slice(first, first + self.settings.batch_images)
            if isinstance(member, DeviceCutter):
                vectors = member.embed_found(whole, found.owners[part], found.views[part])
            else:
                cuts = batch.found[number]
                assert cuts is not None and len(cuts) == len(found.views)
                cuts = cuts[part][:, None].to(device, non_blocking=True)
                vectors = member.embed(cuts, tuple(found.views[:1]))[:, 0]
            rows.put_found(found.places[part], vectors.float().cpu().numpy())
