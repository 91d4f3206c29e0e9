"""Atomic writes, receipts and freshness: what stands on disk is whole, and known to be made from what is at hand."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import platform
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isckit.types import BadInput, KitError, MissingInput, StaleArtifact, StorageFull

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scipy",
    "scikit-learn",
    "pillow",
    "augly",
    "albumentations",
    "albucore",
    "opencv-python-headless",
    "scikit-image",
    "selectivesearch",
    "faiss-gpu",
    "h5py",
    "pandas",
)


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it over `path` when the block ends well, remove it when not.

    What a process of this machine that was killed left of the same file is removed.

    Raises:
        StorageFull: the disk filled up; whatever stood at `path` is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    begin = f".{path.name[:100]}.{platform.node()[:50]}."
    for left in path.parent.glob(f"{glob.escape(begin)}*.part"):
        if not _runs(left.name.removeprefix(begin).partition(".")[0]):
            left.unlink(missing_ok=True)
    temporary = path.with_name(f"{begin}{os.getpid()}.{uuid.uuid4().hex[:12]}.part")  # unique among machines
    try:
        with telling_full(path):
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def telling_full(path: Path) -> Iterator[None]:
    """Turn what a full disk does to whoever writes `path` in the block into one error.

    Raises:
        StorageFull: the disk filled up.
    """
    try:
        yield
    except Exception as error:
        if _is_full(error, path.parent):
            raise _full(path) from error
        raise


def _runs(pid: str) -> bool:
    """Return True unless it is certain that no process of this number runs."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OverflowError, PermissionError):
        return True
    return True


def _full(path: Path) -> StorageFull:
    return StorageFull(
        seen=f"no space left while writing {path}",
        allowed="enough free space for the whole file; nothing was changed",
        remedy="free some space, or work in another folder, and run the same command again",
    )


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LEAST_FREE = 1 << 16


def _is_full(error: Exception, folder: Path) -> bool:
    """Return True if a disk is full: libraries say so by a number, in words that hold it, or with nothing of either."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    if isinstance(error, KitError):
        return False
    told = any(f"{word} {number}" in str(error) for number in _FULL for word in ("errno =", "os error", "Errno"))
    return told or shutil.disk_usage(folder).free < _LEAST_FREE


def reserve(path: Path, size: int) -> None:
    """Claim `size` bytes for a file that a library is about to write over it.

    HDF5 crashes the process when a disk fills up under it; this fails before, as the plain OSError that `atomic` names.
    """
    with path.open("wb") as handle:
        os.posix_fallocate(handle.fileno(), 0, max(1, size))


def require_writable(*paths: Path | None, folder: bool = False, read: Sequence[Path | None] = ()) -> None:
    """Refuse places that nothing can be written to, before the work that makes it; nothing is left there.

    Args:
        paths: files that will be written or replaced; None where nothing will.
        folder: they are folders, which files will be written into.
        read: files that the command reads.

    Raises:
        BadInput: a folder where a file is wanted, or the reverse; something above is no folder; too long a name; a
            file that is read.
        StorageFull: the disk is full.
        OSError: the system allows no file there.
    """
    for path in filter(None, paths):
        if path.resolve() in {other.resolve() for other in read if other is not None}:
            raise BadInput(
                seen=f"{path}, which is read, to write to", allowed="another file", remedy="choose another path"
            )
        nearest = next(above for above in (path, *path.absolute().parents) if os.path.lexists(above))
        there = nearest == path
        if path == Path() or len(os.fsencode(path.name)) > _LONGEST_NAME or nearest.is_dir() == (there and not folder):
            raise BadInput(
                seen=f"{path or repr('')} to write to" + ("" if there and not folder else f", and {nearest} is there"),
                allowed="a folder, there or not yet" if folder else "a file, there or not yet, in a folder",
                remedy="choose another path",
            )
        try:
            with tempfile.TemporaryFile(dir=nearest if nearest.is_dir() else nearest.parent) as probe:
                probe.write(b"x")
        except OSError as error:
            raise (_full(path) if _is_full(error, nearest) else error) from error


_LONGEST_NAME = 255


def write_text(path: Path, text: str) -> Path:
    """Write text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write_json(path: Path, value: Any) -> Path:
    """Write JSON atomically, keys sorted."""
    return write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_array(path: Path, array: np.ndarray) -> Path:
    """Write an array atomically, as .npy."""
    with atomic(path) as temporary, temporary.open("wb") as handle:
        np.save(handle, array, allow_pickle=False)
    return path


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def weights_digest(path: Path) -> str:
    """Return the sha256 of a weight file's bytes; of a folder of them, of its files' names and digests.

    Raises:
        MissingInput: neither is there.
    """
    require_weights(path)
    if path.is_file():
        return file_digest(path)
    files = sorted(file for file in path.iterdir() if file.is_file())
    return hashlib.sha256("".join(f"{file_digest(file)}  {file.name}\n" for file in files).encode()).hexdigest()


