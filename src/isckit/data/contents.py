"""The contents of image set files: sizes and CRC-32 of all, so that what was made from them knows when they change.

Archives and packs keep both in their directories. A file in a folder is read; what was found is kept, with size, times
and number of the file, as a hint that spares reading it again: an audit reads everything all the same.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from isckit.data.containers import Source
from isckit.data.images import BrokenImage
from isckit.runs.artifacts import atomic
from isckit.types import BadInput, MissingInput, StorageFull

log = logging.getLogger(__name__)

STAMP = np.dtype([("size", "<i8"), ("mtime", "<i8"), ("ctime", "<i8"), ("inode", "<u8"), ("crc", "<u4")])
"""The facts known of an image unread: bytes; times in ns of the last change of contents and of entry, and number, of
its file or archive; its CRC-32 in an archive, else 0."""
HINT_BYTES = 64 << 20
"""Bytes of a set from which hints are kept: fewer are read in a blink, and leave no files behind."""
_SETTLED = 2_000_000_000
"""Nanoseconds after which a file's time tells its next change for sure, on file systems with coarse clocks too."""
_THREADS = min(16, 4 * (os.cpu_count() or 1))
_CHUNK = 256
_BLOCK = 65_536
"""Images whose hints are written at a time: what a killed pass loses at most."""


def stamps(ids: np.ndarray, places: np.ndarray, sources: Sequence[Source]) -> np.ndarray:
    """Return what a file system and the directories of archives say of the images of a set, as (n,) of STAMP.

    Raises:
        MissingInput: a file has gone since it was listed.
        BadInput: it cannot be looked at.
    """
    found = np.zeros(len(ids), STAMP)
    found["size"], found["crc"] = places["size"], places["crc"]
    for number in np.unique(places["source"]).tolist():
        source, rows = sources[number], np.flatnonzero(places["source"] == number)
        names = ids[rows].tolist()
        if source.is_archive:
            entry = _stat(str(source.path), name=names[0])
            values = [(entry.st_mtime_ns, entry.st_ctime_ns, entry.st_ino)] * len(rows)
        else:
            entries = [_stat(f"{source.path}/{name}{source.suffix}", name=name) for name in names]
            found["size"][rows] = [entry.st_size for entry in entries]
            values = [(entry.st_mtime_ns, entry.st_ctime_ns, entry.st_ino) for entry in entries]
        for column, name in enumerate(("mtime", "ctime", "inode")):
            found[name][rows] = [value[column] for value in values]
    return found


def _stat(path: str, *, name: str) -> os.stat_result:
    try:
        return os.stat(path)  # noqa: PTH116  millions of Path objects would take seconds
    except OSError as error:
        raise unreadable(path, name, error) from error


def unreadable(path: str, name: str, error: OSError) -> MissingInput | BadInput:
    """Return the fault of an image whose file is gone or cannot be read."""
    kind, what = (MissingInput, "is gone") if isinstance(error, FileNotFoundError) else (BadInput, str(error.strerror))
    return kind(
        seen=f"image {name} ({path}): {what}",
        allowed="files that can be read, and stay while they are",
        remedy="put it back or make it readable, and run the command again",
    )


def content_digest(ids: np.ndarray, places: np.ndarray, sources: Sequence[Source], read: Callable[[int], bytes]) -> str:
    """Return the sha256 of ids, sizes and CRC-32 of the images of a set: equal for a folder and its zip archive.

    Args:
        ids, places, sources: of the set.
        read: gives the file of an image by its row.

    Raises:
        MissingInput: a file has gone since it was listed.
        BadInput: it cannot be looked at.
    """
    now = stamps(ids, places, sources)
    folders = [number for number, source in enumerate(sources) if not source.is_archive]
    rows = np.flatnonzero(np.isin(places["source"], folders))
    if len(rows):
        kept = int(now["size"][rows].sum()) >= HINT_BYTES
        now["crc"][rows] = _crcs(rows, now[rows], read, _hint_file(sources), kept=kept)
    sha = hashlib.sha256("\n".join(ids.tolist()).encode())
    sha.update(now["size"].astype("<i8").tobytes())
    sha.update(now["crc"].astype("<u4").tobytes())
    return sha.hexdigest()


