"""The official formats of both tracks: the only module that knows a column, a dataset name or a byte layout."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from isckit.data.columns import cell_of, cells_of, plain_columns, refuse_wide, text_column, text_of
from isckit.data.ground_truth import id_codes
from isckit.runs.artifacts import atomic, reserve
from isckit.runs.hdf5 import dataset, open_hdf5, parsing
from isckit.types import MAX_DIM, MAX_ROWS, BadInput, Embeddings, Matches, MissingInput, Role

HEADER = "query_id,reference_id,score"
SIDES = {Role.QUERY: "query", Role.REFERENCE: "reference"}
"""Name of the vectors' dataset of each side; its ids are in NAME_ids."""
ID_WIDTH = {"query": 6, "reference": 7}
BLOCK = 65_536
"""Rows of a descriptor file held in memory at a time."""

_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity|nan)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class MatchLines:
    """The lines of a matches file, parsed but not judged.

    Attributes:
        header: the first line.
        lines: (n,) int, line number of each row that has three cells.
        query_ids, reference_ids: (n,) text.
        scores: (n,) float64, NaN also where the cell holds no number.
        numeric: (n,) bool, whether the score cell holds a number (NaN and inf included).
        blank, misshapen: numbers of the lines that are empty, or have another number of cells.
        foreign_ends: whether lines end in something else than LF.
    """

    header: str
    lines: np.ndarray
    query_ids: np.ndarray
    reference_ids: np.ndarray
    scores: np.ndarray
    numeric: np.ndarray
    blank: list[int]
    misshapen: list[int]
    foreign_ends: bool


def parse_matches(path: Path, *, quoted: bool = False) -> MatchLines:
    """Split a matches file into columns without judging it; a first line whose last cell is a number is a row.

    Args:
        path: CSV file.
        quoted: take quotes off, as names of people's files need them; else cells are as they stand, as in the contest.

    Raises:
        MissingInput: there is no such file.
        BadInput: it is not text.
    """
    if not path.is_file():
        raise MissingInput(seen=f"no file {path}", allowed=f"a CSV of {HEADER}", remedy="check the path")
    data = path.read_bytes()
    body = data.removeprefix(f"{HEADER}\n".encode())
    plain = len(body) < len(data) and not (quoted and b'"' in body)
    if plain and (columns := plain_columns(body, (str, str, float))):
        lines, (queries, references, scores) = np.arange(2, 2 + len(columns[2])), columns
        return MatchLines(HEADER, lines, queries, references, scores, np.ones_like(lines, bool), [], [], False)
    return _parse_lines(path, data, quoted=quoted)


def _parse_lines(path: Path, data: bytes, *, quoted: bool) -> MatchLines:
    """Split line by line, which says where a fault is."""
    text = text_of(path, data, encoding="utf-8")
    rows = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    headed = not _NUMBER.fullmatch(rows[0].rpartition(",")[2])
    blank: list[int] = []
    misshapen: list[int] = []
    lines, cells = [], []
    for line, row in enumerate(rows[headed:], start=1 + headed):
        parts = cells_of(row) if quoted else row.split(",")
        if len(parts) == 3:
            lines.append(line)
            cells += parts
        else:
            (misshapen if row.strip() else blank).append(line)
    numbers = [float(cell) if _NUMBER.fullmatch(cell) else None for cell in cells[2::3]]
    return MatchLines(
        rows[0],
        np.array(lines, np.int64),
        text_column(path, cells[0::3]),
        text_column(path, cells[1::3]),
        np.array(numbers, np.float64),
        np.array([number is not None for number in numbers], bool),
        blank,
        misshapen,
        "\r" in text,
    )


def read_matches(path: Path) -> Matches:
    """Read a matches file: header, three columns, non-empty ids, finite scores.

    Raises:
        MissingInput: there is no such file.
        BadInput: a line has another form (`judge.form` lists every fault).
    """
    parsed = parse_matches(path, quoted=True)
    empty = (parsed.query_ids == "") | (parsed.reference_ids == "")
    bad = sorted(parsed.blank + parsed.misshapen + parsed.lines[empty | ~np.isfinite(parsed.scores)].tolist())
    bad = bad if parsed.header == HEADER else [1, *bad]
    if bad:
        raise BadInput(
            seen=f"{path}: {len(bad)} malformed lines: {', '.join(map(str, bad[:10]))}{', ...' if bad[10:] else ''}",
            allowed=f"the header {HEADER}, then three cells a line: two ids and a finite number",
            remedy=f"see every fault with: isckit check {path}",
        )
    return Matches(parsed.query_ids, parsed.reference_ids, parsed.scores)


