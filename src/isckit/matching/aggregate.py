"""From scored pairs of views to scored pairs of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isckit.matching.search import Hits
from isckit.types import WHOLE, Embeddings, Matches


def of_views(embeddings: Embeddings, names: Sequence[str]) -> np.ndarray:
    """(n,) bool: which rows are of these views; a name that ends in "*" stands for all that begin with it."""
    starts = tuple(name[:-1] for name in names if name.endswith("*"))
    return np.array([name in names or name.startswith(starts) for name in embeddings.view_names], bool)[
        embeddings.views
    ]


def with_crop_penalty(
    left: np.ndarray,
    right: np.ndarray,
    queries: Embeddings,
    references: Embeddings,
    *,
    penalty: float,
    free: Sequence[str] = (WHOLE,),
) -> tuple[np.ndarray, np.ndarray]:
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
    return np.column_stack([left, costs[0], ones[0]]), np.column_stack([right, ones[1], costs[1]])


def aggregate(hits: Hits, queries: Embeddings, references: Embeddings, *, max_rows: int | None = None) -> Matches:
    """The best view pair of each image pair, by score descending, then query id, then reference id.

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
