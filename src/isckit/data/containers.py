"""Listings of folders, zip archives and packs of images, and the bytes of each image, without unpacking.

An image is one row of a columnar table, so that a million images are a few arrays, cheap to send to loader workers.
A read opens the file, reads, and closes: no handle is kept that threads or forked processes could share.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from isckit.data import packs
from isckit.types import BadInput

PLACE = np.dtype(
    [("source", "i4"), ("offset", "i8"), ("packed", "i8"), ("size", "i8"), ("crc", "u4"), ("method", "i2")]
)
"""The place of an image: the number of its source and, in an archive, those of its local header and its bytes."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_PACKED = {-1: packs.FILES, -2: packs.PIXELS}
"""Methods of images in packs; those of zip archives are not below 0."""
PACK_SUFFIX = ".h5"
MAX_BYTES = 1 << 30
"""Largest file of an image."""
_LOCAL = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct("<4s22x2H")
_SYSTEM = re.compile(r"\..+|__MACOSX|Thumbs\.db|desktop\.ini|@eaDir", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """A folder, zip archive or pack, and the extension of the images from it: many images differ in their id alone."""

    path: Path
    suffix: str
    is_archive: bool


@dataclass(frozen=True)
class Listing:
    """Images of folders or archives: ids as found, the table of their places, paths of all other files there."""

    ids: np.ndarray
    places: np.ndarray
    sources: tuple[Source, ...]
    foreign: tuple[str, ...]


def is_system(name: str) -> bool:
    """Return True for names that are hidden or an operating system's (.DS_Store, Thumbs.db, __MACOSX)."""
    return _SYSTEM.fullmatch(name) is not None


def some(names: Sequence[str], *, most: int = 5) -> str:
    """Return the first few names, for a message."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def contents(folder: Path) -> str:
    """Return a folder's entries in words, for a message."""
    names = sorted(name for name in os.listdir(folder) if not is_system(name))  # noqa: PTH208
    return f"which holds {len(names)} entries: {some(names, most=8)}" if names else "which is empty"


def list_folder(folder: Path, *, grammar: re.Pattern[str]) -> Listing:
    """List one folder; names that do not fit `grammar` (groups: id, extension), subfolders too, are foreign.

    No file is opened or measured.
    """
    names = os.listdir(folder)  # noqa: PTH208  a million Path objects would take seconds
    found = [match.groups() for match in map(grammar.fullmatch, names) if match]
    others = [] if len(found) == len(names) else sorted(name for name in names if not grammar.fullmatch(name))
    foreign = tuple(f"{folder}/{name}" for name in others if not is_system(name))
    return listing_of(folder, found, np.zeros(len(found), PLACE), foreign, is_archive=False)


def list_archive(archive: Path, *, grammar: re.Pattern[str]) -> Listing:
    """List a zip archive, folders inside it included.

    Raises:
        BadInput: truncated or otherwise broken, so that files are hidden, too; encrypted, packed by a method other than
            deflate, or larger than an image can be.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            listed, end = opened.infolist(), opened.start_dir
        if reason := _hidden(archive, listed, end, grammar):
            raise zipfile.BadZipFile(reason)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError, struct.error) as error:
        raise BadInput(
            seen=f"archive {archive} is broken: {error}",
            allowed="a whole zip archive",
            remedy=f"repeat the download of {archive.name}: an unfinished one has this fault",
        ) from error
    members = [m for m in listed if not m.is_dir() and not any(map(is_system, m.filename.split("/")))]
    locked = [m.filename for m in members if m.flag_bits & 1 or m.compress_type not in _METHODS]
    if locked:
        raise BadInput(
            seen=f"{len(locked)} encrypted or unusually packed files in {archive}, the first {locked[0]}",
            allowed="zip archives, stored or deflated, without password",
            remedy="unpack the archive",
        )
    large = [m.filename for m in members if max(m.file_size, m.compress_size) > MAX_BYTES]
    if large:
        raise BadInput(
            seen=f"{len(large)} files of more than {MAX_BYTES:,} bytes in {archive}, the first {large[0]}",
            allowed="images",
            remedy="take them out of the archive",
        )
    matches = [grammar.fullmatch(m.filename.rpartition("/")[2]) for m in members]
    kept = [m for m, match in zip(members, matches, strict=True) if match]
    places = np.array([(0, m.header_offset, m.compress_size, m.file_size, m.CRC, m.compress_type) for m in kept], PLACE)
    foreign = tuple(f"{archive}/{m.filename}" for m, match in zip(members, matches, strict=True) if match is None)
    return listing_of(archive, [match.groups() for match in matches if match], places, foreign, is_archive=True)


def _hidden(archive: Path, listed: Sequence[zipfile.ZipInfo], end: int, grammar: re.Pattern[str]) -> str:
    """Return what the files of an archive have that its directory does not: one of them whole, or another name.

    A damaged directory is read to where it still makes sense, and the files behind are gone without a word. What lies
    between two files of the directory is little unless there is a third.

    Args:
        listed: the directory.
        end: where the files end and the directory begins.
        grammar: of the names of images; all others are looked at where they lie.
    """
    ordered = sorted(listed, key=lambda member: member.header_offset)
    starts = [member.header_offset for member in ordered] + [end]
    with archive.open("rb") as handle:
        if ordered and starts[0] and _local_name(handle, 0):
            return "files lie before those of its directory"
        for member, following in zip(ordered, starts[1:], strict=True):
            least = member.header_offset + _LOCAL_HEADER.size + len(member.orig_filename) + member.compress_size
            is_image = member.orig_filename.isprintable() and grammar.fullmatch(member.filename.rpartition("/")[2])
            if not (is_image and 0 <= following - least <= _BETWEEN):
                name, size = _local(handle, member.header_offset)
                after = member.header_offset + size + member.compress_size
                if name != member.orig_filename.encode("utf-8" if member.flag_bits & _UTF_8 else "cp437"):
                    return f"{member.filename} is called {name!r} where it lies"
                if any(_local_name(handle, after + gap) for gap in _DESCRIPTORS if after + gap < following):
                    return f"a file behind {member.filename} is not in its directory"
        if not ordered and end and _local_name(handle, 0):
            return "its directory is empty, and files lie before it"
    return ""


_UTF_8 = 0x800
_BETWEEN = 64
"""Bytes between two files that may be of the first: a further field of its header, sizes behind it."""
_DESCRIPTORS = (0, 12, 16, 20, 24)
"""Bytes of the sizes behind a file (PKWARE APPNOTE 4.3.9), with and without signature, of 32 and 64 bits."""


def _local(handle: BinaryIO, offset: int) -> tuple[bytes, int]:
    """Return the name of a file where it lies, and the bytes before its content; nothing where none begins."""
    handle.seek(offset)
    header = handle.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or header[:4] != _LOCAL:
        return b"", 0
    _, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    return handle.read(name_length), _LOCAL_HEADER.size + name_length + extra_length


def _local_name(handle: BinaryIO, offset: int) -> bytes:
    return _local(handle, offset)[0]


def list_pack(pack: Path, *, grammar: re.Pattern[str]) -> Listing:
    """List a pack of images (see `data.packs`).

    Raises:
        BadInput: it is broken, or no pack.
    """
    index = packs.read_index(pack)
    matches = [grammar.fullmatch(name) for name in index.names.tolist()]
    kept = np.array([match is not None for match in matches], bool)
    places = np.zeros(int(kept.sum()), PLACE)
    places["offset"], places["crc"] = index.offsets[kept], index.crcs[kept]
    places["packed"] = places["size"] = index.sizes[kept]
    places["method"] = next(method for method, kind in _PACKED.items() if kind == index.kind)
    foreign = tuple(f"{pack}/{name}" for name in index.names[~kept].tolist())
    return listing_of(pack, [match.groups() for match in matches if match], places, foreign, is_archive=True)


def listing_of(
    path: Path, found: Sequence[tuple[Any, ...]], places: np.ndarray, foreign: tuple[str, ...], *, is_archive: bool
) -> Listing:
    """Return a listing of (id, extension) of each image of one container; `places` gets its source numbers."""
    suffixes = sorted({suffix for _, suffix in found})
    number = {suffix: i for i, suffix in enumerate(suffixes)}
    places["source"] = [number[suffix] for _, suffix in found]
    ids = np.array([name for name, _ in found], np.str_)
    return Listing(ids, places, tuple(Source(path, suffix, is_archive) for suffix in suffixes), foreign)


def join(listings: Iterable[Listing]) -> Listing:
    """Return one listing of several, in their order."""
    parts = list(listings)
    sources: tuple[Source, ...] = ()
    places = []
    for part in parts:
        moved = part.places.copy()
        moved["source"] += len(sources)
        sources += part.sources
        places.append(moved)
    return Listing(
        np.concatenate([np.zeros(0, "U1"), *(part.ids for part in parts)]),
        np.concatenate([np.zeros(0, PLACE), *places]),
        sources,
        tuple(name for part in parts for name in part.foreign),
    )


def read_member(archive: Path, place: np.void, *, name: str) -> bytes:
    """Read one file out of a pack or a zip archive (PKWARE APPNOTE 4.3.7), checked by its name and CRC-32.

    Raises:
        OSError: the archive cannot be read.
        ValueError: the archive is damaged here, or is not the one that was listed.
    """
    if kind := _PACKED.get(int(place["method"])):
        offset, size, crc = (int(place[field]) for field in ("offset", "size", "crc"))
        return packs.read_image(archive, offset=offset, size=size, crc=crc, kind=kind)
    with archive.open("rb") as handle:
        offset = int(place["offset"])
        found, size = _local(handle, offset)
        if not size:
            raise ValueError("damaged zip archive: no file begins where its directory says")
        if found.rpartition(b"/")[2] != name.encode():
            raise ValueError(f"damaged zip archive: {name} is called {found!r} where it lies")
        handle.seek(offset + size)
        data = handle.read(int(place["packed"]))
    try:
        if place["method"] == zipfile.ZIP_DEFLATED:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, int(place["size"]) + 1)
    except zlib.error as error:
        raise ValueError(f"damaged zip archive: {error}") from error
    if len(data) != place["size"] or zlib.crc32(data) != place["crc"]:
        raise ValueError("damaged zip archive: size or CRC-32 differs from the archive's directory")
    return data


def read_file(path: str | Path) -> bytes:
    """Read a regular file whole; anything else of that name (a pipe, a device, a folder) is not waited for.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it has more than MAX_BYTES bytes.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as handle:
        entry = os.fstat(descriptor)
        if not stat.S_ISREG(entry.st_mode):
            raise OSError(errno.EINVAL, "no regular file", str(path))
        if entry.st_size > MAX_BYTES:
            raise ValueError(f"{entry.st_size:,} bytes, more than {MAX_BYTES:,}")
        return handle.read(MAX_BYTES)


def sizes(ids: np.ndarray, places: np.ndarray, sources: tuple[Source, ...]) -> np.ndarray:
    """Return the bytes of every image: from the archives' directories, and by a stat of each file in a folder."""
    result = places["size"].copy()
    for number, source in enumerate(sources):
        if source.is_archive:
            continue
        rows = np.flatnonzero(places["source"] == number)
        result[rows] = [os.stat(f"{source.path}/{name}{source.suffix}").st_size for name in ids[rows]]  # noqa: PTH116
    return result
