"""Score normalisation: similarity minus what is usual for the query against train, as one added coordinate.

It looks at the query and at train alone, as the competition's independence of pairs demands.
"""

from __future__ import annotations

import numpy as np

from isckit.types import BadInput, Embeddings
from isckit.vectors.neighbours import nearest


def background(vectors: np.ndarray, bank: Embeddings, *, first: int, last: int) -> np.ndarray:
    """Mean similarity of each vector with its first..last nearest train vectors (ranks from 1): (n,) float64.

    The organisers' statistic is one rank (first = last = 10); SSCD and visionForce average over ranks from 1.

    Raises:
        RuleViolation: the bank is not train or external.
        BadInput: ranks not in 1 <= first <= last <= size of the bank, dimensions differ, NaN or infinite values.
    """
    if not 1 <= first <= last:
        raise BadInput(
            seen=f"ranks {first} to {last}",
            allowed="1 <= first <= last",
            remedy="set norm_first and norm_last of the branch",
        )
    return nearest(vectors, bank, k=last)[0][:, first - 1 :].mean(axis=1)


def with_score_dimension(
    queries: np.ndarray, references: np.ndarray, statistic: np.ndarray, factor: float
) -> tuple[np.ndarray, np.ndarray]:
    """[q, -factor * statistic] and [r, 1], float32: their inner product is q.r - factor * statistic.

    The constant of a query leaves its own order alone and makes the scores of different queries comparable
    (score normalisation of the organisers' baselines).
    """
    left = np.column_stack([queries, -factor * statistic]).astype(np.float32)
    return left, np.column_stack([references, np.ones(len(references), np.float32)])


def normalised(
    queries: np.ndarray, references: np.ndarray, bank: Embeddings, *, factor: float, first: int, last: int
) -> tuple[np.ndarray, np.ndarray]:
    """Both sides, with a coordinate more each: their inner product is the normalised score; a factor of 0 adds none.

    Raises:
        RuleViolation, BadInput: see `background`.
    """
    if not factor:
        return queries, references
    return with_score_dimension(queries, references, background(queries, bank, first=first, last=last), factor)
