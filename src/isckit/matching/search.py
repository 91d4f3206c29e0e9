"""Global exhaustive search: the n best pairs of all queries x references, exact, in bounded memory.

The official descriptor protocol is such a global list (a range search with a running radius), not k neighbours a query:
a pair enters by its own score. The protocol's own cut is arbitrary among ties; here ties go by id.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isckit.types import BadInput
from isckit.vectors.exact import Metric, Rows, best_pairs
from isckit.vectors.shortlist import full_order


@dataclass(frozen=True)
class Hits:
    """The best pairs of rows: by score descending, then query key, then reference key.

    Attributes:
        query_rows, reference_rows: (m,) int64.
        scores: (m,) float64, larger is better.
        ties_cut: pairs left out although their score equals the last one kept (of the list, or of their query's list).
        cut_score: the last score kept, -inf when no pair was left out. No pair left out of a global list scores more.
    """

    query_rows: np.ndarray
    reference_rows: np.ndarray
    scores: np.ndarray
    ties_cut: int
    cut_score: float


def search(
    queries: np.ndarray,
    references: Rows,
    *,
    n: int,
    metric: Metric,
    query_keys: np.ndarray,
    reference_keys: np.ndarray,
    per_query: int | None = None,
    query_block: int = 512,
    reference_block: int = 65_536,
    progress: bool = False,
) -> Hits:
    """Find the n best pairs.

    The result is the same whatever the blocks, threads and BLAS: a score is float64, from its own two rows alone.

    Args:
        queries: (nq, d) float32.
        references: (nr, d) float32 array, or anything with shape and slices (an HDF5 dataset is streamed).
        n: rows of the list.
        metric: "ip" inner product, "l2" minus the squared Euclidean distance.
        query_keys, reference_keys: text ids that order ties.
        per_query: let only so many nearest references of each query compete for the list (k-NN protocol).
        query_block, reference_block: queries scored and references read at once; with n they bound the memory.
        progress: show a bar.

    Raises:
        BadInput: NaN or infinite values (with row numbers), not float32, shapes that do not agree, n below 1.
    """
    for name, keys, vectors in (("query", query_keys, queries), ("reference", reference_keys, references)):
        if len(keys) != vectors.shape[0]:
            raise BadInput(
                seen=f"{len(keys)} {name} keys for {vectors.shape[0]} vectors",
                allowed="one key a vector",
                remedy="pass ids and vectors of the same set",
            )
    ranks = _ranks(query_keys), _ranks(reference_keys)
    if n < 1:
        raise BadInput(seen=f"a list of {n} pairs", allowed="1 or more", remedy="ask for at least one pair")
    pairs, ties = best_pairs(
        queries,
        references,
        metric=metric,
        quota=n if per_query is None else per_query,
        per_query=per_query is not None,
        query_ranks=ranks[0],
        reference_ranks=ranks[1],
        query_block=query_block,
        reference_block=reference_block,
        progress=progress,
    )
    order = np.lexsort(full_order(pairs["query"], pairs["reference"], pairs["low"], *ranks))
    kept, left = pairs[order[:n]], pairs[order[n:]]
    whole = len(kept) == len(queries) * references.shape[0]
    cut = -np.inf if whole else float(kept["low"][-1])
    ties_cut = int(ties.sum() + np.count_nonzero(left["low"] == cut))
    return Hits(kept["query"].copy(), kept["reference"].copy(), kept["low"].copy(), ties_cut, cut)


def _ranks(keys: np.ndarray) -> np.ndarray:
    """Place of each key in sorted order; equal keys share one."""
    if (keys[:-1] < keys[1:]).all():
        return np.arange(len(keys))
    return np.unique(keys, return_inverse=True)[1]
