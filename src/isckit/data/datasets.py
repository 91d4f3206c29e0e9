"""Torch datasets over image sets: pairs of augmented views of train images, and prepared images of any role."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from isckit.data.image_sets import ImageSet
from isckit.data.images import BrokenImage, decode, placeholder
from isckit.data.witness import Witness
from isckit.types import RuleViolation

Augmentation = Callable[..., np.ndarray]


class Preparer(Protocol):
    """What a describer does to one decoded image in the loader worker."""

    def prepare(self, image: np.ndarray, views: Any) -> np.ndarray:
        """(H, W, 3) uint8 -> uint8 array of a shape that is the same for every image."""
        ...


class TrainPairs(Dataset):
    """Item i of an epoch: two augmented views of one train image and its number as label.

    A view is a function of (seed, epoch, position in the epoch, view), so neither the number of workers nor an
    interruption changes it. Random transforms of queries or references are refused here (rule: no augmentation).
    """

    def __init__(
        self,
        images: ImageSet,
        *,
        rows: np.ndarray,
        views: Sequence[Augmentation],
        size: int,
        rng: Callable[[int, int], np.random.Generator],
        witness: Witness | None = None,
    ) -> None:
        if not images.role.may_be_fitted_on:
            raise RuleViolation(
                seen=f"augmented training on the {images.role} images of {images.name}",
                allowed="augmentation of train images or of declared external images only",
                remedy="train on the train images",
            )
        self.images, self.rows, self.views, self.size, self.rng = images, rows, views, size, rng
        self.witness = witness

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        row = int(self.rows[position])
        image = self._image(row)
        views, others = [], []
        for number, augment in enumerate(self.views):
            rng = self.rng(position, number)
            others.append(_other(rng, len(self.images), row))
            views.append(augment(image, rng, lambda other=others[-1]: self._image(other), self.size))
        pixels = np.stack(views).transpose(0, 3, 1, 2).copy()
        if self.witness is not None:
            self.witness.note(self.images.role.value, self.images.ids[[row, *others]].tolist(), pixels)
        return torch.from_numpy(pixels), row

    def _image(self, row: int) -> np.ndarray:
        return decode(self.images.read(row), name=str(self.images.ids[row]))


def _other(rng: np.random.Generator, count: int, row: int) -> int:
    """Another image for overlays: never the image itself, unless there is only one."""
    return int((row + 1 + rng.integers(max(1, count - 1))) % count)


class PreparedImages(Dataset):
    """Images decoded once and prepared for every member. A broken one becomes grey and brings its reason along."""

    def __init__(self, images: ImageSet, *, rows: np.ndarray, members: Sequence[Preparer], views: Any) -> None:
        self.images, self.rows, self.members, self.views = images, rows, members, views

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> tuple[list[torch.Tensor], str]:
        row, reason = int(self.rows[position]), ""
        try:
            image = decode(self.images.read(row), name=str(self.images.ids[row]))
        except BrokenImage as error:
            image, reason = placeholder(), error.seen
        return [torch.from_numpy(member.prepare(image, self.views)) for member in self.members], reason


def worker_init(_: int) -> None:
    """One thread a loader worker: the workers are the parallelism."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
