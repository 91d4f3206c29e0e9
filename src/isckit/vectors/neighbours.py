"""Exact nearest vectors of a bank of training images: the one primitive of every normalisation."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from isckit.types import BadInput, Embeddings
from isckit.vectors.checks import lengths, refuse_unless_fittable
from isckit.vectors.exact import best_pairs

_PAIRS = 1 << 20
"""Pairs of a vector and a neighbour that are looked for at once: a search holds a few hundred bytes a pair."""
_FEWEST = 512


def nearest(x: np.ndarray, bank: Embeddings, *, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k bank vectors of largest inner product with each row of x; ties go to the smaller bank row.

    A row's result does not depend, to the last bit, on which other rows are given with it.

    Args:
        x: (n, d) float32.
        bank: train or external embeddings, (b, d).

    Returns:
        Similarities (n, k) float64, descending, and the bank rows (n, k) int64.

    Raises:
        RuleViolation: the bank is not train or external.
        BadInput: k outside 1..b, dimensions differ, NaN or infinite values.
    """
    refuse_unless_fittable(bank.role, what="a normalisation")
    if not 1 <= k <= len(bank.ids):
        raise BadInput(
            seen=f"{k} neighbours from a bank of {len(bank.ids)} vectors",
            allowed=f"1 to {len(bank.ids)}",
            remedy="use a larger bank, or ask for fewer neighbours",
        )
    lengths(x, what="vectors")  # before they are taken apart, so that rows are named by their numbers in x
    step = max(_FEWEST, _PAIRS // k)
    starts = range(0, max(1, len(x)), step)
    found = [
        _nearest(x[start : start + step], bank, k=k)
        for start in tqdm(starts, desc="neighbours", unit="part", disable=len(starts) == 1)
    ]
    similarities, rows = zip(*found, strict=True)
    return np.concatenate(similarities), np.concatenate(rows)


def _nearest(x: np.ndarray, bank: Embeddings, *, k: int) -> tuple[np.ndarray, np.ndarray]:
    pairs, _ = best_pairs(
        x,
        bank.vectors,
        metric="ip",
        quota=k,
        per_query=True,
        query_ranks=np.arange(len(x)),
        reference_ranks=np.arange(len(bank.ids)),
        query_block=512,
        reference_block=65_536,
        names=("vectors", "bank"),
    )
    return pairs["low"].reshape(len(x), k), pairs["reference"].reshape(len(x), k)
