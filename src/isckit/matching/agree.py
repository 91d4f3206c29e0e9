"""Agreement: a pair of views counts where several members list it (D2LV, Wang et al. 2021, "confidence")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from isckit.matching.search import Hits


class ViewPairs(NamedTuple):
    """Scored pairs of view rows: three columns; a pair may repeat, with the score of each member."""

    query_rows: np.ndarray
    reference_rows: np.ndarray
    scores: np.ndarray

    def kept(self, keep: np.ndarray) -> ViewPairs:
        """The pairs where `keep`, (m,) bool, holds."""
        return ViewPairs(self.query_rows[keep], self.reference_rows[keep], self.scores[keep])


def agree(lists: Sequence[Hits], *, need: int) -> ViewPairs:
    """The rows of the pairs that at least `need` of the lists hold: a row for each list that holds it.

    It is the same pair of views that must be in the lists, not merely the same pair of images.

    Args:
        lists: of each member, over the same rows of views; a list holds a pair at most once.
    """
    query, reference, scores = (
        np.concatenate([getattr(hits, column) for hits in lists])
        for column in ("query_rows", "reference_rows", "scores")
    )
    pairs = query * (int(reference.max(initial=0)) + 1) + reference
    _, number, count = np.unique(pairs, return_inverse=True, return_counts=True)
    return ViewPairs(query, reference, scores).kept(count[number] >= need)


def large_enough(pairs: ViewPairs, query_sides: np.ndarray, *, min_side: int) -> ViewPairs:
    """The pairs whose query view is at least `min_side` pixels high and wide ("completeness", the small-crop filter).

    Args:
        query_sides: (n,) shorter side of each query view, in pixels of the image as it is.
    """
    return pairs.kept(query_sides[pairs.query_rows] >= min_side)


def without_faces(pairs: ViewPairs, faces: np.ndarray) -> ViewPairs:
    """The pairs whose reference shows no face; `faces`: (m,) bool of each reference view, all views of one alike."""
    return pairs.kept(~faces[pairs.reference_rows])


def penalised(pairs: ViewPairs, query_free: np.ndarray, reference_free: np.ndarray, *, penalty: float) -> ViewPairs:
    """`penalty` less, once, for pairs of which not both views are free of it ((n,) and (m,) bool)."""
    free = query_free[pairs.query_rows] & reference_free[pairs.reference_rows]
    return pairs._replace(scores=pairs.scores - np.where(free, 0.0, penalty))
