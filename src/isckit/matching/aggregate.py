"""From scored pairs of views to scored pairs of images."""

from __future__ import annotations

import numpy as np

from isckit.matching.search import Hits
from isckit.types import WHOLE, Embeddings, Matches


def with_whole_dimension(
    left: np.ndarray, right: np.ndarray, queries: Embeddings, references: Embeddings, *, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    """Add a coordinate by which pairs of two whole images score `penalty` more than pairs in which a view is a crop.

    As a coordinate it is part of the search, so the list is cut by the final scores; up to a constant it is a penalty
    on crops, whose many pairs have more chances to look alike (D2LV: Wang et al. 2021).

    Args:
        left, right: (n, d) and (m, d) float32, the vectors searched with, a row a view.
        queries, references: whose views these rows are.
        penalty: at least 0.
    """
    sides = zip((left, right), (queries, references), strict=True)
    first, second = (np.column_stack([v, np.sqrt(penalty) * _whole(e)]).astype(np.float32) for v, e in sides)
    return first, second


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


def _whole(embeddings: Embeddings) -> np.ndarray:
    """(n,) bool: which rows are the whole image."""
    return np.array([name == WHOLE for name in embeddings.view_names], bool)[embeddings.views]
