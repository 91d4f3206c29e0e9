"""Columns of large CSV files by pandas' parser, where nothing in them asks for the strict reading line by line."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np

LARGE = 1 << 22
"""Bytes from which pandas pays: line by line takes less than importing it below; 500,000 matches take a third."""
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
    if any(_longest(column) == _WIDTH for column in columns if column.dtype.kind == "S"):
        return None
    return [column.astype(f"U{_longest(column)}") if column.dtype.kind == "S" else column for column in columns]


def _longest(column: np.ndarray) -> int:
    """Return the length of the longest text, at least 1, as numpy counts."""
    return int(np.strings.str_len(column).max(initial=1))
