"""From scored pairs of views to scored pairs of images."""

from __future__ import annotations

import numpy as np

from isckit.matching.search import Hits
from isckit.types import WHOLE, BadInput, Embeddings, Matches


def aggregate(
    hits: Hits, queries: Embeddings, references: Embeddings, *, max_rows: int, crop_penalty: float
) -> Matches:
    """The best view pair of each image pair, by score descending, then query id, then reference id.

    Args:
        hits: of a global search over the rows of `queries` and `references`.
        max_rows: image pairs kept.
        crop_penalty: taken off a view pair's score unless both views are the whole image.

    Raises:
        BadInput: max_rows below 1, a negative penalty.
    """
    if max_rows < 1 or not crop_penalty >= 0:
        raise BadInput(
            seen=f"{max_rows} rows, crop penalty {crop_penalty}",
            allowed="at least 1 row and penalty 0",
            remedy="set matching.max_rows and matching.crop_penalty",
        )
    crop = _crops(queries)[hits.query_rows] | _crops(references)[hits.reference_rows]
    scores = hits.scores - crop_penalty * crop
    # Pair scores must not depend on the cut of the list, hence on other images. The maximum is safe where a sum or mean
    # is not: a view pair that was cut scores at most cut_score, so it cannot be the best of a pair that reaches it.
    # Below the cut score (only a penalty leads there) an absent view pair could be better: such pairs are left out.
    rows = np.flatnonzero(scores >= hits.cut_score)
    query_names, query_at = np.unique(queries.ids, return_inverse=True)
    reference_names, reference_at = np.unique(references.ids, return_inverse=True)
    query, reference = query_at[hits.query_rows[rows]], reference_at[hits.reference_rows[rows]]
    order = np.lexsort((reference, query, -scores[rows]))
    first = np.unique((query * len(reference_names) + reference)[order], return_index=True)[1]
    best = order[np.sort(first)[:max_rows]]
    return Matches(query_names[query[best]], reference_names[reference[best]], scores[rows[best]])


def _crops(embeddings: Embeddings) -> np.ndarray:
    """(n,) bool: which rows are another view than the whole image."""
    return np.array([name != WHOLE for name in embeddings.view_names], bool)[embeddings.views]
