"""Points of an image set on disk: shards in order of the ids, read in blocks for voting, one by one for verifying."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from isckit.features.points import Points, vectors
from isckit.runs.hdf5 import dataset, mapped, open_hdf5, parsing, write_contiguous
from isckit.types import MissingInput

Mirror = Callable[[Points], Points | None]


@dataclass(frozen=True)
class Block:
    """Points of several images, one image after the other.

    Attributes:
        ids: (images,) sorted text.
        descriptors: (n, width) uint8.
        frames: (n, 4) float32, see `Points`.
        offsets: (images + 1,) int64, where the points of each image begin.
        areas: (images,) int64 pixels.
        bits: of descriptors, see `Points`.
    """

    ids: np.ndarray
    descriptors: np.ndarray
    frames: np.ndarray
    offsets: np.ndarray
    areas: np.ndarray
    bits: bool = False

    @staticmethod
    def of(ids: np.ndarray, images: Sequence[Points]) -> Block:
        """Return the points of these images, at least one image, in order."""
        return Block(
            ids,
            np.concatenate([points.descriptors for points in images]),
            np.concatenate([points.frames for points in images]),
            np.concatenate([[0], np.cumsum([len(points) for points in images])]).astype(np.int64),
            np.array([points.area for points in images], np.int64),
            images[0].bits,
        )

    @cached_property
    def owners(self) -> np.ndarray:
        """(n,) int32 image of each point."""
        return np.repeat(np.arange(len(self.ids), dtype=np.int32), np.diff(self.offsets))

    def part(self, first: int, last: int) -> Block:
        """Return the images from `first` to before `last`."""
        offsets = self.offsets[first : last + 1]
        points = slice(offsets[0], offsets[-1])
        images = slice(first, last)
        own = self.descriptors[points], self.frames[points], offsets - offsets[0]
        return Block(self.ids[images], *own, self.areas[images], self.bits)

    def mirrored(self, mirror: Mirror) -> Block:
        """Return the same images mirrored."""
        points = mirror(Points(self.descriptors, self.frames, 0, self.bits))
        assert points is not None
        return Block(self.ids, points.descriptors, points.frames, self.offsets, self.areas, self.bits)

    def vectors(self, rows: slice = slice(None)) -> np.ndarray:
        """Return (n, d) float32 vectors of all points, or of some."""
        return vectors(self.descriptors[rows], bits=self.bits)

    def points(self, image: int) -> Points:
        """Return the points of one image."""
        part = slice(*self.offsets[image : image + 2])
        return Points(self.descriptors[part], self.frames[part], int(self.areas[image]), self.bits)


def write_block(path: Path, block: Block) -> None:
    """Write a shard atomically, contiguous and uncompressed.

    Raises:
        StorageFull: the disk filled up; whatever stood there is untouched.
    """
    ids = np.strings.encode(block.ids, "utf-8")
    columns = {name: getattr(block, name) for name in ("descriptors", "frames", "offsets", "areas")}
    write_contiguous(path, {"ids": ids} | columns)


class Store:
    """The shards of one image set.

    Attributes:
        ids: (images,) sorted text, of all shards.
        paths: of the shards.
        mirror: where given, single images and parts of shards are given mirrored by it.
    """

    def __init__(self, folder: Path, *, bits: bool = False, mirror: Mirror | None = None) -> None:
        """Open a folder of shards.

        Raises:
            MissingInput: there is none.
            BadInput: one is truncated or foreign.
        """
        self.paths, self.mirror = tuple(sorted(folder.glob("shard-*.h5"))), mirror
        if not self.paths:
            raise MissingInput(
                seen=f"no shard-*.h5 in {folder}", allowed="a folder of keypoints", remedy="run the extraction"
            )
        self._blocks = [_open(path, bits=bits) for path in self.paths]
        self._starts = np.concatenate([[0], np.cumsum([len(block.ids) for block in self._blocks])])
        self.ids = np.concatenate([block.ids for block in self._blocks])

    def start(self, number: int) -> int:
        """Return the row of the first image of a shard in `ids`; of one past the last, the number of images."""
        return int(self._starts[number])

    def block(self, number: int) -> Block:
        """Return a shard as it is; its points stay on disk until they are looked at."""
        return self._blocks[number]

    @property
    def shards(self) -> list[range]:
        """Rows of each shard."""
        return [range(int(first), int(last)) for first, last in itertools.pairwise(self._starts)]

    def cuts(self, points: int) -> list[range]:
        """Return the rows of all images, some at a time of one shard, at most so many points where several images."""
        cuts = []
        for number, block in enumerate(self._blocks):
            first = 0
            while first < len(block.ids):
                last = int(np.searchsorted(block.offsets, block.offsets[first] + points, side="right")) - 1
                last = min(max(last, first + 1), len(block.ids))
                cuts.append(range(self.start(number) + first, self.start(number) + last))
                first = last
        return cuts

    def between(self, rows: range) -> Block:
        """Return some images of one shard."""
        number = int(np.searchsorted(self._starts, rows.start, side="right")) - 1
        part = self._blocks[number].part(rows.start - self.start(number), rows.stop - self.start(number))
        return part.mirrored(self.mirror) if self.mirror else part

    def parts(self, points: int) -> Iterator[tuple[int, Block]]:
        """Yield the images of `cuts`, with the row of the first."""
        for rows in self.cuts(points):
            yield rows.start, self.between(rows)

    def points(self, row: int) -> Points:
        """Return the points of one image, by its row in `ids`. Threads may ask at the same time."""
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        points = self._blocks[number].points(row - self.start(number))
        shown = self.mirror(points) if self.mirror else points
        assert shown is not None
        return shown


def _open(path: Path, *, bits: bool) -> Block:
    told = {"allowed": "a whole file of keypoints of this kit", "remedy": f"delete {path} and run the extraction again"}
    with open_hdf5(path, untrusted=False, **told) as file, parsing(path, **told):
        ids, offsets, areas = (dataset(file, name)[()] for name in ("ids", "offsets", "areas"))
        descriptors, frames = (mapped(path, dataset(file, name)) for name in ("descriptors", "frames"))
        names = np.strings.decode(ids, "utf-8").astype(str, copy=False)
        return Block(names, descriptors, frames, offsets, areas, bits)
