"""Fingerprints of rows: with them a later look at an artifact can name the vector or the pair that changed.

They name; what proves that anything changed is the digest of the whole file. The hash of a vector is two sums over its
floats' bits, taken modulo 2**64: sum(bits[k] * m[k]) and sum(bits[k] * m[k] * (k + 1)) with fixed odd m. Two sums, so
that a vector in which one float changed tells which: it is the k for which the second sum moved k + 1 times the first.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from isckit.judge.rules.finding import Case
from isckit.runs.artifacts import atomic
from isckit.runs.embeddings import read_embeddings
from isckit.runs.workspace import FINGERPRINTS
from isckit.submission import SIDES, open_descriptors, read_matches
from isckit.types import BadInput, Matches, MissingInput

BANK = "bank"
_BLOCK = 4096
"""Rows hashed at a time: the block and its bits as integers stay in a processor's cache."""


@dataclass(frozen=True)
class Rows:
    """Ids (n,) of vectors, their hashes (n, 2) uint64, and their width."""

    ids: np.ndarray
    hashes: np.ndarray
    dim: int


@dataclass(frozen=True)
class Fingerprints:
    """Rows of a submission: "query", "reference" and "bank", and the pairs with their scores; what there is of it."""

    vectors: dict[str, Rows]
    matches: Matches | None


def mixers(dim: int) -> np.ndarray:
    """(dim, 2) uint64: m[k] and m[k] * (k + 1). From a hash, as a library's random numbers change with its versions."""
    odd = np.frombuffer(hashlib.shake_256(b"fingerprint of a vector").digest(8 * dim), "<u8") | np.uint64(1)
    return np.stack([odd, odd * np.arange(1, dim + 1, dtype=np.uint64)], axis=1)


def hashed(ids: np.ndarray, vectors: np.ndarray | h5py.Dataset) -> Rows:
    """Hash vectors (n, d) float32, which may be an HDF5 dataset, in blocks.

    Raises:
        BadInput: they are of another type.
    """
    if vectors.dtype != np.float32 or len(vectors) != len(ids):
        raise BadInput(
            seen=f"{len(vectors)} vectors of {vectors.dtype} for {len(ids)} ids",
            allowed="a float32 vector an id",
            remedy="write the file with the kit",
        )
    dim = vectors.shape[1]
    hashes, by = np.empty((len(ids), 2), np.uint64), mixers(dim)
    for start in range(0, len(ids), _BLOCK):
        block = np.ascontiguousarray(vectors[start : start + _BLOCK], "<f4")
        hashes[start : start + _BLOCK] = block.view("<u4").astype(np.uint64) @ by
    return Rows(ids, hashes, dim)


def hashed_descriptors(path: Path) -> dict[str, Rows]:
    """Rows of both sides of a descriptor file.

    Raises:
        BadInput: it cannot be read as one.
    """
    try:
        with open_descriptors(path) as sides:
            return {SIDES[side.role]: hashed(side.ids, side.vectors) for side in sides}
    except BadInput:
        raise
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, OverflowError) as error:
        # What h5py raises on damage within a file that it could open.
        raise BadInput(
            seen=f"{path} cannot be read ({error})", allowed="a whole HDF5 file", remedy="write or copy it again"
        ) from error


def hashed_bank(path: Path) -> dict[str, Rows]:
    """Rows of the bank of train vectors. Raises BadInput where it cannot be read."""
    bank = read_embeddings(path)
    return {BANK: hashed(bank.ids, bank.vectors)}


def take(case: Case) -> Fingerprints:
    """Fingerprints of the artifacts of a submission that are there.

    Raises:
        BadInput: one of them cannot be read.
    """
    workspace, name, phase = case.workspace, case.name, case.phase
    descriptors, matches, bank = (
        workspace.descriptors(phase, name),
        workspace.matches(phase, name),
        workspace.bank(name),
    )
    vectors = hashed_descriptors(descriptors) if descriptors.is_file() else {}
    vectors |= hashed_bank(bank) if bank.is_file() else {}
    return Fingerprints(vectors, read_matches(matches) if matches.is_file() else None)


def write_fingerprints(folder: Path, fingerprints: Fingerprints) -> Path:
    """Write them into a submission folder as npz, atomically; equal rows give equal bytes."""
    arrays: dict[str, Any] = {}
    for side, rows in fingerprints.vectors.items():
        arrays |= {f"{side}_ids": np.strings.encode(rows.ids, "utf-8"), side: rows.hashes, f"{side}_dim": rows.dim}
    if (matches := fingerprints.matches) is not None:
        queries, references = (np.strings.encode(ids, "utf-8") for ids in (matches.query_ids, matches.reference_ids))
        arrays |= {"pair_query": queries, "pair_reference": references, "pair_score": matches.scores}
    path = folder / FINGERPRINTS
    with atomic(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, allow_pickle=False, **arrays)
    return path


def read_fingerprints(folder: Path) -> Fingerprints:
    """Read what write_fingerprints wrote.

    Raises:
        MissingInput: there are none.
        BadInput: the file is damaged.
    """
    path, remedy = folder / FINGERPRINTS, "put back the one that was written with the manifest"
    if not path.is_file():
        raise MissingInput(seen=f"no {path}", allowed="fingerprints beside the manifest", remedy=remedy)
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {name: np.asarray(file[name]) for name in file.files}
        sides = [side for side in (*SIDES.values(), BANK) if side in held]
        vectors = {side: Rows(_text(held[f"{side}_ids"]), held[side], int(held[f"{side}_dim"])) for side in sides}
        if "pair_score" not in held:
            return Fingerprints(vectors, None)
        queries, references = (_text(held[f"pair_{side}"]) for side in SIDES.values())
        return Fingerprints(vectors, Matches(queries, references, held["pair_score"]))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, RuntimeError) as error:
        raise BadInput(seen=f"{path} is damaged ({error})", allowed="fingerprints as written", remedy=remedy) from error


def _text(ids: np.ndarray) -> np.ndarray:
    return np.strings.decode(ids, "utf-8").astype(str, copy=False)