def _codes(matches: Matches) -> tuple[np.ndarray, np.ndarray]:
    return id_codes("Q", matches.query_ids)[0], id_codes("R", matches.reference_ids)[0]


def best_rows(matches: Matches, n: int) -> Matches:
    """The n best rows over all queries: falling score, then query id, then reference id, also where the cut falls."""
    if len(matches) > n > 0:
        cut = np.partition(matches.scores, len(matches) - n)[len(matches) - n]
        matches = matches.take(np.flatnonzero(matches.scores >= cut))
    queries, references = _codes(matches)
    return matches.take(np.lexsort((references, queries, -np.asarray(matches.scores, np.float64)))[:n])


def write_matches(path: Path, matches: Matches, *, max_rows: int = MAX_ROWS) -> None:
    """Write a Matching track file, best row first; scores as the shortest text that reads back as the same float64.

    Ids of the contest stand as they are; in others commas and quotes are quoted, as CSV has it.

    Raises:
        BadInput: too many rows, scores that are not finite, repeated pairs, empty ids.
        StorageFull: no space left.
    """
    if len(matches) > max_rows:
        raise BadInput(
            seen=f"{len(matches):,} rows", allowed=f"at most {max_rows:,} rows", remedy="cut them with best_rows"
        )
    remedy = "mend the step that made these rows; nothing was written"
    refuse_rows(~np.isfinite(matches.scores), matches, what="scores that are not finite", remedy=remedy)
    for ids in (matches.query_ids, matches.reference_ids):
        refuse_rows(ids == "", matches, what="empty ids", remedy=remedy)
    refuse_rows(repeated_pairs(matches), matches, what="pairs that occur in an earlier row", remedy=remedy)
    best = best_rows(matches, max_rows)
    scores = map(repr, np.asarray(best.scores, np.float64).tolist())
    # DataFrame.to_csv takes 2.3 times as long for the same text.
    columns = ([*map(cell_of, ids.tolist())] for ids in (best.query_ids, best.reference_ids))
    rows = map(",".join, zip(*columns, scores, strict=True))
    with atomic(path) as temporary:
        temporary.write_bytes(("\n".join([HEADER, *rows]) + "\n").encode())


def repeated_pairs(matches: Matches) -> np.ndarray:
    """Mask of the rows whose pair occurs in an earlier row already."""
    queries, references = _codes(matches)
    order = np.lexsort((references, queries))
    repeated = np.zeros(len(order), bool)
    repeated[order[1:]] = (np.diff(queries[order]) == 0) & (np.diff(references[order]) == 0)
    return repeated


def refuse_rows(mask: np.ndarray, matches: Matches, *, what: str, remedy: str) -> None:
    """Raise BadInput when the mask marks any row; the message counts them and shows the first ten, row 1 first."""
    rows = np.flatnonzero(mask)
    if len(rows):
        shown = "; ".join(
            f"row {k + 1}: {matches.query_ids[k]},{matches.reference_ids[k]},{matches.scores[k]}" for k in rows[:10]
        )
        raise BadInput(
            seen=f"{len(rows):,} {what}: {shown}",
            remedy=remedy,
            allowed="plain ids of the phase and of the references, each pair once, finite scores",
        )


def write_descriptors(path: Path, queries: Embeddings, references: Embeddings) -> None:
    """Write a Descriptor track file: float32 rows ascending by id, streamed in blocks.

    Vectors may be an h5py dataset when their ids ascend already.

    Raises:
        BadInput: another role, several rows an id, more than 256 floats, other widths, values that are not finite.
        StorageFull: no space left.
    """
    dims = queries.vectors.shape[1], references.vectors.shape[1]
    if (queries.role, references.role) != tuple(SIDES) or dims[0] != dims[1] or not 1 <= dims[0] <= MAX_DIM:
        raise BadInput(
            seen=f"{queries.role} of {dims[0]} floats and {references.role} of {dims[1]} floats",
            allowed=f"query and reference, of one width from 1 to {MAX_DIM}",
            remedy="reduce both with the same ensemble before writing",
        )
    with atomic(path) as temporary:
        reserve(temporary, sum(4 * len(side.ids) * (dims[0] + side.ids.itemsize) for side in (queries, references)))
        with h5py.File(temporary, "w") as file:
            for side in (queries, references):
                _write_side(file, side)


