"""Exact nearest vectors of a bank of training images: the one primitive of every normalisation."""

from __future__ import annotations

import numpy as np

from isckit.types import BadInput, Embeddings
from isckit.vectors.checks import refuse_unless_fittable
from isckit.vectors.exact import best_pairs


def nearest(x: np.ndarray, bank: Embeddings, *, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k bank vectors of largest inner product with each row of x; ties go to the smaller bank row.

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
