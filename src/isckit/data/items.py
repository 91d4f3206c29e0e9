"""The torch datasets of training: edited anchors with negatives, and groups of look-alikes for pair networks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.data.images import decode
from isckit.data.training import StageImages, Witness
from isckit.types import BadInput, RuleViolation

Edit = Callable[..., np.ndarray]
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
        plain: (p, 3, S, S) uint8, the anchor as it is; p is 0 where the loss does not ask for it.
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    views: torch.Tensor
    tables: torch.Tensor
    plain: torch.Tensor


class StageItems(Dataset):
    """Items of a stage, each a function of (seed, epoch, i): neither workers nor an interruption change it.

    Only train images are edited; queries, references and negatives are resized and no more (rule: no augmentation).
    """

    def __init__(
        self,
        images: StageImages,
        *,
        rows: np.ndarray,
        negatives: np.ndarray,
        views: Sequence[Edit],
        size: int,
        rng: Callable[[int, int], np.random.Generator],
        raw: Edit,
        draw: Draw | None = None,
        plain: bool = False,
        witness: Witness | None = None,
    ) -> None:
        """Take `rows` of the stage's anchors, `negatives` (items, n) of its pool's set; `raw` only resizes."""
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
        plain = [self._as_it_is(self.images.training_data.train, self._train_row(anchor))] if self.plain else []
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
        """Return all edited views of a train image."""
        train, row = self.images.training_data.train, self._train_row(anchor)
        image, partners = _decoded(train, row), self.images.partners
        views, others = [], []
        for number, augment in enumerate(self.views):
            rng = self.rng(position, number)
            others.append(_partner(rng, partners, row))
            views.append(augment(image, rng, lambda other=others[-1]: _decoded(train, other), self.size))
        if self.witness is not None:
            self.witness.note(train.role.value, train.ids[[row, *others]].tolist(), np.stack(views))
        return views, [int(self.images.labels[row])] * len(views)

    def _pair(self, anchor: int) -> tuple[list[np.ndarray], list[int]]:
        """Return query and reference of a true pair; both have the label of the reference."""
        data = self.images.training_data
        assert data.queries is not None and data.references is not None
        query, reference = self.images.anchors[anchor].tolist()
        views = [self._as_it_is(data.queries, query), self._as_it_is(data.references, reference)]
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
    """Return items one after the other, as the loader collates them."""
    return Item(*map(torch.cat, zip(*items, strict=True)))


@dataclass(frozen=True)
class LookAlikes:
    """The nearest images of each train image.

    Attributes:
        rows: (n, k) int, rows of the k nearest train images by descending cosine, the image itself first.
        vectors: (n, d) unit vectors, or None where near-duplicates need not be found.
    """

    rows: np.ndarray
    vectors: np.ndarray | None = None

    def digest(self) -> str:
        """Return the sha256 of the lists."""
        return hashlib.sha256(np.ascontiguousarray(self.rows, "<i4").data).hexdigest()


class Group(NamedTuple):
    """A group of G images, each as a reference and as a query.

    Attributes:
        references, queries: (G, 3, S, S) uint8; the images of the same number belong together.
        counted: (G, G) bool, references by queries: True where a pair counts, as copies of one image always do.
    """

    references: torch.Tensor
    queries: torch.Tensor
    counted: torch.Tensor


def groups_of(stage: config.PairStage, train: ImageSet, look_alikes: LookAlikes) -> np.ndarray:
    """Return (groups, G) rows of train: the anchors from `start` on, in order and around, each with its nearest images.

    Raises:
        RuleViolation: the images may not be edited.
        BadInput: the lists are of other images, or shorter than a group.
    """
    if not train.role.may_be_fitted_on:
        raise RuleViolation(
            seen=f"augmented training on the {train.role} images of {train.name}",
            allowed="augmentation of train images or of declared external images only",
            remedy="train on the train images",
        )
    count, longest = look_alikes.rows.shape
    if count != len(train) or longest < stage.group:
        raise BadInput(
            seen=f"{longest} look-alikes of {count} images, for groups of {stage.group} of {len(train)} images",
            allowed=f"a list of at least {stage.group} for each train image",
            remedy="lower stages.NAME.group, or train on more images",
        )
    anchors = (stage.start + np.arange(stage.groups)) % count
    return np.asarray(look_alikes.rows[anchors, : stage.group], np.int64)


class GroupItems(Dataset):
    """Groups of a stage, each a function of (seed, i): neither workers nor an interruption change it.

    The generator is made anew for each image of a group, so that all have the same crop box, the same background and
    the same colours: only its content distinguishes a copy from a look-alike (Jeon 2021).
    """

    def __init__(
        self,
        train: ImageSet,
        groups: np.ndarray,
        *,
        stage: config.PairStage,
        plain: Edit,
        view: Edit,
        size: int,
        rng: Callable[[int, int], np.random.Generator],
        vectors: np.ndarray | None = None,
        witness: Callable[[int], Witness] | None = None,
    ) -> None:
        """Take `rng` of an item's number and that of a stream, and `witness` of an item's number."""
        self.train, self.groups, self.stage, self.size = train, groups, stage, size
        self.plain, self.view, self.rng, self.vectors, self.witness = plain, view, rng, vectors, witness

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, position: int) -> Group:
        rows = self.groups[position]
        other = self._other(position)
        fetched: list[np.ndarray] = []

        def background() -> np.ndarray:
            if not fetched:
                fetched.append(_decoded(self.train, other))
            return fetched[0]

        sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        for row in rows.tolist():
            image = _decoded(self.train, row)
            for number, (side, edit) in enumerate(zip(sides, (self.plain, self.view), strict=True)):
                side.append(self._edited(image, edit, position, number, background))
            if self.witness is not None:
                pixels = np.stack([side[-1] for side in sides])
                ids = self.train.ids[[row, other]].tolist()
                self.witness(position).note(self.train.role.value, ids, pixels)
        references, queries = (torch.from_numpy(np.stack(side).transpose(0, 3, 1, 2).copy()) for side in sides)
        return Group(references, queries, torch.from_numpy(self._counted(rows)))

    def _edited(
        self, image: np.ndarray, edit: Edit, position: int, number: int, background: Callable[[], np.ndarray]
    ) -> np.ndarray:
        pixels = edit(image, self.rng(position, number), background, self.size)
        if self.rng(position, 2 + number).random() < self.stage.grey:
            luma = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
            pixels = np.repeat(np.rint(luma).astype(np.uint8)[..., None], 3, axis=2)
        return pixels

    def _other(self, position: int) -> int:
        """Draw the one image that is joined to those of a group: none of them, unless there is no other."""
        rest = np.setdiff1d(np.arange(len(self.train)), self.groups[position]) if len(self.train) < 1_000 else None
        draws = self.rng(position, 4)
        if rest is not None:
            return int(draws.choice(rest)) if len(rest) else int(self.groups[position][-1])
        while True:
            row = int(draws.integers(len(self.train)))
            if row not in self.groups[position]:
                return row

    def _counted(self, rows: np.ndarray) -> np.ndarray:
        counted = np.ones((len(rows), len(rows)), bool)
        if self.vectors is not None and self.stage.duplicate < 1:
            vectors = np.asarray(self.vectors[rows], np.float32)
            counted = vectors @ vectors.T <= self.stage.duplicate
            np.fill_diagonal(counted, True)
        return counted


def _decoded(images: ImageSet, row: int) -> np.ndarray:
    return decode(images.read(row), name=str(images.ids[row]))


def _stacked(pixels: list[np.ndarray], size: int) -> torch.Tensor:
    if not pixels:
        return torch.zeros((0, 3, size, size), dtype=torch.uint8)
    return torch.from_numpy(np.stack(pixels).transpose(0, 3, 1, 2).copy())


def _partner(rng: np.random.Generator, partners: np.ndarray, row: int) -> int:
    """Draw another image for overlays: never the image itself, unless there is only one."""
    at = int(rng.integers(len(partners)))
    return int(partners[at] if partners[at] != row else partners[(at + 1) % len(partners)])
