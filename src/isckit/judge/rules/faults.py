"""Faults of form: the table of codes, the record, and what can be wrong with a column of ids."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from isckit.data.ground_truth import disc_numbers, id_codes, phases_of
from isckit.submission import HEADER
from isckit.types import MAX_DIM, MAX_ROWS

CODES = {
    "M01": "no such file, or not readable as text",
    "M02": f"first line is not the header {HEADER}",
    "M03": "line without exactly three cells",
    "M04": "blank line",
    "M05": "line ends other than LF",
    "M06": "id with folder or extension",
    "M07": "id of a training image",
    "M08": "query of another phase",
    "M09": "malformed id",
    "M10": "id that is not in the set at hand",
    "M11": "score is not a number",
    "M12": "score is NaN",
    "M13": "score is infinite",
    "M14": "pair occurs in an earlier row",
    "M15": f"more than {MAX_ROWS:,} rows",
    "M16": "no rows",
    "D01": "no such file",
    "D02": "not HDF5, or truncated",
    "D03": "dataset missing",
    "D04": "dataset that does not belong here",
    "D05": "wrong rank: vectors are a matrix, ids a list",
    "D06": "another number of ids than of vectors",
    "D07": f"width outside 1 to {MAX_DIM}",
    "D08": "queries and references of different width",
    "D09": "vectors are not float32",
    "D10": "ids are not text",
    "D11": "one list of ids as fixed bytes, the other as variable-length text",
    "D12": "id with folder or extension",
    "D13": "id of a training image",
    "D14": "query of another phase",
    "D15": "malformed id",
    "D16": "id that is not in the set at hand",
    "D17": "id occurs in an earlier row",
    "D18": "ids not in ascending order",
    "D19": "ids of the set are missing",
    "D20": "vector with NaN or inf",
    "D21": "vector of zeros",
    "D22": "all vectors are equal",
    "D23": "more than 1 % of the vectors repeat an earlier one: the official search may drop them all",
    "D24": "squared distance above 1e10: the official search starts at that radius and drops the pair",
}
"""Code -> meaning, of the Matching file (M) and the Descriptor file (D)."""

LETTER = {"query": "Q", "reference": "R"}
_ID_CODES = {
    "folder": ("M06", "D12"),
    "train": ("M07", "D13"),
    "phase": ("M08", "D14"),
    "malformed": ("M09", "D15"),
    "foreign": ("M10", "D16"),
}


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        code: stable code of `CODES`.
        message: its meaning and what was seen.
        rows: the first ten rows: line numbers of a CSV (the header is line 1), row indices from 0 of a dataset.
        count: number of rows, or of things, at fault.
    """

    code: str
    message: str
    rows: tuple[int, ...] = ()
    count: int = 1

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.rows) else ""
        rows = f" (rows {', '.join(map(str, self.rows))}{more})" if self.rows else ""
        return f"{self.code} {self.message}: {self.count:,}{rows}"


def fault(code: str, seen: str = "", *, rows: np.ndarray | None = None, count: int | None = None) -> Fault:
    """A fault of the table: what was seen, and its rows or its count."""
    shown = () if rows is None else tuple(rows[:10].tolist())
    number = count if count is not None else 1 if rows is None else len(rows)
    return Fault(code, CODES[code] + (f": {seen}" if seen else ""), shown, number)


def id_faults(
    ids: np.ndarray, side: str, expected: np.ndarray | None, phase: int | None, *, lines: np.ndarray, track: int
) -> list[Fault]:
    """Faulty ids of one column, each under one code only.

    Args:
        ids: (n,) text.
        side: "query" or "reference".
        expected: the set at hand; without it the grammar decides.
        phase: 1 or 2; None for the phase of most queries, where no set decides.
        lines: (n,) number of each row in messages.
        track: 0 for codes of the Matching file, 1 for the Descriptor file.
    """
    numbers = disc_numbers(ids, LETTER[side])
    known = numbers >= 0
    if expected is not None:
        codes, wanted = id_codes(LETTER[side], ids, expected)
        known = np.isin(codes, wanted)
    phases = phases_of(ids) if side == "query" else np.zeros(len(ids), int)
    if phase is None and expected is None and phases.any():
        phase = 1 + int(np.bincount(phases)[1:].argmax())
    other = (phases > 0) & (phases != phase) if phase is not None else np.zeros(len(ids), bool)
    strange = np.flatnonzero(~known | other)
    kinds: dict[str, list[int]] = {}
    plain = expected is None or (disc_numbers(expected, LETTER[side]) >= 0).any()
    for row, train in zip(strange.tolist(), disc_numbers(ids[strange], "T") >= 0, strict=True):
        if re.search(r"[/\\.]", ids[row]):
            kind = "folder"
        elif train:
            kind = "train"
        elif other[row]:
            kind = "phase"
        else:
            kind = "malformed" if plain and numbers[row] < 0 else "foreign"
        kinds.setdefault(kind, []).append(row)
    return [
        fault(_ID_CODES[kind][track], f"{side} {', '.join(repr(str(i)) for i in ids[rows[:3]])}", rows=lines[rows])
        for kind, rows in kinds.items()
    ]
