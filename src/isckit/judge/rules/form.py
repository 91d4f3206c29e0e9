"""Rule 5.7, limits on form: rows, floats, ids, values of both files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np

from isckit.data.ground_truth import PHASE_QUERIES, disc_numbers, id_codes, phases_of
from isckit.data.layouts import Disc, ids_of
from isckit.judge.rules.finding import Fault
from isckit.judge.rules.suspicion import row_keys
from isckit.runs.hdf5 import open_hdf5, reason_against
from isckit.runs.workspace import query_set
from isckit.submission import HEADER, SIDES, parse_matches, read_ids, repeated_pairs
from isckit.types import MAX_DIM, MAX_ROWS, BadInput, Matches, MissingInput

MAX_SQUARED_DISTANCE = 1e10
_BLOCK = 16_384
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
    "D25": "dataset whose values do not lie in the file, whole",
    "D26": "no vectors",
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


def check_matches_form(
    path: Path,
    *,
    query_ids: np.ndarray | None = None,
    reference_ids: np.ndarray | None = None,
    phase: int | None = None,
) -> list[Fault]:
    """Return every fault of a Matching track file; an empty list for a clean one.

    Args:
        path: CSV file.
        query_ids, reference_ids: the sets at hand; without them ids are held to DISC21's grammar and the phase.
        phase: 1 or 2; None where the file may be of either.
    """
    try:
        parsed = parse_matches(path)
    except (MissingInput, BadInput) as error:
        return [fault("M01", error.seen)]
    matches, lines, scores = Matches(parsed.query_ids, parsed.reference_ids, parsed.scores), parsed.lines, parsed.scores
    faults = [] if parsed.header == HEADER else [fault("M02", repr(parsed.header[:80]))]
    masks = {"M11": ~parsed.numeric, "M12": parsed.numeric & np.isnan(scores), "M13": np.isinf(scores)}
    found = {"M03": np.array(parsed.misshapen), "M04": np.array(parsed.blank), "M14": lines[repeated_pairs(matches)]}
    found |= {code: lines[mask] for code, mask in masks.items()}
    faults += [fault(code, rows=rows) for code, rows in found.items() if len(rows)]
    faults += id_faults(parsed.query_ids, "query", query_ids, phase, lines=lines, track=0)
    faults += id_faults(parsed.reference_ids, "reference", reference_ids, phase, lines=lines, track=0)
    if parsed.foreign_ends:
        faults.append(fault("M05"))
    if len(lines) > MAX_ROWS:
        faults.append(fault("M15", f"{len(lines):,} rows", count=len(lines) - MAX_ROWS))
    if not len(lines):
        faults.append(fault("M16"))
    return sorted(faults, key=lambda fault: fault.code)


def check_descriptors_form(
    path: Path,
    *,
    query_ids: np.ndarray | None = None,
    reference_ids: np.ndarray | None = None,
    phase: int | None = None,
) -> list[Fault]:
    """Return every fault of a Descriptor track file; an empty list for a clean one. Memory is bounded by blocks of
    rows.

    Args:
        path: HDF5 file.
        query_ids, reference_ids: the sets at hand, which must be complete; without them, the phase decides.
        phase: 1 or 2: all its queries and the million references are expected. None: nothing can be missing.
    """
    if not path.is_file():
        return [fault("D01", str(path))]
    expected = {"query": query_ids, "reference": reference_ids}
    try:
        with open_hdf5(path, allowed="", remedy="") as file:
            there = {name: file[name] for name in file if not reason_against(file, name)}
            faults = list(_layout_faults(file, there))
            for side in SIDES.values():
                if f"{side}_ids" in there:
                    faults += _list_faults(there[f"{side}_ids"], side, expected[side], phase)
            faults += _vector_faults(there)
    except BadInput as error:
        return [fault("D02", error.seen)]
    return sorted(faults, key=lambda fault: fault.code)


Datasets = Mapping[str, h5py.Dataset]


def _layout_faults(file: h5py.File, there: Datasets) -> Iterator[Fault]:
    """Yield faults of names, shapes and types; `there` are the datasets that may be read."""
    wanted = {name for side in SIDES.values() for name in (side, f"{side}_ids")}
    for name in sorted(wanted - there.keys()):
        yield fault("D03", name) if name not in set(file) else fault("D25", f"{name} {reason_against(file, name)}")
    for name in sorted(set(file) - wanted):
        yield fault("D04", name)
    for name in sorted(wanted & there.keys()):
        if there[name].ndim != (1 if name.endswith("_ids") else 2):
            yield fault("D05", f"{name} of shape {there[name].shape}")
    matrices = {side: there[side] for side in SIDES.values() if side in there and there[side].ndim == 2}
    for side, matrix in matrices.items():
        if f"{side}_ids" in there and there[f"{side}_ids"].ndim and len(there[f"{side}_ids"]) != len(matrix):
            yield fault("D06", f"{side}: {len(there[f'{side}_ids']):,} ids, {len(matrix):,} vectors")
        if not len(matrix):
            yield fault("D26", side)
        if matrix.dtype != np.float32:
            yield fault("D09", f"{side} of {matrix.dtype}")
    widths = {matrix.shape[1] for matrix in matrices.values()}
    if any(not 1 <= width <= MAX_DIM for width in widths):
        yield fault("D07", ", ".join(f"{side} {matrix.shape[1]}" for side, matrix in matrices.items()))
    if len(widths) > 1:
        yield fault("D08", ", ".join(f"{side} {matrix.shape[1]}" for side, matrix in matrices.items()))
    kinds = {there[f"{side}_ids"].dtype.kind for side in SIDES.values() if f"{side}_ids" in there}
    if kinds == {"S", "O"}:
        yield fault("D11")


def _list_faults(dataset: h5py.Dataset, side: str, expected: np.ndarray | None, phase: int | None) -> list[Fault]:
    if dataset.ndim != 1:
        return []
    try:
        ids = read_ids(dataset)
    except BadInput as error:
        return [fault("D10", error.seen)]
    rows = np.arange(len(ids))
    faults = id_faults(ids, side, expected, phase, lines=rows, track=1)
    complete = _whole_set(side, phase) if expected is None and phase is not None else expected
    codes, wanted = id_codes(LETTER[side], ids, ids[:0] if complete is None else complete)
    first = np.zeros(len(ids), bool)
    first[np.unique(codes, return_index=True)[1]] = True
    if not first.all():
        faults.append(fault("D17", f"{side}_ids", rows=rows[~first]))
    falling = 1 + np.flatnonzero(codes[1:] < codes[:-1])
    if len(falling):
        faults.append(fault("D18", f"{side}_ids", rows=falling))
    missing = np.flatnonzero(~np.isin(wanted, codes))
    if complete is not None and len(missing):
        faults.append(fault("D19", f"{side}_ids: {', '.join(complete[missing[:3]])}", count=len(missing)))
    return faults


def _whole_set(side: str, phase: int) -> np.ndarray:
    """All ids of DISC21 on one side."""
    if side == "reference":
        return np.char.mod("R%06d", np.arange(1_000_000))
    return np.char.mod("Q%05d", np.arange((phase - 1) * PHASE_QUERIES, phase * PHASE_QUERIES))


def _vector_faults(there: Datasets) -> Iterator[Fault]:
    sides = {
        side: there[side]
        for side in SIDES.values()
        if side in there and there[side].ndim == 2 and there[side].dtype.kind in "fiu"
    }
    for side, matrix in sides.items():
        # Distances of one side to one vector of the other witness the fault; all pairs would take hours.
        others = [other[:1] for name, other in sides.items() if name != side and other.shape[1] == matrix.shape[1]]
        rows, hashes, constant = _scan(matrix, others[0] if others else matrix[:0])
        for code, found in rows.items():
            if len(found):
                yield fault(code, side, rows=found)
        if constant:
            yield fault("D22", side, count=len(matrix))
            continue
        usable = np.setdiff1d(np.arange(len(matrix)), np.concatenate([rows["D20"], rows["D21"]]))
        again = np.ones(len(usable), bool)
        again[np.unique(hashes[usable], return_index=True)[1]] = False
        if again.sum() > max(10, len(matrix) // 100):
            yield fault("D23", side, rows=usable[again])


def _scan(matrix: h5py.Dataset, anchor: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray, bool]:
    """Rows of each fault of values, a 64-bit hash of each row, and whether all rows are equal; one pass in blocks.

    Args:
        matrix: (n, d).
        anchor: (0 or 1, d) vector of the other side.
    """
    first, equal = matrix[:1], len(matrix) > 1
    rows: dict[str, list[np.ndarray]] = {"D20": [], "D21": [], "D24": []}
    hashes = [np.zeros(0, np.uint64)]
    for start in range(0, len(matrix), _BLOCK):
        block = matrix[start : start + _BLOCK].astype(np.float32)
        finite = np.isfinite(block).all(axis=1)
        with np.errstate(over="ignore", invalid="ignore"):
            far = (np.square(block - anchor).sum(axis=1) > MAX_SQUARED_DISTANCE) if len(anchor) else ~finite
        masks = {"D20": ~finite, "D21": ~block.any(axis=1), "D24": finite & far}
        for code, mask in masks.items():
            rows[code].append(start + np.flatnonzero(mask))
        equal = equal and bool((block == first).all())
        hashes.append(row_keys(block))
    empty = np.zeros(0, np.int64)
    return {code: np.concatenate([empty, *found]) for code, found in rows.items()}, np.concatenate(hashes), equal


def fault(code: str, seen: str = "", *, rows: np.ndarray | None = None, count: int | None = None) -> Fault:
    """Return a fault of the table: what was seen, and its rows or its count."""
    shown = () if rows is None else tuple(rows[:10].tolist())
    number = count if count is not None else 1 if rows is None else len(rows)
    return Fault(code, CODES[code] + (f": {seen}" if seen else ""), shown, number)


def id_faults(
    ids: np.ndarray, side: str, expected: np.ndarray | None, phase: int | None, *, lines: np.ndarray, track: int
) -> list[Fault]:
    """Return the faulty ids of one column, each under one code only.

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


def file_faults(path: Path, *, phase: int | None, disc: Disc | None) -> list[Fault]:
    """Return the faults of one file: a CSV of matches, or anything else as descriptors."""
    check = check_matches_form if path.suffix == ".csv" else check_descriptors_form
    queries = ids_of(disc, query_set(phase)) if phase else None
    return check(path, query_ids=queries, reference_ids=ids_of(disc, "references"), phase=phase)
