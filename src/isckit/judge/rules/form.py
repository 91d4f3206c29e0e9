"""Rule 5.7, limits on form: rows, floats, ids, values of both files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from isckit.data.ground_truth import PHASE_QUERIES, id_codes
from isckit.data.layouts import Disc
from isckit.judge.rules.faults import CODES, LETTER, Fault, fault, id_faults
from isckit.judge.rules.finding import Case, Finding, judged
from isckit.runs.workspace import query_set
from isckit.submission import HEADER, SIDES, parse_matches, read_ids, repeated_pairs
from isckit.types import MAX_DIM, MAX_ROWS, BadInput, Matches, MissingInput

__all__ = ["CODES", "Fault", "check_descriptors_form", "check_matches_form"]

MAX_SQUARED_DISTANCE = 1e10
_BLOCK = 16_384


def check_matches_form(
    path: Path,
    *,
    query_ids: np.ndarray | None = None,
    reference_ids: np.ndarray | None = None,
    phase: int | None = None,
) -> list[Fault]:
    """Every fault of a Matching track file; an empty list for a clean one.

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
    """Every fault of a Descriptor track file; an empty list for a clean one. Memory is bounded by blocks of rows.

    Args:
        path: HDF5 file.
        query_ids, reference_ids: the sets at hand, which must be complete; without them, the phase decides.
        phase: 1 or 2: all its queries and the million references are expected. None: nothing can be missing.
    """
    if not path.is_file():
        return [fault("D01", str(path))]
    expected = {"query": query_ids, "reference": reference_ids}
    try:
        with h5py.File(path, "r") as file:
            faults = list(_layout_faults(file))
            for side in SIDES.values():
                if isinstance(file.get(f"{side}_ids"), h5py.Dataset):
                    faults += _list_faults(file[f"{side}_ids"], side, expected[side], phase)
            faults += _vector_faults(file)
    except OSError as error:
        return [fault("D02", str(error))]
    return sorted(faults, key=lambda fault: fault.code)


def _layout_faults(file: h5py.File) -> Iterator[Fault]:
    wanted = {name for side in SIDES.values() for name in (side, f"{side}_ids")}
    there = {name: file[name] for name in file if isinstance(file[name], h5py.Dataset)}
    for name in sorted(wanted - there.keys()):
        yield fault("D03", name)
    for name in sorted(set(file) - wanted):
        yield fault("D04", name)
    for name in sorted(wanted & there.keys()):
        if there[name].ndim != (1 if name.endswith("_ids") else 2):
            yield fault("D05", f"{name} of shape {there[name].shape}")
    matrices = {side: there[side] for side in SIDES.values() if side in there and there[side].ndim == 2}
    for side, matrix in matrices.items():
        if f"{side}_ids" in there and len(there[f"{side}_ids"]) != len(matrix):
            yield fault("D06", f"{side}: {len(there[f'{side}_ids']):,} ids, {len(matrix):,} vectors")
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


def _vector_faults(file: h5py.File) -> Iterator[Fault]:
    sides = {
        side: file[side]
        for side in SIDES.values()
        if isinstance(file.get(side), h5py.Dataset) and file[side].ndim == 2 and file[side].dtype.kind in "fiu"
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
    # A random odd multiplier a column: equal rows hash equally, others collide with a chance of about 2**-63.
    mixer = np.random.default_rng(0).integers(2**63, size=matrix.shape[1], dtype=np.uint64) * 2 + 1
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
        hashes.append((block.view(np.uint32) * mixer).sum(axis=1))
    empty = np.zeros(0, np.int64)
    return {code: np.concatenate([empty, *found]) for code, found in rows.items()}, np.concatenate(hashes), equal


def limits_on_form(case: Case) -> Finding:
    """Both files keep to the official formats and limits."""
    faults = form_faults(case) if case.form is None else case.form
    problems = [f"{name}: {fault}" for name, found in faults.items() for fault in found]
    against = "the image sets at hand" if case.disc else "the ids of DISC21"
    return judged(problems, "proven", f"every row of {' and '.join(faults)}, against {against}")


def form_faults(case: Case) -> dict[str, list[Fault]]:
    """Faults of each submission file that is there."""
    paths = (case.workspace.descriptors(case.phase, case.name), case.workspace.matches(case.phase, case.name))
    return {path.name: file_faults(path, phase=case.phase, disc=case.disc) for path in paths if path.is_file()}


def file_faults(path: Path, *, phase: int | None, disc: Disc | None) -> list[Fault]:
    """Faults of one file: a CSV of matches, or anything else as descriptors."""
    check = check_matches_form if path.suffix == ".csv" else check_descriptors_form
    queries = ids_of(disc, query_set(phase)) if phase else None
    return check(path, query_ids=queries, reference_ids=ids_of(disc, "references"), phase=phase)


def ids_of(disc: Disc | None, image_set: str) -> np.ndarray | None:
    """Ids of an image set, where it is at hand."""
    images = getattr(disc, image_set) if disc else None
    return images.ids if images is not None else None