def _crcs(rows: np.ndarray, now: np.ndarray, read: Callable[[int], bytes], hints: Path, *, kept: bool) -> np.ndarray:
    """CRC-32 of each file (n,), by the hints where its stamp is that of before; `kept` on disk, or in memory alone."""
    # A verb asks for each member and branch: what this process has read it does not read again.
    known = _remembered[hints] if hints in _remembered else _read_hints(hints) if kept else np.zeros(0, _HINT)
    crcs, keys = np.zeros(len(rows), np.uint32), _keys(now)
    at = np.minimum(np.searchsorted(known["key"], keys), max(0, len(known) - 1))
    hit = known["key"][at] == keys if len(known) else np.zeros(len(keys), bool)
    crcs[hit] = known["crc"][at[hit]]
    missing, started = np.flatnonzero(~hit), time.time_ns()
    with (
        ThreadPoolExecutor(_THREADS) as threads,
        tqdm(total=len(missing), desc="look at images", unit="img", disable=None, leave=False) as bar,
    ):
        for start in range(0, len(missing), _BLOCK):
            part = missing[start : start + _BLOCK]
            chunks = [part[k : k + _CHUNK] for k in range(0, len(part), _CHUNK)]
            for chunk, found in zip(
                chunks,
                threads.map(lambda chunk: [_crc(read, row) for row in rows[chunk].tolist()], chunks),
                strict=True,
            ):
                crcs[chunk] = found
                bar.update(len(chunk))
            settled = part[np.maximum(now["mtime"][part], now["ctime"][part]) < started - _SETTLED]
            if len(settled):
                known = _remembered[hints] = _merged(known, keys[settled], crcs[settled])
                if kept:
                    _write_hints(hints, known)
    return crcs


def _crc(read: Callable[[int], bytes], row: int) -> int:
    try:
        return zlib.crc32(read(row))
    except BrokenImage:
        return 0  # a file that cannot be read, which is the business of whoever decodes it


# --- hints: a sorted table of keys, each a hash of a file's stamp, and the CRC-32 that was read

_HINT = np.dtype([("key", "<u8"), ("crc", "<u4")])
_remembered: dict[Path, np.ndarray] = {}


def _keys(now: np.ndarray) -> np.ndarray:
    """(n,) uint64, of which equal ones are of the same file, unchanged, but for a chance of 2**-64 a pair."""
    keys = np.empty(len(now), np.uint64)
    columns = (now[name].tolist() for name in ("size", "mtime", "ctime", "inode"))
    for row, values in enumerate(zip(*columns, strict=True)):
        keys[row] = int.from_bytes(hashlib.blake2b(repr(values).encode(), digest_size=8).digest(), "little")
    return keys


def _hint_file(sources: Sequence[Source]) -> Path:
    """One for each set of folders, in the user's cache."""
    folders = sorted({str(source.path.resolve()) for source in sources if not source.is_archive})
    name = hashlib.sha256("\n".join(folders).encode()).hexdigest()[:16]
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(home) / "isckit" / "contents" / f"{name}.npz"


def _read_hints(path: Path) -> np.ndarray:
    """The table of hints; empty where there is none, or none that can be read: a hint is never needed."""
    none = np.zeros(0, _HINT)
    if not path.is_file():
        return none
    try:
        with np.load(path, allow_pickle=False) as file:
            table = file["hints"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        log.info("%s cannot be read (%s): the images are read again", path, error)
        return none
    return table if table.dtype == _HINT and table.ndim == 1 else none


def _merged(known: np.ndarray, keys: np.ndarray, crcs: np.ndarray) -> np.ndarray:
    new = np.zeros(len(keys), _HINT)
    new["key"], new["crc"] = keys, crcs
    both = np.concatenate([known, new])
    return both[np.unique(both["key"], return_index=True)[1]]


def _write_hints(path: Path, hints: np.ndarray) -> None:
    try:
        with atomic(path) as temporary, temporary.open("wb") as handle:
            np.savez(handle, allow_pickle=False, hints=hints)
    except (OSError, StorageFull) as error:
        log.info("%s is not written (%s): the images will be read again next time", path, error)
