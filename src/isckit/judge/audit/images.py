"""Digests of images: sha256 of every file of an image set, resumable, and kept in files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from isckit.data.containers import Source, some
from isckit.data.contents import STAMP, stamps, unreadable
from isckit.data.image_sets import ImageSet
from isckit.runs.arrays import read_arrays, write_arrays
from isckit.types import BadInput, Role

SHARD = 16_384
"""Images whose digests are written at a time: what a killed pass loses at most."""
_CHUNK = 256
"""Images a thread takes at a time: with fewer, threads on small files spend their time on handing over."""
_BYTES = 32


@dataclass(frozen=True, eq=False)
class ImageDigests:
    """The images of a set as they were, byte for byte.

    Attributes:
        name, role: of the image set.
        ids: (n,) sorted unique text.
        digests: (n, 32) uint8, sha256 of each file.
        bytes: of all files together.
    """

    name: str
    role: Role
    ids: np.ndarray
    digests: np.ndarray
    bytes: int

    @cached_property
    def digest(self) -> str:
        """Return one sha256 over the lines "id sha256" of all images, in the order of their ids."""
        sha = hashlib.sha256()
        for start in range(0, len(self.ids), SHARD):
            part = slice(start, start + SHARD)
            lines = zip(self.ids[part].tolist(), _hex(self.digests[part]), strict=True)
            sha.update("".join(f"{name} {digest}\n" for name, digest in lines).encode())
        return sha.hexdigest()

    def record(self) -> dict[str, Any]:
        """Return what a manifest says of the set."""
        return {"role": self.role.value, "images": len(self.ids), "bytes": self.bytes, "digest": self.digest}


def digest_images(images: ImageSet, folder: Path, *, workers: int, trust: bool = True) -> ImageDigests:
    """Return the sha256 of the file of every image; equal for a folder and its zip archive.

    Args:
        images: the set.
        folder: of this set's shards of digests; what a killed pass has written there is not read again.
        workers: threads. On a slow disk or network, more than cores.
        trust: take over the shards in `folder` whose images have the ids, sizes and times of change, and in archives
            the CRC-32, of before. Whoever can set times can deceive this: an audit reads everything again.

    Raises:
        MissingInput: a file has gone since it was listed.
        BadInput: a file cannot be read, or changes meanwhile; an archive or a shard is damaged.
        StorageFull: the disk filled up; whole shards are kept.
    """
    digests, total = np.empty((len(images), _BYTES), np.uint8), 0
    progress = tqdm(total=len(images), desc=f"digest {images.name}", unit="img", disable=None)
    with progress as bar, ThreadPoolExecutor(max(1, workers)) as threads:
        for number, start in enumerate(range(0, len(images), SHARD)):
            stop = min(start + SHARD, len(images))
            part, path = images.subset(np.arange(start, stop)), folder / f"shard-{number:05d}.npz"
            known = _known(part, path) if trust else None
            stamps, digests[start:stop] = known or _read_shard(part, path, threads, bar)
            total += int(stamps["size"].sum())
            bar.update(stop - bar.n)
    return ImageDigests(images.name, images.role, images.ids, digests, total)


def _known(images: ImageSet, path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Stamps and digests in a shard, if it is of these images as they are."""
    if not path.is_file():
        return None
    now = stamps(images.ids, images.places, images.sources)
    with read_arrays(path, _DIGESTS | {"stamps": "V1"}, what=_WHAT, remedy=_REMEDY) as shard:
        digests = _digests(shard)
        same = np.array_equal(_decoded(shard["ids"]), images.ids) and np.array_equal(shard["stamps"], now)
        return (now, digests) if same else None


def _read_shard(images: ImageSet, path: Path, threads: ThreadPoolExecutor, bar: tqdm) -> tuple[np.ndarray, np.ndarray]:
    """Read all images of a shard, write their stamps and digests, and return them."""
    stamps, digests = np.empty(len(images), STAMP), np.empty((len(images), _BYTES), np.uint8)
    starts = range(0, len(images), _CHUNK)
    chunks = [images.subset(np.arange(start, min(start + _CHUNK, len(images)))) for start in starts]
    for start, (chunk_stamps, data) in zip(starts, threads.map(_read_chunk, chunks), strict=True):
        stop = start + len(chunk_stamps)
        stamps[start:stop], digests[start:stop] = chunk_stamps, data
        bar.update(stop - start)
    write_arrays(path, {"ids": np.strings.encode(images.ids, "utf-8"), "stamps": stamps, "digests": digests})
    return stamps, digests


def _read_chunk(images: ImageSet) -> tuple[np.ndarray, np.ndarray]:
    """Stamps (n,), taken before reading so that a change meanwhile shows, and digests (n, 32)."""
    seen = stamps(images.ids, images.places, images.sources)
    columns = images.places["source"].tolist(), images.ids.tolist(), seen["size"].tolist()
    found = []
    for i, (number, name, size) in enumerate(zip(*columns, strict=True)):
        source = images.sources[number]
        data = images.read(i) if source.is_archive else _file(source, name, size=size)
        found.append(hashlib.sha256(data).digest())
    return seen, np.frombuffer(b"".join(found), np.uint8).reshape(-1, _BYTES)


