"""Binary codes of visual words on disk: what ASMK knows of an image set, in shards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isckit.runs.arrays import read_arrays, write_arrays
from isckit.types import MissingInput, Role


@dataclass(frozen=True)
class Codes:
    """Visual words and their binary codes, image by image.

    Attributes:
        role: what the images are.
        ids: (n,) text.
        counts: (n,) int32, words of each image.
        words: (m,) int32, the words of the first image in ascending order, then those of the second ...
        codes: (m, w) uint64, bits packed, a row a word; bits beyond `bits` are zero.
        bits: of a code.
    """

    role: Role
    ids: np.ndarray
    counts: np.ndarray
    words: np.ndarray
    codes: np.ndarray
    bits: int

    def __post_init__(self) -> None:
        assert len(self.ids) == len(self.counts) and int(self.counts.sum()) == len(self.words) == len(self.codes)

    def part(self, rows: slice) -> Codes:
        """Return a run of consecutive images."""
        ends = np.concatenate([[0], np.cumsum(self.counts, dtype=np.int64)])
        first, last = ends[: len(self.ids)][rows][:1], ends[1:][rows][-1:]
        held = slice(int(first[0]) if len(first) else 0, int(last[0]) if len(last) else 0)
        return Codes(self.role, self.ids[rows], self.counts[rows], self.words[held], self.codes[held], self.bits)


def write_codes(path: Path, codes: Codes) -> None:
    """Write atomically, as an uncompressed npz.

    Raises:
        StorageFull: the disk filled up; whatever stood there is untouched.
    """
    arrays = {"role": np.array(str(codes.role)), "ids": codes.ids, "bits": np.array(codes.bits)}
    arrays |= {"counts": codes.counts.astype(np.int32), "words": codes.words.astype(np.int32)}
    write_arrays(path, arrays | {"codes": codes.codes.astype(np.uint64)})


def read_codes(path: Path) -> Codes:
    """Read what write_codes wrote.

    Raises:
        MissingInput: there is no such file.
        BadInput: it is truncated, or not a file of codes.
    """
    shapes = {"role": "U0", "ids": "U1", "counts": "i1", "words": "i1", "codes": "u2", "bits": "i0"}
    with read_arrays(path, shapes, what="a file of binary codes", remedy="run the extraction") as found:
        role, bits = Role(str(found.pop("role"))), int(found.pop("bits"))
        return Codes(role, **found, bits=bits)


def read_code_shards(folder: Path) -> Iterator[Codes]:
    """Return the shards shard-*.npz of a folder, by name.

    Raises:
        MissingInput: there is none.
        BadInput: one is truncated or foreign.
    """
    paths = sorted(folder.glob("shard-*.npz"))
    if not paths:
        raise MissingInput(
            seen=f"no shard-*.npz in {folder}", allowed="a folder of binary codes", remedy="run the extraction"
        )
    return map(read_codes, paths)
