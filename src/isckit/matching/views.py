"""The pairs of views that a branch lists, and what the branch of views makes of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isckit import config
from isckit.matching.cut import cut_pairs, normalised
from isckit.matching.lists import Hits, aggregate, with_crop_penalty
from isckit.runs.steps import NOT_KEPT, Kept
from isckit.types import WHOLE, Embeddings, Matches

ALL_VIEW_PAIRS = 1_000_000
"""Up to so many view pairs, a cut by rows keeps all, so that no pair of a small set is lost."""


def view_matches(
    branch: config.Views,
    queries: Embeddings,
    references: Embeddings,
    bank: Embeddings,
    *,
    images: int,
    free: Sequence[str] = (WHOLE,),
    threshold: float | None = None,
    kept: Kept = NOT_KEPT,
) -> Matches:
    """Return the pairs of images of which a pair of views is listed, each with the score of its best, the best first.

    A view's similarity to its train neighbours is subtracted from its scores, so that scores compare across queries
    and views; no step looks at other queries or references, but for the cut of the list.

    Args:
        queries, references: vectors of the branch's views, in one space.
        bank: train vectors in that space.
        images: query images, which a cut by rows counts.
        free: names of the views without penalty, see `aggregate.of_views`.
        threshold: of a cut by share.
        kept: where parts of the list lie until it is done.

    Raises:
        RuleViolation, BadInput: see `score_norm.background` and `search`.
    """
    left, right = normalised(
        queries.vectors, references.vectors, bank,
        factor=branch.norm_factor, first=branch.norm_first, last=branch.norm_last,
    )  # fmt: skip
    left, right = with_crop_penalty(left, right, queries, references, penalty=branch.crop_penalty, free=free)
    owners = tuple(np.unique(side.ids, return_inverse=True)[1] for side in (queries, references))
    hits = cut_pairs(
        left, right, branch.cut, images=images, threshold=threshold, least=ALL_VIEW_PAIRS,
        groups=(owners[0], owners[1]), kept=kept, name=branch.name,
    )  # fmt: skip
    return aggregate(hits, queries, references)


def member_list(
    branch: config.Agreement,
    queries: Embeddings,
    references: Embeddings,
    bank: Embeddings,
    *,
    images: int,
    threshold: float | None = None,
    kept: Kept = NOT_KEPT,
    name: str = "",
) -> Hits:
    """Return the pairs of views that one member of an agreement lists, with scores before penalties.

    Arguments and errors are those of `view_matches`; a cut by rows is a cut by the member's ranks, of small sets too.
    """
    left, right = normalised(
        queries.vectors, references.vectors, bank,
        factor=branch.norm_factor, first=branch.norm_first, last=branch.norm_last,
    )  # fmt: skip
    return cut_pairs(left, right, branch.cut, images=images, threshold=threshold, kept=kept, name=name)
