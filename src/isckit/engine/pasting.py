"""The items that a detector's epoch draws: train images with others pasted on them, and the boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from isckit import config
from isckit.augment.geometry import square
from isckit.augment.pastes import pasted
from isckit.augment.pipelines import view_rng
from isckit.data.image_sets import ImageSet
from isckit.data.images import decode
from isckit.data.loaders import Loader
from isckit.data.training import Witness
from isckit.engine.distributed import Process
from isckit.engine.loading import Epoch


class LabelledBoxes(NamedTuple):
    """A batch of pictures with the boxes of what was pasted on them.

    Attributes:
        pixels: (B, S, S, 3) uint8.
        boxes: of each (n, 4) float32: left, top, right, bottom as fractions.
        labels: of each (n,) int64, from 1.
    """

    pixels: torch.Tensor
    boxes: list[torch.Tensor]
    labels: list[torch.Tensor]

    def to(self, device: torch.device) -> LabelledBoxes:
        """Return the batch on a device."""
        pixels, *lists = self.pixels.to(device), self.boxes, self.labels
        return LabelledBoxes(pixels, *([part.to(device) for part in parts] for parts in lists))


class PastedImages(Dataset):
    """Item i of an epoch is a function of (seed, epoch, i): neither workers nor an interruption change it."""

    def __init__(
        self,
        train: ImageSet,
        *,
        rows: np.ndarray,
        settings: config.Detector,
        seed: int,
        epoch: int,
        witness: Witness | None = None,
    ) -> None:
        """`rows` are those of the backgrounds in `train`; what is pasted comes from the rest of it."""
        self.train, self.rows, self.settings = train, rows, settings
        self.seed, self.epoch, self.witness = seed, epoch, witness

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        rng, row = view_rng(self.seed, self.epoch, position, 0), int(self.rows[position])
        other = (row + int(rng.integers(1, max(2, len(self.train))))) % len(self.train)  # never the image itself
        settings, size = self.settings.pastes, self.settings.image_size
        found = pasted(self._decoded(row), rng, lambda: self._decoded(other), settings=settings, size=size)
        height, width = found.pixels.shape[:2]
        pixels = square(found.pixels, size)
        if self.witness is not None:
            self.witness.note(self.train.role.value, self.train.ids[[row, other]].tolist(), pixels)
        boxes = (found.boxes / (width, height, width, height)).astype(np.float32)
        return torch.from_numpy(pixels), torch.from_numpy(boxes), torch.from_numpy(found.labels)

    def _decoded(self, row: int) -> np.ndarray:
        return decode(self.train.read(row), name=str(self.train.ids[row]))


def paste_loader(
    epoch: Epoch,
    settings: config.Detector,
    *,
    process: Process,
    workers: int,
    skip: int = 0,
    witness: Path | None = None,
    counted: int = 0,
) -> Loader:
    """Return batches of this process, from step `skip` on; each process takes its part of each global batch.

    Args:
        epoch: what is drawn.
        settings: of the detector.
        process: this one.
        workers: loading processes.
        skip: batches done before an interruption.
        witness: file in which every item is written down; `counted` is the epoch's number there.
    """
    local = process.share(settings.batch_images, "detector.batch_images")
    positions = np.arange(len(epoch.rows)).reshape(-1, process.world, min(local, len(epoch.rows)))
    items = PastedImages(
        epoch.images.training_data.train,
        rows=epoch.images.anchors[epoch.rows],
        settings=settings,
        seed=epoch.seed,
        epoch=epoch.number,
        witness=Witness(witness, counted) if witness else None,
    )
    return Loader(
        items,
        batch_size=local,
        sampler=positions[skip:, process.rank].ravel().tolist(),
        workers=workers,
        collate_fn=together,
    )


def together(items: Sequence[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> LabelledBoxes:
    """Return items as the loader collates them: pictures stacked, boxes and labels in lists."""
    pixels, boxes, labels = zip(*items, strict=True)
    return LabelledBoxes(torch.stack(pixels), list(boxes), list(labels))
