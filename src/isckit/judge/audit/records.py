"""What a manifest says of one file: digest, size, receipt, and digests of the parts that a change can be named by."""

from __future__ import annotations

import hashlib
import json
import lzma
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from isckit.data.containers import some
from isckit.judge.state import receipt_of
from isckit.storage.artifacts import file_digest, read_json
from isckit.storage.recipe_diff import recipe_differences
from isckit.types import BadInput

_DAMAGE = (
    *(ValueError, LookupError, TypeError, AttributeError, OverflowError, OSError, EOFError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
"""What the readers raise on damaged files: a byte that changed may name any compression, or encryption."""


def file_record(path: Path) -> dict[str, Any]:
    """sha256, bytes, and where there are any, receipt and parts of a file.

    Raises:
        BadInput: a file of tensors or arrays is damaged, or a receipt is.
    """
    receipt, inner = receipt_of(path), parts(path)
    return (
        {"sha256": file_digest(path), "bytes": path.stat().st_size}
        | ({"receipt": bare(read_json(receipt))} if receipt.is_file() else {})
        | ({"parts": inner} if inner else {})
    )


def bare(receipt: dict[str, Any]) -> dict[str, Any]:
    """A receipt without its cost: clocks have a section of their own."""
    return receipt | {"facts": {key: value for key, value in receipt["facts"].items() if key != "cost"}}


def parts(path: Path) -> dict[str, str]:
    """sha256 of every tensor of a safetensors file, array of an npz, line of a jsonl; nothing of other files.

    Raises:
        BadInput: it is damaged.
    """
    read = _READERS.get(path.suffix)
    if read is None:
        return {}
    try:
        return read(path)
    except _DAMAGE as error:
        raise BadInput(
            seen=f"{path.name} cannot be read ({type(error).__name__}: {error})",
            allowed="a whole file written by this kit",
            remedy="take an intact copy, or run the step that makes it again",
        ) from error


def _tensors(path: Path) -> dict[str, str]:
    """A safetensors file: 8 bytes of length, a JSON header with offsets, tensors (its published format)."""
    data = np.memmap(path, np.uint8, "r")
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8:start].tobytes())
    offsets = {name: value["data_offsets"] for name, value in header.items() if name != "__metadata__"}
    spans = {"(header)": (0, start)} | {name: (start + first, start + last) for name, (first, last) in offsets.items()}
    return {name: hashlib.sha256(data[first:last].data).hexdigest() for name, (first, last) in spans.items()}


def _arrays(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        return {
            name.removesuffix(".npy"): hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()
        }


def _lines(path: Path) -> dict[str, str]:
    lines = path.read_bytes().splitlines()
    return {f"line {number}": hashlib.sha256(line).hexdigest() for number, line in enumerate(lines, start=1)}


_READERS: dict[str, Callable[[Path], dict[str, str]]] = {".safetensors": _tensors, ".npz": _arrays, ".jsonl": _lines}


def changed_parts(path: Path, recorded: dict[str, str]) -> str:
    """Which parts of a file differ from those recorded, in words."""
    try:
        now = parts(path)
    except BadInput as error:
        return f"changed, and {error.seen.removeprefix(f'{path.name} ')}"
    kinds = {
        "changed": [name for name in recorded if name in now and recorded[name] != now[name]],
        "gone": [name for name in recorded if name not in now],
        "new": [name for name in now if name not in recorded],
    }
    return "; ".join(f"{len(names)} {kind}: {some(names)}" for kind, names in kinds.items() if names)


def receipt_changes(path: Path, recorded: dict[str, Any]) -> list[str]:
    """In which values the receipt of a file or folder differs from the one recorded, in words."""
    if not receipt_of(path).is_file():
        return ["its receipt is gone"]
    try:
        now = bare(read_json(receipt_of(path)))
    except (BadInput, KeyError, TypeError, AttributeError) as error:
        return [f"its receipt cannot be read ({error})"]
    return [f"receipt value {difference}" for difference in recipe_differences(recorded, now)]
