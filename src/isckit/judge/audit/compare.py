"""Two makings of the same thing, compared: bytes, numbers in whatever kind of file, vectors, scored rows."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from safetensors.numpy import load_file

from isckit.runs.artifacts import file_digest
from isckit.runs.hdf5 import dataset, open_hdf5
from isckit.runs.records import read_json
from isckit.types import Embeddings, Matches

_SHOWN = 3
_BLOCK = 16_384


def relative_gap(before: np.ndarray | h5py.Dataset, after: np.ndarray | h5py.Dataset) -> float:
    """Return the largest difference as a part of the root mean square of `before`, in blocks of rows.

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
    """Return the largest `relative_gap` of the arrays of two files of one kind; 0 for equal bytes.

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


def datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Return all datasets of an HDF5 file, in groups or not, by their path."""
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return {name: dataset(file, name) for name in names}


@contextlib.contextmanager
def _open_datasets(path: Path) -> Iterator[dict[str, h5py.Dataset]]:
    with open_hdf5(path, allowed="a whole HDF5 file", remedy="take an intact copy") as file:
        yield datasets(file)


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
    ".h5": _open_datasets,
    ".npz": lambda path: np.load(path, allow_pickle=False),
    ".safetensors": lambda path: contextlib.nullcontext(load_file(path)),
    ".json": lambda path: contextlib.nullcontext(_values(path)),
}


@dataclass(frozen=True)
class Comparison:
    """The difference between two makings of one thing.

    Attributes:
        what: the thing.
        count: values, rows or files compared.
        identical: every bit is the same.
        largest: largest relative difference of values; of a file, whose bytes differ or not, none.
        missing: what one of the two lacks.
        named: ids with the largest differences.
    """

    what: str
    count: int
    identical: bool
    largest: float = 0.0
    missing: tuple[str, ...] = ()
    named: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.identical:
            return f"{self.what}: identical"
        if not self.largest and not self.missing:
            return f"{self.what}: other bytes"
        lacking = f"; {len(self.missing)} in one only: {', '.join(self.missing[:_SHOWN])}" if self.missing else ""
        named = f" ({', '.join(self.named)})" if self.named else ""
        return f"{self.what}: differ by at most {self.largest:.1e}{named}{lacking}"


def compare_files(before: Path, after: Path) -> Comparison:
    """Compare the bytes of two files. What differing bytes amount to is for the comparisons of their values to say."""
    size = before.stat().st_size
    return Comparison(f"{before.name}, {size:,} bytes", 1, file_digest(before) == file_digest(after))


def compare_figures(what: str, before: float, after: float) -> Comparison:
    """Compare a figure reported and measured again."""
    return Comparison(f"{what}, {before:.5f} and {after:.5f}", 1, before == after, abs(before - after))


def compare_numbers(before: Path, after: Path, *, what: str) -> Comparison:
    """Compare all numbers of two files of one kind; infinitely far apart where they hold other things, or cannot be
    read.
    """
    identical = file_digest(before) == file_digest(after)
    return Comparison(what, 1, identical, 0.0 if identical else file_gap(before, after))


def compare_weights(before: Path, after: Path) -> Comparison:
    """Compare the tensors of two safetensors files, relative to the root mean square of each."""
    old, new = load_file(before), load_file(after)
    common = [name for name in sorted(old.keys() & new.keys()) if old[name].shape == new[name].shape]
    gaps = {name: relative_gap(old[name], new[name]) for name in common}
    worst = sorted((name for name in common if gaps[name]), key=lambda name: -gaps[name])
    return Comparison(
        f"{len(old)} weight tensors",
        len(common),
        not worst and old.keys() == new.keys() and len(common) == len(old),
        max(gaps.values(), default=0.0),
        tuple(sorted((old.keys() | new.keys()) - set(common))),
        tuple(worst[:_SHOWN]),
    )


def compare_descriptors(before: Embeddings, after: Embeddings) -> Comparison:
    """Compare the vectors of the images that both have described; `before` may be an HDF5 dataset, and `after` a
    sample.
    """
    rows = np.minimum(np.searchsorted(before.ids, after.ids), len(before.ids) - 1)
    known = before.ids[rows] == after.ids
    gaps, identical = np.zeros(len(after.ids)), True
    for start in range(0, len(rows), _BLOCK):
        at, there = rows[start : start + _BLOCK], known[start : start + _BLOCK]
        first, last = int(at.min()), int(at.max()) + 1
        old = np.asarray(before.vectors[first:last])[at - first]
        new = np.asarray(after.vectors[start : start + _BLOCK])
        identical = identical and old.shape == new.shape and bool((old[there] == new[there]).all())
        if old.shape != new.shape:
            gaps[start : start + _BLOCK] = np.inf
            continue
        lengths = np.maximum(np.linalg.norm(old, axis=1), 1e-12)
        gaps[start : start + _BLOCK] = np.where(there, np.linalg.norm(old - new, axis=1) / lengths, 0)
    worst = np.argsort(-gaps)[:_SHOWN]
    return Comparison(
        f"{len(after.ids)} {before.role} vectors",
        int(known.sum()),
        identical and bool(known.all()),
        float(gaps.max(initial=0)),
        tuple(after.ids[~known].tolist()),
        tuple(after.ids[worst[gaps[worst] > 0]].tolist()),
    )


def compare_matches(before: Matches, after: Mapping[tuple[str, str], float], *, whole: bool) -> Comparison:
    """Compare the scores of the pairs that both have; relative to the larger of the score and the spread of all scores.

    Args:
        before: the submission.
        after: pair -> score.
        whole: `after` is to have the same rows; else it is a sample with all its pairs, and only common ones count.
    """
    pairs = list(zip(before.query_ids.tolist(), before.reference_ids.tolist(), strict=True))
    scored = zip(pairs, before.scores.tolist(), strict=True)
    common = [(pair, score, after[pair]) for pair, score in scored if pair in after]
    old, new = (np.array([row[k] for row in common], np.float64) for k in (1, 2))
    spread = float(np.std(before.scores)) or 1.0
    gaps = np.abs(old - new) / np.maximum(np.abs(old), spread)
    worst = np.argsort(-gaps)[:_SHOWN]
    missing = [f"{q},{r}" for q, r in sorted(after.keys() ^ set(pairs))] if whole else []
    return Comparison(
        f"{len(common)} scored pairs",
        len(common),
        bool((old == new).all()) and not missing,
        float(gaps.max(initial=0)),
        tuple(missing),
        tuple(",".join(common[row][0]) for row in worst if gaps[row] > 0),
    )