def _write_side(file: h5py.File, side: Embeddings) -> None:
    name, ids = SIDES[side.role], side.ids
    ascending = bool((ids[1:] > ids[:-1]).all())
    order = np.arange(len(ids)) if ascending else np.argsort(ids, kind="stable")
    repeated = np.flatnonzero(ids[order][1:] == ids[order][:-1])
    if len(repeated):
        raise BadInput(
            seen=f"{len(repeated)} {name} ids occur twice: {', '.join(ids[order][repeated[:10]])}",
            allowed="one vector an image",
            remedy="write whole images only: embeddings.only('whole')",
        )
    encoded = np.char.encode(ids[order], "utf-8")
    width = max(ID_WIDTH[name], encoded.dtype.itemsize)
    file.create_dataset(f"{name}_ids", data=encoded.astype(f"S{width}"))
    target = file.create_dataset(name, shape=side.vectors.shape, dtype="<f4")
    for start in range(0, len(ids), BLOCK):
        rows = order[start : start + BLOCK]
        block = side.vectors[start : start + BLOCK] if ascending else side.vectors[rows]
        broken = ids[rows][~np.isfinite(block).all(axis=1)]
        if len(broken):
            raise BadInput(
                seen=f"vectors with NaN or inf: {', '.join(broken[:10])}",
                allowed="finite float32",
                remedy="describe these images again; nothing was written",
            )
        target[start : start + BLOCK] = block


@contextlib.contextmanager
def open_descriptors(path: Path) -> Iterator[tuple[Embeddings, Embeddings]]:
    """Queries and references of a Descriptor track file, their vectors h5py datasets that are read when sliced.

    Raises:
        MissingInput: there is no such file.
        BadInput: not HDF5, truncated, a dataset missing or of the wrong shape or type.
    """
    told: dict[str, Any] = {"allowed": "a whole HDF5 descriptor file", "remedy": "write or copy the file again"}
    with open_hdf5(path, **told) as file:
        with parsing(path, **told):
            sides = _open_side(file, Role.QUERY), _open_side(file, Role.REFERENCE)
        yield sides


def _open_side(file: h5py.File, role: Role) -> Embeddings:
    name = SIDES[role]
    vectors, ids = dataset(file, name), dataset(file, f"{name}_ids")
    if vectors.ndim != 2 or not vectors.shape[1]:
        raise BadInput(
            seen=f"{file.filename}: {name} of shape {vectors.shape}",
            allowed=f"a matrix {name} and a list {name}_ids",
            remedy="write the file with the kit",
        )
    return Embeddings.whole(role, read_ids(ids), vectors)


def read_ids(data: h5py.Dataset) -> np.ndarray:
    """Ids of an HDF5 dataset as numpy text, from fixed bytes or variable-length strings.

    Raises:
        BadInput: it holds something else, or bytes that are not UTF-8; ids too long for memory.
    """
    kind = h5py.check_string_dtype(data.dtype)
    try:
        if data.ndim == 1 and kind is not None:
            place = Path(f"{data.file.filename}:{data.name}")
            if kind.length is None:
                return text_column(place, data.asstr()[:].tolist())
            refuse_wide(place, len(data), kind.length)
            return np.char.decode(data[:], "utf-8")
    except UnicodeDecodeError:
        pass
    raise BadInput(
        seen=f"{data.name} of {data.dtype}, shape {data.shape}",
        allowed="a list of UTF-8 text",
        remedy="store ids as fixed bytes, S6 for queries and S7 for references",
    )


def read_descriptors(path: Path) -> tuple[Embeddings, Embeddings]:
    """Queries and references of a Descriptor track file, in memory. Raises as `open_descriptors`."""
    with open_descriptors(path) as sides:
        queries, references = (side.with_vectors(side.vectors[:]) for side in sides)
    return queries, references
