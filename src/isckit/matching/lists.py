"""Global exhaustive search: the n best pairs of all queries x references, exact, in bounded memory.

The official descriptor protocol is such a global list (a range search with a running radius), not k neighbours a query:
a pair enters by its own score. The protocol's own cut is arbitrary among ties; here ties go by id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isckit.types import WHOLE, BadInput, Embeddings, Matches
from isckit.vectors.exact import best_pairs, full_order
from isckit.vectors.products import Metric, RowBlock, Rows, Widened


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
    queries: Rows,
    references: RowBlock,
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
    """Return the place of each key in sorted order; equal keys share one."""
    if (keys[:-1] < keys[1:]).all():
        return np.arange(len(keys))
    return np.unique(keys, return_inverse=True)[1]


def of_views(embeddings: Embeddings, names: Sequence[str]) -> np.ndarray:
    """Return (n,) bool: which rows are of these views; a name that ends in "*" stands for all that begin with it."""
    starts = tuple(name[:-1] for name in names if name.endswith("*"))
    return np.array([name in names or name.startswith(starts) for name in embeddings.view_names], bool)[
        embeddings.views
    ]


def with_crop_penalty(
    left: Rows,
    right: Rows,
    queries: Embeddings,
    references: Embeddings,
    *,
    penalty: float,
    free: Sequence[str] = (WHOLE,),
) -> tuple[Widened, Widened]:
    """Add two coordinates that take `penalty` off a pair's score for each of its views that is not one of the free.

    Crops have many more chances to look alike, two crops still more (the idea is D2LV's; Wang et al. 2021). Written as
    coordinates the penalty is part of the search, so the list is cut by the final scores.

    Args:
        left, right: (n, d) and (m, d) float32, the vectors searched with, a row a view.
        queries, references: whose views these rows are.
        penalty: at least 0.
        free: names of views, see `of_views`.
    """
    costs = [np.where(of_views(side, free), 0.0, -penalty).astype(np.float32) for side in (queries, references)]
    ones = [np.ones(len(side), np.float32) for side in (left, right)]
    sides = np.stack([costs[0], ones[0]], axis=1), np.stack([ones[1], costs[1]], axis=1)
    return Widened(left, sides[0]), Widened(right, sides[1])


def aggregate(hits: Hits, queries: Embeddings, references: Embeddings, *, max_rows: int | None = None) -> Matches:
    """Return the best view pair of each image pair, by score descending, then query id, then reference id.

    Args:
        hits: of a global search over the rows of `queries` and `references`.
        max_rows: image pairs kept, at least 1; None for all.
    """
    query_names, query_at = np.unique(queries.ids, return_inverse=True)
    reference_names, reference_at = np.unique(references.ids, return_inverse=True)
    query, reference = query_at[hits.query_rows], reference_at[hits.reference_rows]
    order = np.lexsort((reference, query, -hits.scores))
    # Pair scores must not depend on the cut of the list, hence on other images. The maximum is safe where a sum or mean
    # is not: a view pair that was cut scores at most what was kept, so it cannot be the best of a pair that is there.
    first = np.unique((query * len(reference_names) + reference)[order], return_index=True)[1]
    best = order[np.sort(first)[:max_rows]]
    return Matches(query_names[query[best]], reference_names[reference[best]], hits.scores[best])
