"""Two makings of the same numbers, compared, whatever kind of file they stand in."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from safetensors.numpy import load_file

from isckit.runs.artifacts import file_digest, read_json

_BLOCK = 16_384


def relative_gap(before: np.ndarray | h5py.Dataset, after: np.ndarray | h5py.Dataset) -> float:
    """Largest difference as a part of the root mean square of `before`, in blocks of rows.

    Infinite where shapes or kinds of values differ; values that are no numbers are the same or infinitely far apart.
    """
    if before.shape != after.shape or before.dtype.kind != after.dtype.kind:
        return np.inf
    if before.dtype.kind not in "fiub":
        return 0.0 if bool(np.all(before[()] == after[()])) else np.inf
    if not before.shape:
        return _over([(before[()], after[()])])
    return _over((before[k : k + _BLOCK], after[k : k + _BLOCK]) for k in range(0, len(before), _BLOCK))


def _over(blocks: Iterable[tuple[Any, Any]]) -> float:
    largest, squares, count = 0.0, 0.0, 0
    for block in blocks:
        old, new = (np.asarray(values, np.float64) for values in block)
        with np.errstate(invalid="ignore"):  # the difference of two infinities, which counts only where they differ
            gaps = np.where((old == new) | (np.isnan(old) & np.isnan(new)), 0.0, np.abs(old - new))
        largest = np.inf if np.isnan(gaps).any() else max(largest, float(gaps.max(initial=0)))
        finite = old[np.isfinite(old)]
        squares, count = squares + float(np.square(finite).sum()), count + finite.size
    return largest / (float(np.sqrt(squares / max(1, count))) or 1.0)


def file_gap(before: Path, after: Path) -> float:
    """Largest `relative_gap` of the arrays of two files of one kind; 0 for equal bytes.

    Infinite where one of them has an array that the other has not, and for other bytes of a kind that is not known.
    """
    if file_digest(before) == file_digest(after):
        return 0.0
    if before.suffix not in _READERS:
        return np.inf
    read = _READERS[before.suffix]
    with read(before) as old, read(after) as new:
        if set(old) != set(new):
            return np.inf
        return max((relative_gap(old[name], new[name]) for name in old), default=0.0)


@contextlib.contextmanager
def _datasets(path: Path) -> Iterator[dict[str, h5py.Dataset]]:
    """All datasets of an HDF5 file, in groups or not."""
    with h5py.File(path, "r") as file:
        found: dict[str, h5py.Dataset] = {}
        file.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        yield found


def _values(path: Path) -> dict[str, np.ndarray]:
    """Leaves of a JSON file, each an array of one value, by their place."""
    found: dict[str, np.ndarray] = {}

    def walk(place: str, value: Any) -> None:
        if isinstance(value, dict | list):
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            for key, inner in pairs:
                walk(f"{place}.{key}", inner)
        else:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            found[place] = np.asarray(float(value) if number else json.dumps(value))

    walk("", read_json(path))
    return found


_READERS: Mapping[str, Callable[[Path], Any]] = {
    ".h5": _datasets,
    ".npz": lambda path: np.load(path, allow_pickle=False),
    ".safetensors": lambda path: contextlib.nullcontext(load_file(path)),
    ".json": lambda path: contextlib.nullcontext(_values(path)),
}
