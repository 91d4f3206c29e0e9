"""Two makings of the same thing, compared: bytes, vectors, scored rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from isckit.data.ground_truth import id_codes
from isckit.judge.arrays import file_gap, relative_gap
from isckit.runs.artifacts import file_digest
from isckit.submission import SIDES, open_descriptors, read_matches
from isckit.types import Embeddings, Matches

IDENTICAL = "byte-identical"
_BLOCK = 16_384


def descriptor_distance(there: Path, now: Path) -> list[str]:
    """Two descriptor files: largest difference of a float and cosines, over the ids in common of each side.

    Raises:
        BadInput: one of them cannot be read.
    """
    if words := _same_or_lacking(there, now):
        return [words]
    with open_descriptors(there) as first, open_descriptors(now) as second:
        return [_vectors(a, b) for a, b in zip(first, second, strict=True)]


def match_distance(there: Path, now: Path) -> list[str]:
    """Two matches files: pairs in common and in one only, and the largest difference of a score.

    Raises:
        BadInput: one of them cannot be read.
    """
    if words := _same_or_lacking(there, now):
        return [words]
    first, second = read_matches(there), read_matches(now)
    queries = id_codes("Q", first.query_ids, second.query_ids)
    references = id_codes("R", first.reference_ids, second.reference_ids)
    span = 1 + max(int(codes.max(initial=0)) for codes in references)
    common, i, j = np.intersect1d(
        *(q * span + r for q, r in zip(queries, references, strict=True)), return_indices=True
    )
    words = f"{len(common):,} rows in common, {_only(len(first), len(second), len(common))}"
    if not len(common):
        return [words]
    gaps = np.abs(first.scores[i] - second.scores[j])
    k = int(gaps.argmax())
    pair = f"{first.query_ids[i[k]]},{first.reference_ids[i[k]]}"
    values = f"{first.scores[i[k]]} there, {second.scores[j[k]]} now"
    largest = f"largest score difference {gaps[k]:.3g} ({pair}: {values})" if gaps[k] else "their scores are the same"
    return [f"{words}; {largest}"]


def _same_or_lacking(there: Path, now: Path) -> str:
    if not there.is_file() or not now.is_file():
        return "only there" if there.is_file() else "only now" if now.is_file() else "no file"
    return IDENTICAL if file_digest(there) == file_digest(now) else ""


def _only(there: int, now: int, common: int) -> str:
    return f"{there - common:,} only there, {now - common:,} only now"


def _vectors(first: Embeddings, second: Embeddings) -> str:
    common, i, j = np.intersect1d(first.ids, second.ids, return_indices=True)
    dims = first.vectors.shape[1], second.vectors.shape[1]
    words = (
        f"{len(common):,} {SIDES[first.role]} vectors in common, {_only(len(first.ids), len(second.ids), len(common))}"
    )
    if dims[0] != dims[1]:
        return f"{words}; of {dims[0]} floats there, {dims[1]} now"
    if not len(common):
        return words
    blocks = [_block(first, second, i[k : k + _BLOCK], j[k : k + _BLOCK]) for k in range(0, len(common), _BLOCK)]
    gaps, cosines = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    if not gaps.any():
        return f"{words}; they are the same"
    far, low = int(gaps.argmax()), int(cosines.argmin())
    return (
        f"{words}; floats differ by at most {gaps[far]:.3g} ({common[far]}), "
        f"cosine at least {cosines[low]:.6f} ({common[low]}), {cosines.mean():.6f} on average"
    )


def _block(first: Embeddings, second: Embeddings, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest difference of a float and cosine, of each of some rows."""
    a, b = (_rows(side, rows).astype(np.float64) for side, rows in ((first, i), (second, j)))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = (a * b).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)
    return np.abs(a - b).max(axis=1), cosines


def _rows(side: Embeddings, rows: np.ndarray) -> np.ndarray:
    """Rows of an HDF5 dataset, whose ids ascend as a rule: read in one piece, as single rows would be slow."""
    low = int(rows.min())
    return np.asarray(side.vectors[low : int(rows.max()) + 1])[rows - low]


_SHOWN = 3
_BLOCK_compare = 65_536


@dataclass(frozen=True)
class Comparison:
    """How far two makings of one thing are apart.

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
    """Bytes of two files. What differing bytes amount to is for the comparisons of their values to say."""
    size = before.stat().st_size
    return Comparison(f"{before.name}, {size:,} bytes", 1, file_digest(before) == file_digest(after))


def compare_figures(what: str, before: float, after: float) -> Comparison:
    """A figure reported and measured again."""
    return Comparison(f"{what}, {before:.5f} and {after:.5f}", 1, before == after, abs(before - after))


def compare_numbers(before: Path, after: Path, *, what: str) -> Comparison:
    """All numbers of two files of one kind; infinitely far apart where they hold other things, or cannot be read."""
    identical = file_digest(before) == file_digest(after)
    return Comparison(what, 1, identical, 0.0 if identical else file_gap(before, after))


def compare_weights(before: Path, after: Path) -> Comparison:
    """Tensors of two safetensors files, relative to the root mean square of each."""
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
    """Vectors of the images that both have described; `before` may be an HDF5 dataset, and `after` a sample."""
    rows = np.minimum(np.searchsorted(before.ids, after.ids), len(before.ids) - 1)
    known = before.ids[rows] == after.ids
    gaps, identical = np.zeros(len(after.ids)), True
    for start in range(0, len(rows), _BLOCK_compare):
        at, there = rows[start : start + _BLOCK_compare], known[start : start + _BLOCK_compare]
        first, last = int(at.min()), int(at.max()) + 1
        old = np.asarray(before.vectors[first:last])[at - first]
        new = np.asarray(after.vectors[start : start + _BLOCK_compare])
        identical = identical and old.shape == new.shape and bool((old[there] == new[there]).all())
        if old.shape != new.shape:
            gaps[start : start + _BLOCK_compare] = np.inf
            continue
        lengths = np.maximum(np.linalg.norm(old, axis=1), 1e-12)
        gaps[start : start + _BLOCK_compare] = np.where(there, np.linalg.norm(old - new, axis=1) / lengths, 0)
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
    """Scores of the pairs that both have; relative to the larger of the score and the spread of all scores.

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
