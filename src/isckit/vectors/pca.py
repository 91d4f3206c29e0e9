"""PCA fitted on train: from concatenated members to at most 256 dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from isckit import config
from isckit.runs.arrays import read_arrays, write_arrays
from isckit.runs.artifacts import ids_digest
from isckit.types import BadInput, Embeddings, Role
from isckit.vectors.checks import l2, lengths, refuse_unless_fittable, same_dim

_BLOCK = 256
_RANK_TOLERANCE = 1e-12
"""Least variance, relative to the first component's, that is more than float32 rounding of dependent columns."""


@dataclass(frozen=True)
class Pca:
    """A fitted projection: (x - mean) . components, each divided by its scale.

    Attributes:
        mean: (d,) float64.
        components: (dim, d) float64, orthonormal rows, by falling variance.
        scales: (dim,) float64; (variance / first variance) ** whiten.
        fitted_on: role of the images it was fitted on.
        train_ids_digest: sha256 of their ids, in order.
    """

    mean: np.ndarray
    components: np.ndarray
    scales: np.ndarray
    fitted_on: Role
    train_ids_digest: str

    def __post_init__(self) -> None:
        refuse_unless_fittable(self.fitted_on, what="a PCA")
        if self.mean.shape != self.components.shape[1:] or self.scales.shape != self.components.shape[:1]:
            raise BadInput(
                seen=f"PCA of mean {self.mean.shape}, components {self.components.shape}, scales {self.scales.shape}",
                allowed="(d,), (dim, d) and (dim,)",
                remedy="fit the PCA again",
            )

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Return (n, d) float32 to (n, dim) float32.

        Every product has one fixed shape (the last block is padded) and runs in float64, so a row's result does not
        depend on how many other rows come with it.

        Raises:
            BadInput: another dimension than the PCA's, NaN or infinite values.
        """
        lengths(vectors, what="vectors to project")
        same_dim(vectors.shape[1], len(self.mean), what="vectors and PCA")
        weights = np.ascontiguousarray((self.components / self.scales[:, None]).T)
        result = np.empty((len(vectors), len(self.scales)), np.float32)
        block = np.zeros((_BLOCK, len(self.mean)))
        for start in range(0, len(vectors), _BLOCK):
            rows = vectors[start : start + _BLOCK]
            np.subtract(rows, self.mean, out=block[: len(rows)])
            result[start : start + _BLOCK] = (block @ weights)[: len(rows)]
        return result


def fit_pca(train: Embeddings, *, dim: int, whiten: float) -> Pca:
    """Fit on train vectors. The largest entry of each component is positive, so that equal input gives equal output.

    Args:
        train: train or external embeddings, (n, d).
        dim: components kept.
        whiten: power of the variance to divide by: 0 plain PCA, 0.5 full whitening.

    Raises:
        RuleViolation: the embeddings are not train or external.
        BadInput: dim below 1 or above the rank of the vectors; NaN or infinite values.
    """
    refuse_unless_fittable(train.role, what="a PCA")
    lengths(train.vectors, what="train vectors")
    differ = bool((train.vectors != train.vectors[:1]).any())
    most = min(len(train.ids) - 1, train.vectors.shape[1]) if differ else 0
    if not 1 <= dim <= most:
        raise _too_wide(dim, most, train)
    from sklearn.decomposition import PCA

    fitted = PCA(dim, svd_solver="covariance_eigh").fit(train.vectors.astype(np.float64))
    variances = fitted.explained_variance_
    rank = int(np.count_nonzero(variances > max(_RANK_TOLERANCE * variances[0], np.finfo(np.float32).tiny)))
    if rank < dim:
        raise _too_wide(dim, rank, train)
    components = fitted.components_
    largest = np.abs(components).argmax(axis=1)[:, None]
    components = components * np.sign(np.take_along_axis(components, largest, axis=1))
    return Pca(fitted.mean_, components, (variances / variances[0]) ** whiten, train.role, ids_digest(train.ids))


def identity(train: Embeddings) -> Pca:
    """Return the projection that changes nothing, for an ensemble without PCA.

    Such a run has the same files as any other, so that all that reads, freezes and audits them stays as it is.

    Raises:
        RuleViolation: the embeddings are not train or external.
    """
    dim = train.vectors.shape[1]
    return Pca(np.zeros(dim), np.eye(dim), np.ones(dim), train.role, ids_digest(train.ids))


def save_pca(path: Path, pca: Pca) -> None:
    """Write as npz, atomically."""
    arrays = {"mean": pca.mean, "components": pca.components, "scales": pca.scales}
    told = {"fitted_on": np.array(str(pca.fitted_on)), "train_ids_digest": np.array(pca.train_ids_digest)}
    write_arrays(path, arrays | told)


def load_pca(path: Path) -> Pca:
    """Read what save_pca wrote.

    Raises:
        MissingInput: there is no such file.
        BadInput: it is damaged or something else.
        RuleViolation: it was fitted on other images than train or external.
    """
    shapes = {"mean": "f1", "components": "f2", "scales": "f1", "fitted_on": "U0", "train_ids_digest": "U0"}
    with read_arrays(path, shapes, what="a fitted PCA", remedy="run the step that fits it") as found:
        mean, components, scales = (np.asarray(found[name], np.float64) for name in ("mean", "components", "scales"))
        if components.shape != (len(scales), len(mean)):
            raise ValueError(f"components of shape {components.shape} for {len(mean)} coordinates")
        return Pca(mean, components, scales, Role(str(found["fitted_on"])), str(found["train_ids_digest"]))


def _too_wide(dim: int, most: int, train: Embeddings) -> BadInput:
    return BadInput(
        seen=f"PCA to {dim} dimensions from {train.vectors.shape[0]} vectors of {train.vectors.shape[1]} dimensions "
        f"and rank {most}",
        allowed=f"1 to {most}" if most > 0 else "vectors that differ",
        remedy="fit on more train images, or begin another run with a smaller one: isckit train --set ensemble.dim=N",
    )


def combine(parts: Sequence[Embeddings], weights: Sequence[float], *, how: Literal["pca", "shared"]) -> Embeddings:
    """Return the members' vectors of the same images as one, to be projected by `fit_projection`.

    Raises:
        BadInput: see `concatenate` and `shared`.
    """
    return shared(parts, weights) if how == "shared" else concatenate(parts, weights)


def fit_projection(train: Embeddings, settings: config.Ensemble) -> Pca:
    """Return the PCA of combined train vectors; for members that share one space, the projection that changes nothing.

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
    """Return members side by side, each at unit length times its weight: the inner product is the sum of weight^2 *
    cosine.

    Raises:
        BadInput: no parts, another number of weights, weights not positive, parts that differ in role, ids or views
            (the first difference is named), vectors of length zero.
    """
    _refuse_unlike(parts, weights)
    columns = [np.float32(weight) * l2(part.vectors, ids=part.ids) for part, weight in zip(parts, weights, strict=True)]
    return parts[0].with_vectors(np.concatenate(columns, axis=1))


def shared(parts: Sequence[Embeddings], weights: Sequence[float]) -> Embeddings:
    """Return members that share one space: the first describes references and train, the others together the queries.

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
    """Return the pCA, then unit length.

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
