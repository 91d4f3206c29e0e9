"""The format of a pack: images in one HDF5 file, as files or as pixels, one after the other without gaps.

The file holds `names` (n,) UTF-8 text, `sizes` (n,) int64 bytes, `crcs` (n,) uint32, and contiguous, not
compressed, either `files` (bytes,) uint8 or `pixels` (n, S, S, 3) uint8. As the block is contiguous, image i lies at a
known place of the file, and is read from there with one seek: no handle of HDF5 is shared by processes or threads.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from isckit.runs.artifacts import atomic, reserve
from isckit.runs.hdf5 import dataset, open_hdf5, parsing
from isckit.types import BadInput

_OVERHEAD = 4_096
"""Bytes of the tables, more than an image takes there."""
FILES, PIXELS = "files", "pixels"


@dataclass(frozen=True)
class Index:
    """The places of the images of a pack.

    Attributes:
        names: (n,) text, file names.
        offsets, sizes: (n,) int64, bytes of the pack's file.
        crcs: (n,) uint32, CRC-32 of each.
        kind: FILES or PIXELS.
    """

    names: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    crcs: np.ndarray
    kind: str


def write_pack(path: Path, names: Sequence[str], sizes: np.ndarray, images: Iterable[bytes], *, side: int = 0) -> None:
    """Write a pack atomically, one image after the other, with no more than one in memory.

    Args:
        path: of the file.
        names: (n,) unique.
        sizes: (n,) bytes of each image.
        images: their files; or, where `side` is given, the side * side * 3 bytes of their pixels.

    Raises:
        StorageFull: the disk filled up; a file that stood there is untouched.
        BadInput: an image has another size than `sizes` says.
    """
    with atomic(path) as temporary:
        reserve(temporary, int(np.sum(sizes)) + _OVERHEAD * (1 + len(names)))
        start = _skeleton(temporary, names, np.asarray(sizes, np.int64), side)
        crcs = np.zeros(len(names), np.uint32)
        with temporary.open("r+b") as handle:
            # HDF5 crashes the process when a disk fills up under it; this raises.
            os.posix_fallocate(handle.fileno(), 0, max(1, start + int(np.sum(sizes))))
            handle.seek(start)
            for i, (name, size, image) in enumerate(zip(names, sizes, images, strict=True)):
                if len(image) != size:
                    raise BadInput(
                        seen=f"{len(image)} bytes of {name}, which had {size} before",
                        allowed="files that stay while they are packed",
                        remedy="repeat the command",
                    )
                crcs[i] = zlib.crc32(image)
                handle.write(image)
        with h5py.File(temporary, "r+") as file:
            file["crcs"][...] = crcs


def _skeleton(path: Path, names: Sequence[str], sizes: np.ndarray, side: int) -> int:
    """Write the file without its images, and return where in it these begin."""
    space = h5py.h5s.create_simple((len(names), side, side, 3) if side else (int(sizes.sum()),))
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.CONTIGUOUS)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    plan.set_obj_track_times(False)  # equal images give equal bytes
    with h5py.File(path, "w") as file:
        file["names"] = np.strings.encode(np.array(names, np.str_), "utf-8")
        file["sizes"] = sizes
        file["crcs"] = np.zeros(len(names), np.uint32)
        block = h5py.h5d.create(file.id, (PIXELS if side else FILES).encode(), h5py.h5t.NATIVE_UINT8, space, plan)
        return int(block.get_offset())


def read_index(path: Path) -> Index:
    """Read the places of the images of a pack.

    Raises:
        BadInput: truncated, or no pack.
    """
    told: dict[str, Any] = {
        "allowed": "a whole pack of images, as `isckit data pack` writes it",
        "remedy": f"delete {path.name} and pack the images again",
    }
    with open_hdf5(path, **told) as file, parsing(path, **told):
        kind = PIXELS if PIXELS in file else FILES
        names = np.strings.decode(dataset(file, "names")[()], "utf-8").astype(np.str_, copy=False)
        sizes, crcs, block = dataset(file, "sizes")[()], dataset(file, "crcs")[()], dataset(file, kind)
        start = block.id.get_offset()
        whole = sizes.ndim == crcs.ndim == names.ndim == 1 and len(names) == len(sizes) == len(crcs)
        kinds = sizes.dtype.kind == "i" and crcs.dtype == np.uint32 and block.dtype == np.uint8
        if not (whole and kinds) or start is None or (sizes < 0).any() or int(sizes.sum()) != block.size:
            raise ValueError("its tables do not fit together")
    return Index(names, start + np.cumsum(sizes) - sizes, sizes, crcs, kind)


def read_image(path: Path, *, offset: int, size: int, crc: int, kind: str) -> bytes:
    """Return the file of one image; of pixels, a PPM file of them.

    Raises:
        OSError: the pack cannot be read.
        ValueError: it is damaged here, or is not the one whose index was read.
    """
    with path.open("rb") as handle:
        handle.seek(offset)
        data = handle.read(size)
    if len(data) != size or zlib.crc32(data) != crc:
        raise ValueError("damaged pack: size or CRC-32 differs from its index")
    if kind == FILES:
        return data
    side = math.isqrt(size // 3)
    return b"P6 %d %d 255\n" % (side, side) + data