def _file(source: Source, name: str, *, size: int) -> bytes:
    """An image's file, of `size` bytes, in one read: `ImageSet.read` takes twice the time on small files."""
    path = f"{source.path}/{name}{source.suffix}"
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            data = os.read(descriptor, size + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unreadable(path, name, error) from error
    if len(data) != size:
        raise BadInput(
            seen=f"image {name} ({path}) had {size} bytes, and {len(data)} or more when it was read",
            allowed="files that stay as they are while they are read",
            remedy="run the command again when nothing writes there",
        )
    return data


def write_digests(path: Path, digests: ImageDigests) -> None:
    """Write as npz, atomically.

    Raises:
        StorageFull: the disk filled up; whatever stood there is untouched.
    """
    told = {"name": np.array(digests.name), "role": np.array(digests.role.value)}
    told |= {"bytes": np.array(digests.bytes, np.int64)}
    write_arrays(path, told | {"ids": np.strings.encode(digests.ids, "utf-8"), "digests": digests.digests})


def read_digests(path: Path) -> ImageDigests:
    """Read what write_digests wrote.

    Raises:
        MissingInput: there is no such file.
        BadInput: it is damaged or something else.
    """
    shapes = _DIGESTS | {"name": "U0", "role": "U0", "bytes": "i0"}
    with read_arrays(path, shapes, what=_WHAT, remedy=_REMEDY) as held:
        ids, digests = _decoded(held["ids"]), _digests(held)
        if (ids[1:] <= ids[:-1]).any():
            raise ValueError("ids out of order")
        return ImageDigests(str(held["name"]), Role(str(held["role"])), ids, digests, int(held["bytes"]))


_DIGESTS = {"ids": "S1", "digests": "u2"}
_WHAT, _REMEDY = "a file of image digests", "digest the images again"


def _digests(held: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the digests (n, 32) uint8 of a file. Raises ValueError where they are not one for each id."""
    found = held["digests"]
    if found.shape != (len(held["ids"]), _BYTES) or found.dtype != np.uint8:
        raise ValueError(f"digests of {found.dtype}, shape {found.shape}, for {len(held['ids'])} ids")
    return found


def _decoded(ids: np.ndarray) -> np.ndarray:
    return np.strings.decode(ids, "utf-8").astype(str, copy=False)


def _hex(digests: np.ndarray) -> list[str]:
    text = digests.tobytes().hex()
    return [text[start : start + 2 * _BYTES] for start in range(0, len(text), 2 * _BYTES)]


@dataclass(frozen=True)
class Changes:
    """Ids of the images that are not what they were; true where there is any.

    Attributes:
        changed: with other bytes, the swapped ones among them.
        missing, added: only there before, only there now.
        swapped: pairs of ids that have exchanged their bytes.
    """

    changed: tuple[str, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]
    swapped: tuple[tuple[str, str], ...]

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.added)

    def __str__(self) -> str:
        swapped = [f"{first} <-> {second}" for first, second in self.swapped]
        kinds = {"changed": self.changed, "missing": self.missing, "added": self.added, "swapped": swapped}
        return "; ".join(f"{len(found)} {kind}: {some(found)}" for kind, found in kinds.items() if found) or "none"


def changed(before: ImageDigests, now: ImageDigests) -> Changes:
    """Return which images of a set are not what they were."""
    common, old, new = np.intersect1d(before.ids, now.ids, assume_unique=True, return_indices=True)
    differ = (before.digests[old] != now.digests[new]).any(axis=1)
    ids, was, became = common[differ], before.digests[old[differ]], now.digests[new[differ]]
    first, second = _equal_rows(np.hstack([was, became]), np.hstack([became, was]))
    once = first < second
    return Changes(
        changed=tuple(ids.tolist()),
        missing=tuple(np.setdiff1d(before.ids, now.ids, assume_unique=True).tolist()),
        added=tuple(np.setdiff1d(now.ids, before.ids, assume_unique=True).tolist()),
        swapped=tuple(zip(ids[first[once]].tolist(), ids[second[once]].tolist(), strict=True)),
    )


def same_bytes(first: ImageDigests, second: ImageDigests) -> list[tuple[str, str]]:
    """Return all pairs (id of the first set, id of the second) of byte-identical files, by the ids of the first."""
    left, right = _equal_rows(first.digests, second.digests)
    return list(zip(first.ids[left].tolist(), second.ids[right].tolist(), strict=True))


def _equal_rows(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of all pairs of equal rows of two uint8 matrices of digests, by the first's, then the second's number."""
    # Eight bytes of a sha256 hardly ever agree by chance: they find the candidates, all bytes decide.
    keys, others = (np.ascontiguousarray(rows[:, :8]).view("<u8").ravel() for rows in (first, second))
    order = np.argsort(others, kind="stable")
    others = others[order]
    starts = np.searchsorted(others, keys, "left")
    counts = np.searchsorted(others, keys, "right") - starts
    left = np.repeat(np.arange(len(keys)), counts)
    within = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
    right = order[np.repeat(starts, counts) + within]
    equal = (first[left] == second[right]).all(axis=1)
    return left[equal], right[equal]
