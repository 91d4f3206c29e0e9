"""Columns of CSV files: of large ones by pandas' parser, where nothing in them asks for reading line by line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from isckit.types import BadInput

LARGE = 1 << 22
"""Bytes from which pandas pays: line by line takes less than importing it below; 500,000 matches take a third."""
MOST_TEXT = 1 << 28
"""Characters of a column of text, which has the width of its longest cell: 1 GiB of memory."""
_WIDTH = 32
_PLAIN = bytes(sorted({ord("\n"), *range(33, 127)}))
_CELLS = bytes(sorted(set(range(256)) - set(b",\n")))


def plain_columns(data: bytes, kinds: Sequence[type]) -> list[np.ndarray] | None:
    """Return the cells of a large CSV as they stand, quotes included: one array (n,) for each kind.

    None where it has to be read line by line: fewer bytes than `LARGE`; blanks, controls, or bytes that are not ASCII;
    a line with another number of cells; a text of 32 characters or more; a number that is none, or NaN.

    Args:
        data: the lines, without a header.
        kinds: what the cells of each column are, `str` or `float`; numbers become the nearest float64.
    """
    whole = data if data.endswith(b"\n") else data + b"\n"
    shape = (b"," * (len(kinds) - 1) + b"\n") * whole.count(b"\n")
    if len(data) < LARGE or whole.translate(None, _PLAIN) or whole.translate(None, _CELLS) != shape:
        return None
    first = whole.partition(b"\n")[0].split(b",")
    if any(kind is float and cell.isalpha() for kind, cell in zip(kinds, first, strict=True)):
        return None  # pandas makes numbers of a column that holds nothing but True and False
    import pandas as pd

    try:
        table = pd.read_csv(
            io.BytesIO(whole),
            engine="c",
            header=None,
            dtype={number: f"S{_WIDTH}" if kind is str else "f8" for number, kind in enumerate(kinds)},
            keep_default_na=False,
            na_filter=False,
            quoting=csv.QUOTE_NONE,
            lineterminator="\n",
            skip_blank_lines=False,
            low_memory=False,
        )
    except ValueError:  # a cell that is no number
        return None
    columns = [table[number].to_numpy() for number in range(len(kinds))]
    columns = [_text(column) if column.dtype.kind == "S" else column for column in columns]
    return None if any(column.dtype == f"U{_WIDTH}" for column in columns) else columns


def _text(column: np.ndarray) -> np.ndarray:
    """Return ASCII bytes as text as wide as the longest, at least 1: numpy's own way takes eight times as long."""
    codes = np.ascontiguousarray(column).view(np.uint8).reshape(len(column), -1)
    longest = max(1, int(np.flatnonzero(codes.any(axis=0)).max(initial=0)) + 1)
    return codes[:, :longest].astype(np.uint32).view(f"U{longest}")[:, 0]


def text_of(path: Path, data: bytes, *, encoding: str = "utf-8-sig") -> str:
    """Return the text of a file of ids; by default without the mark of byte order that some programs put first.

    Raises:
        BadInput: it is not UTF-8, or holds control characters, which would vanish from the ends of ids.
    """
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise BadInput(
            seen=f"{path} is not UTF-8 text ({error})",
            allowed="plain text, one row a line",
            remedy="save the file as CSV in UTF-8",
        ) from error
    if found := _CONTROLS.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise BadInput(
            seen=f"{path}, line {line} holds the control character {found[0]!r}",
            allowed="plain text, one row a line",
            remedy="save the file as CSV in UTF-8, without NUL bytes",
        )
    return text


_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def cells_of(line: str) -> list[str]:
    """Return the cells of a line of CSV, quotes taken off, but for a line with a quote that is not closed."""
    quoted = '"' in line and line.count('"') % 2 == 0 and len(line) < csv.field_size_limit()
    return next(csv.reader([line])) if quoted else line.split(",")


def cell_of(text: str) -> str:
    """Return a text as a cell of CSV, in quotes where it needs them."""
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


_QUOTED = re.compile(r"""[,"]|^\s|\s$""")


def text_column(path: Path, cells: Sequence[str]) -> np.ndarray:
    """Return cells as numpy text (n,), whose width is that of the longest.

    Raises:
        BadInput: one is so long that the column would not fit into memory.
    """
    longest = max(cells, key=len, default="")
    refuse_wide(path, len(cells), len(longest), seen=f", {longest[:40]!r}...")
    return np.array(cells, str)


def refuse_wide(path: Path, rows: int, width: int, *, seen: str = "") -> None:
    """Refuse a column of text beyond memory, as every row takes the width of the longest. Raises BadInput."""
    if rows * width > MOST_TEXT:
        raise BadInput(
            seen=f"{path}: {rows:,} rows and a cell of {width:,} characters{seen}",
            allowed=f"at most {MOST_TEXT:,} characters, rows times the longest id",
            remedy="shorten it, or check that it is the right file",
        )
