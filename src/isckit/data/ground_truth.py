"""Ids, true pairs and query lists, in every form in which DISC21 and its users write them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from isckit.data.columns import cells_of, text_column, text_of
from isckit.types import BadInput, GroundTruth, MissingInput

DIGITS = {"Q": 5, "R": 6, "T": 6}
"""Digits of a DISC21 id after its letter: queries, references, training images."""
PHASE_QUERIES = 50_000
"""Queries of one phase: Q00000 to Q49999 in phase 1, Q50000 to Q99999 in phase 2."""
PUBLIC_QUERIES = PHASE_QUERIES // 2
"""Queries of phase 1 whose labels were given out: Q00000 to Q24999."""

_HEADER = re.compile(
    r'"?(q|query|queries|r|refs?|references?|db|database)[ _-]?(image|img|file)?[ _-]?(ids?|names?|file|path)?"?',
    re.IGNORECASE,
)
_WORDS = re.compile(r'"?[^\W\d]+([ _-][^\W\d]+)*"?')
"""A name of a column, as ids hardly are: words without a digit."""
_BLOCK = 16_384
LineFault = tuple[int, str]


def disc_numbers(ids: np.ndarray, letter: str) -> np.ndarray:
    """Return the number of each DISC21 id of one kind, -1 where the text is no such id.

    Args:
        ids: (n,) numpy text.
        letter: "Q", "R" or "T".

    Returns:
        (n,) int64.
    """
    width, digits = ids.dtype.itemsize // 4, DIGITS[letter]
    if width <= digits or not len(ids):
        return np.full(len(ids), -1, np.int64)
    # Numpy text is fixed-width UCS-4: each character is a column of integers. Blocks keep the columns in the cache.
    points = np.ascontiguousarray(ids).view(np.uint32).reshape(len(ids), width)
    numbers = np.empty(len(ids), np.int64)
    for start in range(0, len(ids), _BLOCK):
        block = points[start : start + _BLOCK]
        fits = (block[:, 0] == ord(letter)) & (block[:, digits + 1 :] == 0).all(axis=1)
        number = np.zeros(len(block), np.uint32)
        for column in range(1, digits + 1):
            digit = block[:, column] - np.uint32(ord("0"))
            fits &= digit < 10
            number = number * np.uint32(10) + digit
        numbers[start : start + _BLOCK] = np.where(fits, number.astype(np.int64), -1)
    return numbers


def phases_of(queries: np.ndarray) -> np.ndarray:
    """Return the phase (1 or 2) of each DISC21 query id, 0 where the text is no such id."""
    numbers = disc_numbers(queries, "Q")
    return np.where(numbers < 0, 0, 1 + numbers // PHASE_QUERIES)


def id_codes(letter: str, *columns: np.ndarray) -> list[np.ndarray]:
    """Return columns of ids as int64: equal ids get equal codes in all columns, and codes sort as the ids do.

    DISC21 ids become their numbers; any other id its rank among all ids given.
    """
    columns = tuple(np.asarray(column, str) for column in columns)
    numbers = [disc_numbers(column, letter) for column in columns]
    if all(len(column) == 0 or column.min() >= 0 for column in numbers):
        return numbers
    texts = [column.tolist() for column in columns]
    ranks = {name: rank for rank, name in enumerate(sorted({name for text in texts for name in text}))}
    return [np.fromiter(map(ranks.__getitem__, text), np.int64, len(text)) for text in texts]


def read_ground_truth(path: Path, *, queries: np.ndarray | None = None) -> GroundTruth:
    """Read true pairs; a row with an empty reference is a labelled distractor.

    A header is recognised by its content, so that header-less files keep their first row. Several references
    a query are allowed. DISC21 ids are held to their grammar; a file without any may use other ids.

    Args:
        path: CSV of query,reference.
        queries: all labelled queries, where the file lists the positive ones only.

    Raises:
        MissingInput: there is no such file.
        BadInput: all faulty lines at once (the first ten and the count).
    """
    # Line by line: the 50,000 queries of a phase take 0.1 s, a quarter of what importing pandas takes.
    numbered = _data_lines(path)
    faults, lines, pairs = [], [], []
    for line, text in numbered:
        cells = cells_of(text)
        if len(cells) == 2:
            lines.append(line)
            pairs.append((cells[0], cells[1]))
        else:
            faults.append((line, f"{len(cells)} columns in {text!r}"))
    query_ids, reference_ids = (text_column(path, [pair[side] for pair in pairs]) for side in (0, 1))
    positive = reference_ids != ""
    faults += _malformed(lines, query_ids, reference_ids) + _repeated(lines, pairs)
    if queries is not None:
        unlisted = ~np.isin(query_ids, queries)
        faults += [(lines[k], f"query {query_ids[k]} is not in the query list") for k in np.flatnonzero(unlisted)]
    _raise_all(path, faults, allowed="query_id,reference_id, each pair once, the reference empty for a distractor")
    listed = np.unique(query_ids if queries is None else np.asarray(queries, str))
    return GroundTruth(query_ids[positive], reference_ids[positive], listed)


def read_query_list(path: Path) -> np.ndarray:
    """Read query ids, one a line, in file order; a header is recognised by its content.

    Raises:
        MissingInput: there is no such file.
        BadInput: all faulty lines at once (the first ten and the count).
    """
    numbered = _data_lines(path)
    cells = [(line, cells_of(text)) for line, text in numbered]
    lines, ids = [line for line, _ in cells], text_column(path, [found[0] for _, found in cells])
    faults = [(line, f"{len(found)} columns") for line, found in cells if len(found) > 1]
    faults += _malformed(lines, ids, ids[:0]) + _repeated(lines, [(i, "") for i in ids.tolist()])
    _raise_all(path, faults, allowed="one query id a line, each once")
    return ids


def _data_lines(path: Path) -> list[tuple[int, str]]:
    """Return number and text of every line but the header; byte order mark and line ends removed."""
    if not path.is_file():
        raise MissingInput(seen=f"no file {path}", allowed="a text file of ids", remedy="check the path")
    text = text_of(path, path.read_bytes())
    lines = [line.removesuffix("\r") for line in text.rstrip("\r\n").split("\n")]
    first = cells_of(lines[0])
    header = all(_HEADER.fullmatch(cell.strip()) for cell in first)
    if not header and len(lines) > 1 and all(_WORDS.fullmatch(cell.strip()) for cell in first):
        others = [cell for line in lines[1:] for cell in cells_of(line) if cell]
        if not any(_WORDS.fullmatch(cell) for cell in others):
            raise BadInput(
                seen=f"{path}, line 1 is {lines[0]!r}, which reads like a header that is not known",
                allowed="no header, or query_id,reference_id",
                remedy="correct or remove the first line",
            )
    numbered = list(enumerate(lines, start=1))[1 if header else 0 :]
    if lines == [""] or not numbered:
        raise BadInput(seen=f"{path} has no rows", allowed="at least one row", remedy="check that it is the right file")
    return numbered


def _malformed(lines: list[int], queries: np.ndarray, references: np.ndarray) -> list[LineFault]:
    """Return ids that break the grammar: DISC21's when any id follows it, else no empty query."""
    plain = [disc_numbers(queries, "Q") >= 0, disc_numbers(references, "R") >= 0]
    if any(fits.any() for fits in plain):
        wrong = ((queries, ~plain[0], "Q00000"), (references, ~plain[1] & (references != ""), "R000000"))
    else:
        wrong = ((queries, queries == "", "an id"), (references, np.zeros(len(references), bool), "an id"))
    return [
        (lines[k], f"{str(ids[k])!r} where {form} is expected")
        for ids, mask, form in wrong
        for k in np.flatnonzero(mask)
    ]


def _repeated(lines: list[int], pairs: list[tuple[str, str]]) -> list[LineFault]:
    """Return pairs that occur twice, and queries listed both as distractor and with a reference."""
    faults: list[LineFault] = []
    first: dict[tuple[str, str], int] = {}
    positive = {query: line for line, (query, reference) in zip(lines, pairs, strict=True) if reference}
    for line, pair in zip(lines, pairs, strict=True):
        if pair in first:
            faults.append((line, f"{','.join(pair)} repeats line {first[pair]}"))
        first.setdefault(pair, line)
        if not pair[1] and pair[0] in positive:
            faults.append((line, f"{pair[0]} is a distractor here and has a reference in line {positive[pair[0]]}"))
    return faults


def _raise_all(path: Path, faults: Iterable[LineFault], *, allowed: str) -> None:
    ordered = sorted(faults)
    if ordered:
        shown = "; ".join(f"line {line}: {text}" for line, text in ordered[:10])
        raise BadInput(
            seen=f"{path}: {len(ordered)} faults: {shown}{'; ...' if len(ordered) > 10 else ''}",
            allowed=allowed,
            remedy="fix the lines named above",
        )
