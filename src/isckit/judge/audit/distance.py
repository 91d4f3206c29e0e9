"""How far apart the files of two submissions are, in words: vectors of the ids in common, scores of the pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from isckit.data.ground_truth import id_codes
from isckit.storage.artifacts import file_digest
from isckit.submission import SIDES, open_descriptors, read_matches
from isckit.types import Embeddings

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
