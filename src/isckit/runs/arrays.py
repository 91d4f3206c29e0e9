"""Named arrays on disk, as .npz: written atomically, and read back as what they are."""

from __future__ import annotations

import contextlib
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from isckit.runs.artifacts import atomic
from isckit.types import BadInput, KitError, MissingInput

_FAULTS = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    MemoryError,
    SyntaxError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)
"""Errors that numpy and zipfile raise on damaged files."""


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write atomically, uncompressed.

    Raises:
        StorageFull: the disk filled up; whatever stood there is untouched.
    """
    with atomic(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, allow_pickle=False, **arrays)


@contextlib.contextmanager
def read_arrays(path: Path, shapes: Mapping[str, str], *, what: str, remedy: str) -> Iterator[dict[str, np.ndarray]]:
    """Give the arrays of a file; what goes wrong while they are put to use ends in a message, too.

    Args:
        path: of the file.
        shapes: name to what it is: the letters of the kinds allowed (numpy's), then the number of dimensions, or "*".
        what: the file is, for messages.
        remedy: what to do where there is none, or a damaged one.

    Raises:
        MissingInput: there is no such file.
        BadInput: it is damaged, or something else.
    """
    if not path.is_file():
        raise MissingInput(seen=f"no file {path}", allowed=what, remedy=remedy)
    try:
        with np.load(path, allow_pickle=False) as file:
            _refuse_claims(file.zip, path)
            found = {name: np.asarray(file[name]) for name in shapes}
        for name, shape in shapes.items():
            if found[name].dtype.kind not in shape[:-1] or shape[-1] not in ("*", str(found[name].ndim)):
                raise ValueError(f"{name} of {found[name].dtype}, shape {found[name].shape}")
        yield found
    except KitError:
        raise
    except _FAULTS as error:
        raise BadInput(
            seen=f"{path} is not {what}: {str(error) or type(error).__name__}",
            allowed="a whole file written by this kit",
            remedy=f"delete {path}, then {remedy}",
        ) from error


def _refuse_claims(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse members that claim more than the file holds: what the kit writes is not compressed."""
    size = os.stat(path).st_size  # noqa: PTH116
    for member in archive.infolist():
        if member.file_size > max(size, 1 << 20) or member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{member.filename} claims {member.file_size:,} bytes of a file of {size:,}")
