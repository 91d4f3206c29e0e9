"""The torch dataset of a training stage: an anchor's edited views, and its negatives as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from isckit.data.image_sets import ImageSet
from isckit.data.images import decode
from isckit.data.material import StageImages
from isckit.data.witness import Witness

View = Callable[..., np.ndarray]
"""`(image, rng, other, size)` -> (size, size, 3) uint8; `other` fetches a second picture."""
Draw = Callable[[np.random.Generator, int], np.ndarray]
"""`(rng, size)` -> (width,) float32: the parameters of the edits that the device does."""


class Item(NamedTuple):
    """An anchor with what comes with it; m = its views and negatives.

    Attributes:
        pixels: (m, 3, S, S) uint8.
        labels: (m,) int64.
        views: (m,) int64; the number of the view; -1 for negatives.
        tables: (m, width) float32, parameters of the edits on the device; width 0 where there are none.
        plain: (p, 3, S, S) uint8, the anchor as it is; p is 0 where nobody asks for it.
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    views: torch.Tensor
    tables: torch.Tensor
    plain: torch.Tensor


class StageItems(Dataset):
    """Item i of an epoch is a function of (seed, epoch, i): neither workers nor an interruption change it.

    Only train images are edited; queries, references and negatives are resized and no more (rule: no augmentation).
    """

    def __init__(
        self,
        images: StageImages,
        *,
        rows: np.ndarray,
        negatives: np.ndarray,
        views: Sequence[View],
        size: int,
        rng: Callable[[int, int], np.random.Generator],
        raw: View,
        draw: Draw | None = None,
        plain: bool = False,
        witness: Witness | None = None,
    ) -> None:
        """`rows` count in the stage's anchors, `negatives` (items, n) in its pool's set; `raw` only resizes."""
        self.images, self.rows, self.negatives, self.size = images, rows, negatives, size
        self.views, self.rng, self.raw, self.draw = views, rng, raw, draw
        self.plain, self.witness = plain, witness

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Item:
        anchor = int(self.rows[position])
        pixels, labels = self._pair(anchor) if self.images.paired else self._edited(anchor, position)
        count = len(labels)
        tables = self._tables(position, count)
        plain = [self._as_it_is(self.images.material.train, self._train_row(anchor))] if self.plain else []
        for row in self.negatives[position].tolist():
            pixels.append(self._as_it_is(self.images.pool_set, row))
        more = self.images.pool_labels(self.negatives[position]).tolist()
        blank = np.zeros((len(more), tables.shape[1]), np.float32)
        return Item(
            _stacked(pixels, self.size),
            torch.tensor(labels + more),
            torch.tensor([*range(count), *(-1 for _ in more)]),
            torch.from_numpy(np.concatenate([tables, blank])),
            _stacked(plain, self.size),
        )

    def _edited(self, anchor: int, position: int) -> tuple[list[np.ndarray], list[int]]:
        """All edited views of a train image."""
        train, row = self.images.material.train, self._train_row(anchor)
        image, partners = _decoded(train, row), self.images.partners
        views, others = [], []
        for number, augment in enumerate(self.views):
            rng = self.rng(position, number)
            others.append(_other(rng, partners, row))
            views.append(augment(image, rng, lambda other=others[-1]: _decoded(train, other), self.size))
        if self.witness is not None:
            self.witness.note(train.role.value, train.ids[[row, *others]].tolist(), np.stack(views))
        return views, [int(self.images.labels[row])] * len(views)

    def _pair(self, anchor: int) -> tuple[list[np.ndarray], list[int]]:
        """Query and reference of a true pair; both have the label of the reference."""
        material = self.images.material
        assert material.queries is not None and material.references is not None
        query, reference = self.images.anchors[anchor].tolist()
        views = [self._as_it_is(material.queries, query), self._as_it_is(material.references, reference)]
        return views, [len(self.images.labels) + reference] * 2

    def _tables(self, position: int, count: int) -> np.ndarray:
        if self.draw is None or self.images.paired:
            return np.zeros((count, 0), np.float32)
        # Numbers above those of the loader's own views, so that the two kinds of edits draw apart.
        rngs = [self.rng(position, 1_000 + number) for number in range(count)]
        return np.stack([self.draw(rng, self.size) for rng in rngs])

    def _train_row(self, anchor: int) -> int:
        return int(self.images.anchors[anchor])

    def _as_it_is(self, images: ImageSet, row: int) -> np.ndarray:
        pixels = self.raw(_decoded(images, row), None, None, self.size)
        if self.witness is not None:
            self.witness.note(images.role.value, [str(images.ids[row])], pixels)
        return pixels


def together(items: Sequence[Item]) -> Item:
    """Items one after the other, as the loader collates them."""
    return Item(*map(torch.cat, zip(*items, strict=True)))


def _decoded(images: ImageSet, row: int) -> np.ndarray:
    return decode(images.read(row), name=str(images.ids[row]))


def _stacked(pixels: list[np.ndarray], size: int) -> torch.Tensor:
    if not pixels:
        return torch.zeros((0, 3, size, size), dtype=torch.uint8)
    return torch.from_numpy(np.stack(pixels).transpose(0, 3, 1, 2).copy())


def _other(rng: np.random.Generator, partners: np.ndarray, row: int) -> int:
    """Another image for overlays: never the image itself, unless there is only one."""
    at = int(rng.integers(len(partners)))
    return int(partners[at] if partners[at] != row else partners[(at + 1) % len(partners)])
