"""Several members of a recipe as one descriptor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isckit.types import BadInput, Embeddings
from isckit.vectors.normalise import l2
from isckit.vectors.pca import Pca


def concatenate(parts: Sequence[Embeddings], weights: Sequence[float]) -> Embeddings:
    """Members side by side, each at unit length times its weight: the inner product is the sum of weight^2 * cosine.

    Raises:
        BadInput: no parts, another number of weights, weights not positive, parts that differ in role, ids or views
            (the first difference is named), vectors of length zero.
    """
    if not parts or len(parts) != len(weights) or not all(0 < weight < np.inf for weight in weights):
        raise BadInput(
            seen=f"{len(parts)} members with weights {list(weights)}",
            allowed="one positive weight a member",
            remedy="set members.NAME.weight",
        )
    for number, part in enumerate(parts[1:], start=1):
        _refuse_difference(parts[0], part, number)
    columns = [np.float32(weight) * l2(part.vectors, ids=part.ids) for part, weight in zip(parts, weights, strict=True)]
    return parts[0].with_vectors(np.concatenate(columns, axis=1))


def project(embeddings: Embeddings, pca: Pca) -> Embeddings:
    """PCA, then unit length.

    Raises:
        BadInput: another dimension than the PCA's, or a vector equal to the train mean.
    """
    return embeddings.with_vectors(l2(pca.project(embeddings.vectors), ids=embeddings.ids))


def _refuse_difference(first: Embeddings, other: Embeddings, number: int) -> None:
    if first.role is not other.role or len(first.ids) != len(other.ids):
        seen = f"{len(first.ids)} {first.role} rows in member 0, {len(other.ids)} {other.role} rows in member {number}"
    else:
        views = np.array(first.view_names)[first.views], np.array(other.view_names)[other.views]
        rows = np.flatnonzero((first.ids != other.ids) | (views[0] != views[1]))
        if not len(rows):
            return
        row = rows[0]
        seen = (
            f"{len(rows)} rows differ, the first is row {row}: {first.ids[row]} ({views[0][row]}) in member 0, "
            f"{other.ids[row]} ({views[1][row]}) in member {number}"
        )
    raise BadInput(
        seen=seen,
        allowed="the same images and views in the same order from every member",
        remedy="extract all members from the same image set and views",
    )
