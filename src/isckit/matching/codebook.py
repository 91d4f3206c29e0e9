"""Visual words: k-means on local features of train images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from isckit.storage.artifacts import atomic
from isckit.types import BadInput, MissingInput

PER_WORD = 256
"""Features a word that k-means looks at, on average; more change little (faiss' own default)."""
_ROUNDS = 20


def fit_codebook(features: np.ndarray, *, words: int, seed: int) -> np.ndarray:
    """(words, d) float32 centroids of (n, d) float32 features. The same input gives the same words.

    Raises:
        BadInput: fewer features than words.
    """
    if len(features) < words:
        raise BadInput(
            seen=f"{len(features)} local features for {words} visual words",
            allowed="at least one feature a word, better a hundred",
            remedy="set a smaller words, or a larger fit_images or features, of the asmk branch",
        )
    import faiss

    means = faiss.Kmeans(
        features.shape[1],
        words,
        niter=_ROUNDS,
        seed=seed,
        gpu=faiss.get_num_gpus() > 0,
        max_points_per_centroid=PER_WORD,
        min_points_per_centroid=1,
    )
    means.train(np.ascontiguousarray(features, np.float32))
    return np.array(means.centroids, np.float32)


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays atomically, as an uncompressed npz."""
    with atomic(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, **arrays)


def read_array(path: Path, name: str, *, remedy: str) -> np.ndarray:
    """One array of such a file.

    Raises:
        MissingInput: there is no such file.
    """
    if not path.is_file():
        raise MissingInput(seen=f"no {path}", allowed="a fitted run", remedy=remedy)
    with np.load(path, allow_pickle=False) as file:
        return file[name]
