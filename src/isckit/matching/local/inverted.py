"""Votes far below linear: an inverted file of short codes on disk, of which a query point reads a few lists.

Every reference point lies in the list of its word, as 14 bytes: a code of 64 bits, its image, its turn and its size. A
query point reads the lists of its nearest words; a point there within a Hamming distance votes (Jegou et al. 2008,
Hamming embedding and weak geometric consistency). Whether two points meet depends on the two and on what was fitted on
train alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba.extending import intrinsic

from isckit.features.store import Store
from isckit.matching.local.index import PointHits
from isckit.matching.local.words import Vocabulary
from isckit.runs.hdf5 import dataset, mapped, open_hdf5, parsing, write_contiguous
from isckit.vectors.compiled import compiled

TURNS, OCTAVE, SIZES = 256, 16, 256
"""Levels of an angle; levels an octave of a diameter; levels of a diameter, from 1/256 pixel on."""
PART = 1 << 26
"""Points of a part of the index: 0.9 GB, and 2.5 GB while it is made."""
_BLOCK, _ROOM = 65_536, 65_536


@dataclass(frozen=True)
class Part:
    """Lists of the points of some references, mapped from a file.

    Attributes:
        first: row of its first image among all references.
        offsets: (words + 1,) int64, where lists begin.
        codes: (n,) uint64. images: (n,) int32, rows of references from `first` on. turns, sizes: (n,) uint8.
    """

    first: int
    offsets: np.ndarray
    codes: np.ndarray
    images: np.ndarray
    turns: np.ndarray
    sizes: np.ndarray


_COLUMNS = {"codes": np.uint64, "images": np.int32, "turns": np.uint8, "sizes": np.uint8}


def parts_of(references: Store, points: int = PART) -> list[tuple[int, int]]:
    """Return the shards, from the first to before the last, of each part of an index."""
    counts = [int(references.block(number).offsets[-1]) for number in range(len(references.paths))]
    bounds = [0]
    for number in range(1, len(counts) + 1):
        if number == len(counts) or sum(counts[bounds[-1] : number + 1]) > points:
            bounds.append(number)
    return list(itertools.pairwise(bounds))


def lists_of(
    references: Store, shards: tuple[int, int], vocabulary: Vocabulary, advance: Callable[[int], object]
) -> Part:
    """Return the part of an index that some shards of references make; `advance` is told of images done."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("words", *_COLUMNS)}
    first = references.start(shards[0])
    for number in range(*shards):
        block = references.block(number)
        for at in range(0, len(block.frames), _BLOCK):
            rows = slice(at, at + _BLOCK)
            points = block.vectors(rows)
            words = vocabulary.nearest(points, probes=1)
            turns, sizes = levels(block.frames[rows])
            columns["words"].append(words[:, 0])
            columns["codes"].append(vocabulary.codes(points, words)[:, 0])
            columns["images"].append(block.owners[rows] + np.int32(references.start(number) - first))
            columns["turns"].append(turns)
            columns["sizes"].append(sizes)
        advance(len(block.ids))
    words = np.concatenate([np.zeros(0, np.int32), *columns.pop("words")])
    order = np.argsort(words, kind="stable")
    offsets = np.zeros(len(vocabulary.words) + 1, np.int64)
    np.cumsum(np.bincount(words, minlength=len(vocabulary.words)), out=offsets[1:])
    lists = {name: np.concatenate([np.zeros(0, kind), *columns.pop(name)])[order] for name, kind in _COLUMNS.items()}
    return Part(first, offsets, **lists)


def save_part(path: Path, part: Part) -> None:
    """Write a part of an index atomically.

    Raises:
        StorageFull: the disk filled up.
    """
    columns = {name: getattr(part, name) for name in ("offsets", *_COLUMNS)}
    write_contiguous(path, {"first": np.array([part.first])} | columns)


def read_part(path: Path) -> Part:
    """Map what `save_part` wrote.

    Raises:
        MissingInput, BadInput: it is not there, or damaged.
    """
    told = {"allowed": "a part of an index", "remedy": f"delete {path} and repeat the matching"}
    with open_hdf5(path, untrusted=False, **told) as file, parsing(path, **told):
        first, *lists = (mapped(path, dataset(file, name)) for name in ("first", "offsets", *_COLUMNS))
        return Part(int(first[0]), *lists)


def levels(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) uint8 levels of the angle and of the diameter of (n, 4) frames."""
    turns = np.rint(frames[:, 3].astype(np.float64) % 360 * (TURNS / 360)).astype(np.int64) % TURNS
    sizes = np.rint(OCTAVE * np.log2(np.maximum(frames[:, 2].astype(np.float64), 1e-9))) + SIZES // 2
    return turns.astype(np.uint8), sizes.clip(0, SIZES - 1).astype(np.uint8)


def matching_entries(words: np.ndarray, codes: np.ndarray, part: Part, *, radius: int) -> PointHits:
    """Return the pairs of query points and entries of lists whose codes differ in at most `radius` bits.

    Args:
        words: (n, probes) int32. codes: (n, probes) uint64.
    """
    room = _ROOM
    while True:
        point, entry, distance = np.empty(room, np.int32), np.empty(room, np.int64), np.empty(room, np.uint8)
        count = _scan(words, codes, part.offsets, part.codes, radius, point, entry, distance)
        if count <= room:
            return PointHits(point[:count], entry[:count], distance[:count])
        room = count


@intrinsic
def _ones(_: Any, number: Any) -> Any:
    """Return the number of ones in a whole number of 64 bits."""

    def code(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        return builder.ctpop(arguments[0])

    return number(number), code


@compiled
def _scan(words, codes, offsets, entries, radius, point, entry, distance):  # type: ignore[no-untyped-def]
    count, room = 0, len(point)
    for row in range(words.shape[0]):
        for probe in range(words.shape[1]):
            word, code = words[row, probe], codes[row, probe]
            for at in range(offsets[word], offsets[word + 1]):
                differing = _ones(code ^ entries[at])  # type: ignore[call-arg, var-annotated]
                if differing <= radius:
                    if count < room:
                        point[count], entry[count], distance[count] = row, at, differing
                    count += 1
    return count