def require_weights(path: Path) -> None:
    """Refuse weights that are not there.

    Raises:
        MissingInput: neither a file nor a folder.
    """
    if not (path.is_file() or path.is_dir()):
        raise MissingInput(
            seen=f"no checkpoint {path}",
            allowed="an existing weight file, or a folder with a file for each member",
            remedy="correct --checkpoint",
        )


def ids_digest(ids: np.ndarray) -> str:
    """Return the sha256 of the ids, in order, one a line."""
    return hashlib.sha256("\n".join(ids.tolist()).encode()).hexdigest()


def rows_digest(ids: np.ndarray, vectors: np.ndarray) -> str:
    """Return the order-free digest of a matrix: sha256 over rows sorted by id, raw little-endian float32.

    Kept apart from the file's digest because HDF5 metadata may differ between equal matrices.
    """
    order = np.argsort(ids, kind="stable")
    sha = hashlib.sha256(ids_digest(ids[order]).encode())
    for start in range(0, len(order), 65_536):
        sha.update(np.ascontiguousarray(vectors[order[start : start + 65_536]], "<f4").tobytes())
    return sha.hexdigest()


def environment() -> dict[str, str]:
    """Return the versions of the interpreter and of the packages that can change a result."""
    from importlib.metadata import version

    return {"python": platform.python_version(), "machine": platform.machine()} | {p: version(p) for p in PACKAGES}


RECEIPT = ".receipt.json"
"""End of the name of a file's receipt."""


def receipt_path(path: Path) -> Path:
    """Return where the receipt of an artifact (file or folder) lies."""
    return path / "receipt.json" if path.is_dir() else path.with_name(path.name + RECEIPT)


def write_receipt(path: Path, *, made_from: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write the receipt of a finished artifact: `made_from` decides freshness, `facts` are for the record.

    Of a file its sha256 is among them, by which `Run.intact` knows it again.
    """
    facts = {**facts, "sha256": file_digest(path)} if path.is_file() else facts
    write_json(receipt_path(path), {"made_from": dict(made_from), "facts": dict(facts), "packages": environment()})


def read_receipt(path: Path) -> dict[str, Any]:
    """Read an artifact's receipt.

    Raises:
        MissingInput: the artifact or its receipt does not exist.
        BadInput: it is no receipt.
    """
    if not path.exists():
        raise MissingInput(
            seen=f"{path} does not exist", allowed="a finished artifact", remedy="run the step that makes it"
        )
    from isckit.runs.records import Receipt, read_json  # pydantic takes a tenth of a second, which a score can spare

    return read_json(receipt_path(path), Receipt)


def broken_images(path: Path) -> dict[str, dict[str, str]]:
    """Return the images that do not decode, with their reasons, by set, as a submission file's receipt tells; sets
    without any are left out.
    """
    told = read_receipt(path)["facts"].get("replaced", {}) if receipt_path(path).is_file() else {}
    return {image_set: broken for image_set, broken in told.items() if broken}


def is_fresh(path: Path, made_from: Mapping[str, Any]) -> bool:
    """Return True if the finished artifact at `path` was made from exactly `made_from`; False where there is none yet.

    Raises:
        StaleArtifact: it was made from something else; the message names the fields that changed.
    """
    if not path.exists() or not receipt_path(path).is_file():
        return False
    recorded = read_receipt(path)["made_from"]
    wanted = json.loads(json.dumps(dict(made_from)))
    changed = sorted(key for key in recorded.keys() | wanted.keys() if recorded.get(key) != wanted.get(key))
    if changed:
        key = changed[0]
        raise StaleArtifact(
            seen=f"{path} was made from other inputs: {', '.join(changed)} "
            f"({key}: {recorded.get(key)} there, {wanted.get(key)} now)",
            allowed="an artifact made from the same inputs, or none yet",
            remedy=f"remove {path}, or choose another place or name for what is made now",
        )
    return True
