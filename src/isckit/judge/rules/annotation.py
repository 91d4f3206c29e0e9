"""Rule 5.3, no annotation of phase-2 images: nothing in the package says anything about a single phase-2 query."""

from __future__ import annotations

import gzip
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import isckit
from isckit.judge.rules.finding import CHECKOUT, Case, Finding
from isckit.types import BadInput

EXAMPLES = 10
"""Labelled ids that all tests and prose of a package may name together, as examples."""
BY_CHANCE = 2
"""Ids that a binary file may hold by chance.

Six uniform bytes are an id with probability 5 * 10^4 / 256^6 = 1.8e-10. So a file of 1 GB holds one with probability
0.16 and three different ones with less than 0.001; weights of 100 MB hold three with less than 1e-6.
"""

_TOOLS = {".git", ".venv", "venv", "__pycache__", "node_modules", ".hypothesis"}
_OWN = {"data", "cache", "submissions", "checkpoints"}
_PROSE = {".md", ".rst"}
_PICKLES = {".pkl", ".pickle", ".joblib"}
_CHUNK = 1 << 22
# Text of 16 and 32 bits, such as numpy's, has zero bytes between its characters.
_RAW_ID = re.compile(rb"Q\0{0,3}[5-9](?:\0{0,3}[0-9]){4}")
_RAW_LENGTH = 24
# In source, a line end inside a string is written as a backslash and a letter.
_ID = r"(?:(?<![A-Za-z0-9_])|(?<=\\[nrt]))(Q[5-9]\d{4})(?!\d)"
_WORD = r"(?:true|false|yes|no|none|null|nan|match(?:ed)?|positive|negative|copy|original|distractor|duplicate)\b"
_VALUE = rf"(?:R\d{{6}}|[-+]?\.?\d|{_WORD})"
_BETWEEN = r"""(?:\.\w{3,4})?["']?\s*[,;:=|\t]\s*(?:["']\w+["']\s*:\s*)?["']?"""
_LABELLED = re.compile(
    rf"""["']{_ID}["']\s*:"""  # the key of a mapping
    rf"|{_ID}{_BETWEEN}{_VALUE}"
    rf"|{_ID}[ \t]+(?:R\d{{6}}|{_VALUE}\S*\s*$)"
    rf"|R\d{{6}}{_BETWEEN}{_ID}|R\d{{6}}[ \t]+{_ID}|^\s*{_VALUE}[\w.]*[,;|\t ]\s*{_ID}\s*$"
    rf"|^\s*{_ID}\s*[,;|\t]\s*$",  # an empty reference: how ground truth writes a distractor
    re.IGNORECASE,
)
_RANGE = re.compile(r"""Q\d{5}["'`]*\s*(?:to|through|-|–|\.{2,3}|…)\s*["'`]*$""")
_BARE = {
    ".csv": re.compile(rf"""\s*["']?{_ID}["']?\s*"""),
    ".json": re.compile(rf"""(?:[\s\[\],"]|{_ID})*"""),
    ".yaml": re.compile(rf"""(?:[\s\[\],"'-]|{_ID})*"""),
}
_BARE |= {".tsv": _BARE[".csv"], ".yml": _BARE[".yaml"]}


@dataclass(frozen=True)
class Labels:
    """The labels of phase-2 queries in a file: the ids, and the first place (line 0: in a binary file)."""

    ids: frozenset[str]
    line: int
    excerpt: str


def no_annotation(case: Case) -> Finding:
    """Judge rule 5.3: no file of the checkpoint or of the package is keyed by phase-2 ids. What a hand did outside
    leaves no trace.
    """
    own, package = case.checkpoint, case.project
    places = [(path, path.relative_to(own.parent)) for path in sorted(own.rglob("*")) if path.is_file()]
    places += [(path, path.relative_to(package)) for path in package_files(package) if not path.is_relative_to(own)]
    found: dict[Path, Labels] = {}
    examples: dict[Path, Labels] = {}
    closed: list[str] = []
    for path, name in places:
        try:
            labels = labels_in(path)
        except BadInput as error:
            closed.append(error.seen)
            continue
        if labels:
            example = not path.is_relative_to(own) and (name.parts[0] == "tests" or name.suffix in _PROSE)
            (examples if example else found)[name] = labels
    named: set[str] = set().union(*(labels.ids for labels in examples.values()))
    if len(named) > EXAMPLES:
        found |= examples
    examined = (
        f"{len(places)} files scanned for phase-2 ids with labels, in checkpoint and package; tables that are packed, "
        "encrypted or without ids are not seen"
    )
    if closed and not found:
        return Finding("unknown", "none", examined, "; ".join(closed[:5]))
    if not found:
        return Finding("passed", "declared", examined, "labels kept outside of the package cannot be seen")
    problems = [
        f"{name}{f', line {labels.line}' if labels.line else ''}: {labels.excerpt} ({len(labels.ids)} phase-2 ids)"
        for name, labels in found.items()
    ]
    more = f"; and {len(problems) - 5} more files" if len(problems) > 5 else ""
    return Finding("failed", "proven", examined, "; ".join(problems[:5]) + more)


