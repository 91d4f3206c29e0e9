"""The torch dataset of extraction: decoded and prepared images of any role."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from isckit.data.image_sets import ImageSet
from isckit.data.images import BrokenImage, decode, placeholder
from isckit.types import BadInput, Role


class Preparer(Protocol):
    """What a describer does to one decoded image in the loader worker."""

    def prepare(self, image: np.ndarray, views: Any) -> np.ndarray:
        """(H, W, 3) uint8 -> uint8 array of a shape that is the same for every image."""
        ...


Substitute = Callable[[str, np.ndarray], np.ndarray]
"""Image id and decoded image to what takes its place."""


class PreparedImages(Dataset):
    """Images decoded once and prepared for every member. A broken one becomes grey and brings its reason along.

    `substitute` is for queries alone: of other images the whole is described.
    """

    def __init__(
        self,
        images: ImageSet,
        *,
        rows: np.ndarray,
        members: Sequence[Preparer],
        views: Any,
        substitute: Substitute | None = None,
    ) -> None:
        if substitute is not None and images.role is not Role.QUERY:
            raise BadInput(
                seen=f"parts of images in place of the {images.role} images of {images.name}",
                allowed="substitution in queries only",
                remedy="describe these images as they are",
            )
        self.images, self.rows, self.members, self.views = images, rows, members, views
        self.substitute = substitute

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> tuple[list[torch.Tensor], str]:
        row, reason = int(self.rows[position]), ""
        name = str(self.images.ids[row])
        try:
            image = decode(self.images.read(row), name=name)
            if self.substitute is not None:
                image = self.substitute(name, image)
        except BrokenImage as error:
            image, reason = placeholder(), error.seen
        return [torch.from_numpy(member.prepare(image, self.views)) for member in self.members], reason


def worker_init(_: int) -> None:
    """One thread a loader worker: the workers are the parallelism."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
