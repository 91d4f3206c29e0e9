"""HDF5 files from anybody: what is read lies in the file itself, is no larger than it, and cannot end the program."""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import io
import multiprocessing
import os
import resource
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import h5py
import numpy as np

from isckit.runs.artifacts import atomic, reserve
from isckit.types import BadInput, MissingInput

FAULTS = (OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, MemoryError)
"""Errors that h5py raises on damaged files: it documents no common one."""
_RATIO = 1_100
"""Deflate packs at most 1,032 bytes into one."""
_CHUNK = 1 << 28
"""Bytes of a piece of a chunked dataset, which is in memory as a whole."""
_BLOCK = 1 << 24
_MEMORY = 1 << 30
"""Bytes that reading may take beside twice the file's."""
_PATIENCE = 600.0
"""Seconds; a file of a million descriptors takes about one."""


@contextlib.contextmanager
def open_hdf5(path: Path, *, allowed: str, remedy: str, untrusted: bool = True) -> Iterator[h5py.File]:
    """Open a file for reading.

    Args:
        path: of the file.
        allowed: what the file should be, for the message.
        remedy: what to do about another one.
        untrusted: somebody else may have made it: it is read once in a process of its own first, as some damage ends
            the process.

    Raises:
        MissingInput: there is no such file.
        BadInput: it is damaged.
    """
    if not path.is_file():
        raise MissingInput(seen=f"no file {path}", allowed=allowed, remedy="check the path")
    if untrusted:
        found = path.stat()
        stamp = found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        if reason := _trial(path.absolute(), stamp):
            raise BadInput(seen=f"{path} {reason}", allowed=allowed, remedy=remedy)
    with parsing(path, allowed=allowed, remedy=remedy):
        file = h5py.File(path, "r")
    with file:
        yield file


@contextlib.contextmanager
def parsing(path: Path, *, allowed: str, remedy: str) -> Iterator[None]:
    """Tell of the file what goes wrong while its values are read; for nothing else: other faults would be its, too.

    Raises:
        BadInput: it is damaged, or holds something else.
    """
    try:
        yield
    except BadInput as error:
        raise BadInput(
            seen=error.seen if str(path) in error.seen else f"{path}: {error.seen}",
            allowed=error.allowed,
            remedy=remedy,
        ) from error
    except FAULTS as error:
        raise BadInput(
            seen=f"{path} cannot be read as HDF5 ({str(error) or type(error).__name__})",
            allowed=allowed,
            remedy=remedy,
        ) from error


def reason_against(file: h5py.File, name: str) -> str:
    """Return why a dataset is not read; "" where it may be.

    Its values may lie in the file alone, not behind a link or in other files, of which it would show what they hold;
    and it may claim no more bytes than are stored.
    """
    link = file.get(name, getlink=True)
    if link is None:
        return "is missing"
    if not isinstance(link, h5py.HardLink):
        return f"is a link, {type(link).__name__}"
    data = file[name]
    if not isinstance(data, h5py.Dataset):
        return f"is a {type(data).__name__.lower()}"
    plan = data.id.get_create_plist()
    if plan.get_layout() == h5py.h5d.VIRTUAL or plan.get_external_count():
        return "has its values in other files"
    if data.shape is None or data.dtype.kind not in "fiuSO" or data.dtype.shape:
        return f"is of {data.dtype}, shape {data.shape}"
    if data.dtype.kind == "O" and h5py.check_string_dtype(data.dtype) is None:
        return "holds neither numbers nor text"
    claimed, stored = data.size * data.id.get_type().get_size(), data.id.get_storage_size()
    most = stored * (_RATIO if data.compression else 1)
    size = os.fstat(file.id.get_vfd_handle()).st_size
    if claimed > most or stored > size or (data.chunks is None and (data.id.get_offset() or 0) + claimed > size):
        return f"claims {claimed:,} bytes, shape {data.shape}, of which {stored:,} are stored in {size:,} of the file"
    if data.chunks is not None and int(np.prod(data.chunks, dtype=np.float64)) * data.dtype.itemsize > _CHUNK:
        return f"is stored in pieces of shape {data.chunks}, more than {_CHUNK:,} bytes each"
    return ""


def dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a dataset whose values lie in the file.

    Raises:
        BadInput: there is none of this name; see `reason_against`.
    """
    if reason := reason_against(file, name):
        raise BadInput(
            seen=f"{file.filename}: {name} {reason}",
            allowed="datasets of numbers or text that lie in the file itself, whole",
            remedy="write the file with the kit, or with h5py's create_dataset",
        )
    return file[name]


def write_contiguous(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays atomically, each in one piece and uncompressed, so that `mapped` can read them.

    Raises:
        StorageFull: the disk filled up; whatever stood there is untouched.
    """
    image = io.BytesIO()  # on a full disk HDF5 crashes the process
    with h5py.File(image, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    with atomic(path) as temporary:
        reserve(temporary, image.getbuffer().nbytes)
        temporary.write_bytes(image.getbuffer())


def mapped(path: Path, data: h5py.Dataset) -> np.ndarray:
    """Return a contiguous dataset as it lies in its file, read when it is looked at."""
    shape, dtype, offset = data.shape, data.dtype, data.id.get_offset()
    return np.memmap(path, dtype, "r", offset, shape) if offset is not None and shape[0] else np.zeros(shape, dtype)


@functools.lru_cache(maxsize=64)
def _trial(path: Path, stamp: tuple[int, ...]) -> str:
    """Return what happens to a process that reads the file; "" where all is well."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_read, args=(path, theirs))
    process.start()
    theirs.close()
    process.join(_PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()
        return f"takes HDF5 more than {_PATIENCE:.0f} s"
    if process.exitcode:
        return f"crashes HDF5 (signal {-process.exitcode})"
    reason = ours.recv()
    return f"cannot be read as HDF5 ({reason})" if reason else ""


def _read(path: Path, pipe: Connection) -> None:
    """Read all that may be read, and tell the first fault."""
    faulthandler.disable()
    # A damaged length has HDF5 ask for all the memory there is.
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = used + _MEMORY + 2 * path.stat().st_size
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    reason = ""
    try:
        with h5py.File(path, "r") as file:
            names = list(file)
            file.visititems(lambda name, _: names.append(name))
            for name in names:
                if not reason_against(file, name):
                    _pass(file[name])
            dict(file.attrs)
    except FAULTS as error:
        reason = str(error) or type(error).__name__
    pipe.send(reason)
    os._exit(0)


def _pass(data: h5py.Dataset) -> None:
    rows = max(1, _BLOCK // max(1, data.dtype.itemsize * int(np.prod(data.shape[1:]))))
    for start in range(0, len(data) if data.shape else 0, rows):
        data[start : start + rows]
