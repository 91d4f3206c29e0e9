"""Several members of a recipe as one descriptor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from isckit import config
from isckit.types import BadInput, Embeddings, Role
from isckit.vectors.checks import same_dim
from isckit.vectors.pca import Pca, fit_pca, identity
from isckit.vectors.unit import l2


def combine(parts: Sequence[Embeddings], weights: Sequence[float], *, how: Literal["pca", "shared"]) -> Embeddings:
    """The members' vectors of the same images as one, to be projected by `fit_projection`.

    Raises:
        BadInput: see `concatenate` and `shared`.
    """
    return shared(parts, weights) if how == "shared" else concatenate(parts, weights)


def fit_projection(train: Embeddings, settings: config.Ensemble) -> Pca:
    """PCA of combined train vectors; for members that share one space, the projection that changes nothing.

    Raises:
        RuleViolation: the embeddings are not train or external.
        BadInput: the vectors do not reach `dim` dimensions, or the shared space has another number of them.
    """
    if settings.how == "pca":
        return fit_pca(train, dim=settings.dim, whiten=settings.whiten)
    if train.vectors.shape[1] != settings.dim:
        raise BadInput(
            seen=f"members that share a space of {train.vectors.shape[1]} dimensions, and ensemble.dim={settings.dim}",
            allowed="one number, as a shared space is not reduced",
            remedy=f"set ensemble.dim={train.vectors.shape[1]}, or train the members to {settings.dim} dimensions",
        )
    return identity(train)


def concatenate(parts: Sequence[Embeddings], weights: Sequence[float]) -> Embeddings:
    """Members side by side, each at unit length times its weight: the inner product is the sum of weight^2 * cosine.

    Raises:
        BadInput: no parts, another number of weights, weights not positive, parts that differ in role, ids or views
            (the first difference is named), vectors of length zero.
    """
    _refuse_unlike(parts, weights)
    columns = [np.float32(weight) * l2(part.vectors, ids=part.ids) for part, weight in zip(parts, weights, strict=True)]
    return parts[0].with_vectors(np.concatenate(columns, axis=1))


def shared(parts: Sequence[Embeddings], weights: Sequence[float]) -> Embeddings:
    """Members that share one space: the first describes references and train, the others together the queries.

    A query becomes unit(sum of weight * unit vector) over the members behind the first, or over the first where it is
    alone; references and train are the first member's unit vectors (titanshield2, ISC2021).

    Raises:
        BadInput: as `concatenate`; members of different dimensions; query vectors that cancel out.
    """
    _refuse_unlike(parts, weights)
    for part in parts[1:]:
        same_dim(parts[0].vectors.shape[1], part.vectors.shape[1], what="members that share one space")
    first = 1 if parts[0].role is Role.QUERY and len(parts) > 1 else 0
    last = len(parts) if parts[0].role is Role.QUERY else 1
    total = np.zeros_like(parts[0].vectors)
    for part, weight in zip(parts[first:last], weights[first:last], strict=True):
        total += np.float32(weight) * l2(part.vectors, ids=part.ids)
    return parts[0].with_vectors(l2(total, ids=parts[0].ids))


def project(embeddings: Embeddings, pca: Pca) -> Embeddings:
    """PCA, then unit length.

    Raises:
        BadInput: another dimension than the PCA's, or a vector equal to the train mean.
    """
    return embeddings.with_vectors(l2(pca.project(embeddings.vectors), ids=embeddings.ids))


def _refuse_unlike(parts: Sequence[Embeddings], weights: Sequence[float]) -> None:
    if not parts or len(parts) != len(weights) or not all(0 < weight < np.inf for weight in weights):
        raise BadInput(
            seen=f"{len(parts)} members with weights {list(weights)}",
            allowed="one positive weight a member",
            remedy="set members.NAME.weight",
        )
    for number, part in enumerate(parts[1:], start=1):
        _refuse_difference(parts[0], part, number)


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
