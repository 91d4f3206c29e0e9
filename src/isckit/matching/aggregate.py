"""From scored pairs of views to scored pairs of images."""

from __future__ import annotations

import numpy as np

from isckit.matching.search import Hits
from isckit.types import WHOLE, Embeddings, Matches


def with_crop_penalty(
    left: np.ndarray, right: np.ndarray, queries: Embeddings, references: Embeddings, *, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    """Add two coordinates that take `penalty` off a pair's score for each of its views that is not the whole image.

    Crops have many more chances to look alike, two crops still more (the idea is D2LV's; Wang et al. 2021). Written as
    coordinates the penalty is part of the search, so the list is cut by the final scores.

    Args:
        left, right: (n, d) and (m, d) float32, the vectors searched with, a row a view.
        queries, references: whose views these rows are.
        penalty: at least 0.
    """
    ones = np.ones(len(left)), np.ones(len(right))
    first = np.column_stack([left, -penalty * _crops(queries), ones[0]])
    return first.astype(np.float32), np.column_stack([right, ones[1], -penalty * _crops(references)]).astype(np.float32)


def aggregate(hits: Hits, queries: Embeddings, references: Embeddings, *, max_rows: int) -> Matches:
    """The best view pair of each image pair, by score descending, then query id, then reference id.

    Args:
        hits: of a global search over the rows of `queries` and `references`.
        max_rows: image pairs kept, at least 1.
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


def _crops(embeddings: Embeddings) -> np.ndarray:
    """(n,) bool: which rows are another view than the whole image."""
    return np.array([name != WHOLE for name in embeddings.view_names], bool)[embeddings.views]