def package_files(project: Path) -> Iterator[Path]:
    """Return the files that make up a package, sorted: no links, tools, caches, and at the top no data and results of
    runs.

    Where the kit is installed without a checkout, the package is the kit's own folder.
    """
    installed = project == CHECKOUT and not (project / "pyproject.toml").is_file()
    root = Path(isckit.__path__[0]) if installed else project
    for folder, below, names in os.walk(root):
        left_out = _TOOLS | (_OWN if Path(folder) == root and not installed else set())
        below[:] = sorted(b for b in below if b not in left_out and not b.endswith(("_cache", ".egg-info")))
        paths = (Path(folder, name) for name in sorted(names))
        yield from (path for path in paths if path.is_file() and not path.is_symlink())


def labels_in(path: Path) -> Labels | None:
    """Return labels of phase-2 queries in one file, or None.

    In text, an id is labelled if it is a mapping's key or shares its line with a separator and a reference id, a number
    or a word such as "true"; CSV, TSV, JSON and YAML may hold nothing beside an id at all. So a bare list of ids is no
    label, nor is prose, a range or a pattern. Binary files, pickles (never unpickled), zip and gzip archives count as
    soon as they hold more ids than `BY_CHANCE`: lists and labels cannot be told apart there.

    Raises:
        BadInput: the file cannot be read.
    """
    try:
        ids = _raw_ids(path)
        text = _text(path) if ids else None
    except (OSError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile) as error:
        # RuntimeError: an encrypted archive.
        raise BadInput(
            seen=f"{path} cannot be looked into: {error}", allowed="readable files", remedy="mend it, or leave it out"
        ) from error
    if text is not None:
        return _in_text(text, path.suffix.lower())
    if len(ids) > BY_CHANCE:
        return Labels(frozenset(ids), 0, f"binary, with {', '.join(sorted(ids)[:3])}")
    return None


def _in_text(text: str, suffix: str) -> Labels | None:
    bare = _BARE.get(suffix)
    if bare is not None and suffix not in (".csv", ".tsv") and bare.fullmatch(text):
        return None
    ids: set[str] = set()
    first = (0, "")
    for number, line in enumerate(text.splitlines(), start=1):
        if bare is None:
            matches = (m for m in _LABELLED.finditer(line) if not _RANGE.search(line[: m.end()].split(_id_of(m))[0]))
            here = {_id_of(match) for match in matches}
        else:
            here = set() if suffix in (".csv", ".tsv") and bare.fullmatch(line) else set(re.findall(_ID, line))
        if here and not ids:
            at = max(0, line.find(min(here, key=line.find)) - 30)
            first = (number, repr(line[at : at + 80].strip()))
        ids |= here
    return Labels(frozenset(ids), *first) if ids else None


def _id_of(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group)


def _text(path: Path) -> str | None:
    """The file as text, or None for a binary one, a pickle or an archive."""
    content = path.read_bytes()
    if path.suffix.lower() in _PICKLES or b"\0" in content:
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _raw_ids(path: Path) -> set[str]:
    """Phase-2 ids anywhere in the bytes of a file, or of the members of an archive."""
    with path.open("rb") as handle:
        head = handle.read(4)
        handle.seek(0)
        if head[:2] == b"\x1f\x8b":
            with gzip.open(handle) as unpacked:
                return _ids_of_stream(unpacked)
        if head == b"PK\x03\x04":
            with zipfile.ZipFile(handle) as archive:
                return set().union(*(_ids_of_stream(archive.open(member)) for member in archive.infolist()))
        return _ids_of_stream(handle)


def _ids_of_stream(stream: IO[bytes] | gzip.GzipFile) -> set[str]:
    ids: set[str] = set()
    tail = b""
    while chunk := stream.read(_CHUNK):
        window = tail + chunk
        ids |= {match.replace(b"\0", b"").decode() for match in _RAW_ID.findall(window)}
        tail = window[-_RAW_LENGTH:]
    return ids
