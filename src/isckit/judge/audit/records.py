"""The manifest's record of one file: digest, size, receipt, and digests of the parts that a change can be named by."""

from __future__ import annotations

import hashlib
import json
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from isckit.config.differences import recipe_differences
from isckit.data.containers import some
from isckit.judge.audit.compare import datasets
from isckit.judge.rules.finding import Case
from isckit.judge.state import WORDS, is_further_part, parts, receipt_of
from isckit.runs import made_from
from isckit.runs.artifacts import file_digest
from isckit.runs.hdf5 import open_hdf5
from isckit.runs.records import Receipt, read_json
from isckit.runs.workspace import MATCHES, query_set
from isckit.submission import HEADER, read_matches
from isckit.types import BadInput

_ROWS = 1_024
"""Rows that a change in a table or matrix is named by."""
_DAMAGE = (
    *(ValueError, LookupError, TypeError, AttributeError, OverflowError, OSError, EOFError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
"""The errors that the readers raise on damaged files: a byte that changed may name any compression, or encryption."""


def file_record(path: Path) -> dict[str, Any]:
    """Return sha256, bytes, and where there are any, receipt and parts of a file.

    Raises:
        BadInput: a file of tensors or arrays is damaged, or a receipt is.
    """
    receipt, inner = receipt_of(path), part_digests(path)
    return (
        {"sha256": file_digest(path), "bytes": path.stat().st_size}
        | ({"receipt": bare(read_json(receipt, Receipt))} if receipt.is_file() else {})
        | ({"parts": inner} if inner else {})
    )


def bare(receipt: dict[str, Any]) -> dict[str, Any]:
    """Return a receipt without its cost: clocks have a section of their own."""
    return receipt | {"facts": {key: value for key, value in receipt["facts"].items() if key != "cost"}}


def part_digests(path: Path) -> dict[str, str]:
    """Return the sha256 of every tensor, array, line or block of rows of a file; nothing of other kinds of files.

    Raises:
        BadInput: it is damaged.
    """
    read = _READERS.get(path.name) or _READERS.get(path.suffix)
    if read is None:
        return {}
    try:
        return read(path)
    except BadInput:
        raise
    except _DAMAGE as error:
        raise BadInput(
            seen=f"{path} cannot be read ({type(error).__name__}: {error})",
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


def _datasets(path: Path) -> dict[str, str]:
    """An HDF5 file: its attributes, and the rows of every dataset."""
    with open_hdf5(path, allowed="a whole HDF5 file", remedy="take an intact copy, or make it again") as file:
        attributes = repr(sorted((key, np.asarray(value).tolist()) for key, value in file.attrs.items()))
        found = {"(attributes)": hashlib.sha256(attributes.encode()).hexdigest()}
        for name, data in datasets(file).items():
            found |= _blocks(name, data if data.shape else np.atleast_1d(data[()]))
    return found


def _columns(path: Path) -> dict[str, str]:
    """A matches file: the rows of each column."""
    matches = read_matches(path)
    columns = zip(HEADER.split(","), (matches.query_ids, matches.reference_ids, matches.scores), strict=True)
    return {part: digest for name, column in columns for part, digest in _blocks(name, column).items()}


def _blocks(name: str, rows: np.ndarray | h5py.Dataset) -> dict[str, str]:
    """Digests of `_ROWS` rows at a time."""
    found = {}
    for start in range(0, len(rows), _ROWS):
        block = np.ascontiguousarray(rows[start : start + _ROWS])
        data = block.astype("S") if block.dtype.kind == "O" else block
        found[f"{name} rows {start}-{start + len(block) - 1}"] = hashlib.sha256(data.tobytes()).hexdigest()
    return found


def _lines(path: Path) -> dict[str, str]:
    lines = path.read_bytes().splitlines()
    return {f"line {number}": hashlib.sha256(line).hexdigest() for number, line in enumerate(lines, start=1)}


_READERS: dict[str, Callable[[Path], dict[str, str]]] = {
    ".safetensors": _tensors,
    ".npz": _arrays,
    ".jsonl": _lines,
    ".h5": _datasets,
    MATCHES: _columns,
}
"""By name or suffix of the file."""


def changed_parts(path: Path, recorded: Mapping[str, str]) -> str:
    """Return which parts of a file differ from those recorded, in words; "" where none does."""
    try:
        now = part_digests(path)
    except BadInput as error:
        why = error.seen.removeprefix(str(path)).lstrip(": ").removeprefix("cannot be read ")
        return f"changed, and cannot be read: {why}"
    kinds = {
        "changed": [name for name in recorded if name in now and recorded[name] != now[name]],
        "gone": [name for name in recorded if name not in now],
        "new": [name for name in now if name not in recorded],
    }
    return "; ".join(f"{len(names)} {kind}: {some(names)}" for kind, names in kinds.items() if names)


def receipt_changes(path: Path, recorded: dict[str, Any]) -> list[str]:
    """Return in which values the receipt of a file or folder differs from the one recorded, in words."""
    if not receipt_of(path).is_file():
        return ["its receipt is gone"]
    try:
        now = bare(read_json(receipt_of(path), Receipt))
    except BadInput as error:
        return [f"its receipt cannot be read ({error})"]
    return [f"receipt value {difference}" for difference in recipe_differences(recorded, now)]


Manifest = Mapping[str, Any]


def inconsistencies(case: Case, manifest: Manifest) -> list[str]:
    """Return the receipts that name other inputs than the manifest records, in words.

    Digests stand for the files, which are compared with them elsewhere: a file that changed is not told here again.
    """
    recorded, workspace, name = manifest["checkpoint"], case.workspace, case.name
    files = {part: path.name for part, path in parts(workspace, name).items() if part in WORDS}
    files |= {file: file for file in recorded if is_further_part(workspace, name, file)}
    records = {part: recorded.get(file, {}) for part, file in files.items()}
    digests = {part: record.get("sha256") for part, record in records.items()}
    settings = manifest["recipe"]["ensemble"]
    fitted_from = made_from.ensemble(settings=settings, train=_set_digest(manifest, "train"))
    sets = {name: _set_digest(manifest, name) for name in (query_set(case.phase), "references")}
    submitted_from = made_from.submission(recipe=manifest["recipe_digest"], parts=digests, sets=sets)
    wanted = [
        *(
            (f"embeddings {key}", receipt, _described_from(manifest, key, digests["weights"]))
            for key, receipt in manifest["embeddings"].items()
        ),
        *((files[part], records[part].get("receipt"), fitted_from) for part in ("ensemble", "bank")),
        *((part, records[part].get("receipt"), _further_from(manifest, part)) for part in files if part not in WORDS),
        *((name, record.get("receipt"), submitted_from) for name, record in manifest["artifacts"].items()),
    ]
    return [
        words for name, receipt, inputs in wanted if receipt for words in _other(name, receipt["made_from"], inputs)
    ]


def _other(name: str, recorded: Manifest, wanted: Mapping[str, Any]) -> Iterator[str]:
    """Inputs that a receipt has otherwise; those unknown (None) or not in the receipt are passed over."""
    for key, digest in wanted.items():
        if digest is not None and key in recorded and recorded[key] != digest:
            yield f"{name}: by its receipt made from another {key} than the one recorded"


def _described_from(manifest: Manifest, key: str, weights: str | None) -> dict[str, Any]:
    """Return what the embeddings of a set by a member, or whatever else was described of it, are to be made from."""
    image_set, _, name = key.partition("/")
    recipe = manifest["recipe"]
    listing = manifest["images"].get(image_set, {}).get("listing")
    member = next((member for member in recipe["members"] if member["name"] == name), None)
    if member is None:
        # What a branch is fitted on may be a part of the train images, with a listing of its own.
        return {} if image_set == "train" else {"images": listing}
    return made_from.embeddings(member=member, weights=weights, images=listing, extract=recipe["extract"])


def _further_from(manifest: Manifest, part: str) -> dict[str, Any]:
    """Return what a further fitted part is to be made from; known of spaces, in folders BRANCH or BRANCH.MEMBER."""
    kind, _, file = part.partition("/")
    name, _, member = file.partition("/")[0].partition(".")
    branch = next((b for b in manifest["recipe"]["matching"]["branches"] if b["name"] == name), None)
    if kind != "spaces" or branch is None:
        return {}
    members = [member] if member else branch["members"]
    return made_from.space(settings=branch["space"], train=_set_digest(manifest, "train", members))


def _set_digest(manifest: Manifest, image_set: str, members: Sequence[str] = ()) -> str | None:
    """Digest over what a set's embeddings by some members (() all) were made from; None where a receipt is missing."""
    names = [member["name"] for member in manifest["recipe"]["members"] if not members or member["name"] in members]
    keys = [f"{image_set}/{name}" for name in names]
    receipts = manifest["embeddings"]
    return (
        made_from.described([receipts[key]["made_from"] for key in keys])
        if all(key in receipts for key in keys)
        else None
    )
