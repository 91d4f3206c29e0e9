"""A file of JSON lines that is only ever added to, so that a line removed, edited or moved is noticed.

Each line holds its number and the sha256 of the line before; a receipt beside the file holds that of the last line.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from isckit.storage.artifacts import read_json, receipt_path, write_receipt, write_text
from isckit.types import BadInput


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time look at a chain and add to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def append(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Add a line, with its number and the digest of the line before, and return it. Call it while `locked`.

    Raises:
        BadInput: the chain is broken already.
        StorageFull: no space left; nothing was changed.
    """
    faults = chain_faults(path)
    if faults:
        raise BadInput(
            seen=f"{path} is broken: {'; '.join(faults)}",
            allowed="the file as the kit wrote it",
            remedy="put it back from a copy; nothing was added",
        )
    lines = _lines(path)
    entry = dict(values) | {"number": len(lines) + 1, "previous": _digest(lines[-1]) if lines else ""}
    lines.append(json.dumps(entry, sort_keys=True))
    write_text(path, "\n".join(lines) + "\n")
    write_receipt(path, made_from={}, facts={"lines": len(lines), "last": _digest(lines[-1])})
    return entry


def read_chain(path: Path) -> list[dict[str, Any]]:
    """The lines of a chain, in order; none where there is no file yet.

    Raises:
        BadInput: lines that are no entries; they are named.
    """
    entries, unreadable = [], []
    for number, line in enumerate(_lines(path), start=1):
        try:
            entry = json.loads(line)
            assert isinstance(entry["number"], int) and isinstance(entry["previous"], str)
            entries.append(entry)
        except (ValueError, KeyError, TypeError, AssertionError):
            unreadable.append(number)
    if unreadable:
        raise BadInput(
            seen=f"{path}: no entries are in line {', '.join(map(str, unreadable[:10]))}",
            allowed="one JSON object a line, as the kit wrote it",
            remedy="put the file back from a copy",
        )
    return entries


def chain_faults(path: Path) -> list[str]:
    """What is wrong with a chain, in words: entries that were removed, edited, moved or written twice.

    Raises:
        BadInput: lines that are no entries.
    """
    entries, end = read_chain(path), _end(path)
    if end is None:
        gone = f"no {receipt_path(path).name} of the kit, so that entries may be missing at the end"
        return [gone] if entries else []
    numbers = [entry["number"] for entry in entries]
    whole = range(1, max(len(numbers), end["lines"]) + 1)
    faults = [f"entry {number} was removed" for number in whole if number not in numbers]
    faults += [f"entry {n} is there {numbers.count(n)} times" for n in sorted(set(numbers)) if numbers.count(n) > 1]
    faults += [f"entry {number} is none of {len(whole)}" for number in numbers if number not in whole]
    if numbers != sorted(numbers):
        faults.append(f"entries were moved: they stand as {', '.join(map(str, numbers))}")
    claims = {entry["number"] - 1: entry["previous"] for entry in entries} | {end["lines"]: end["last"]}
    digests = {entry["number"]: _digest(line) for entry, line in zip(entries, _lines(path), strict=True)}
    return faults + [
        f"entry {number} was edited" for number, digest in digests.items() if claims.get(number, digest) != digest
    ]


def _end(path: Path) -> dict[str, Any] | None:
    """Count and last digest by the receipt, which is a line behind where writing was interrupted between both files."""
    receipt = read_json(receipt_path(path)) if receipt_path(path).is_file() else {}
    facts = receipt.get("facts") if isinstance(receipt, dict) else None
    known = isinstance(facts, dict) and isinstance(facts.get("lines"), int) and isinstance(facts.get("last"), str)
    return facts if known else None


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _digest(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()
