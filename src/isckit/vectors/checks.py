"""The input that every step on vectors asks for: float32 rows of finite length, and a role that may be fitted on."""

from __future__ import annotations

import numpy as np

from isckit.types import BadInput, Role, RuleViolation

BLOCK = 4096
"""Rows worked on at once: their float64 copies stay small, whatever the size of the set."""


def l2(x: np.ndarray, *, ids: np.ndarray | None = None) -> np.ndarray:
    """Return rows of (n, d) float32 at unit length, float32.

    Raises:
        BadInput: rows of length zero, or with NaN or infinite values; named by `ids` where given, else by number.
    """
    lengths(x, what="vectors")
    result = np.empty_like(x, order="C")
    for start in range(0, len(x), BLOCK):
        rows = x[start : start + BLOCK].astype(np.float64)
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        zero = start + np.flatnonzero(norms == 0)
        if len(zero):
            names = zero if ids is None else ids[zero]
            raise BadInput(
                seen=f"vectors of length zero, the first at {', '.join(map(str, names[:5]))}",
                allowed="vectors that have a direction",
                remedy="look at these images: a constant image or a broken model gives such vectors",
            )
        result[start : start + BLOCK] = rows / norms[:, None]
    return result


LONGEST = 1e18
"""Longest vector taken: the product of two such lengths still fits float32."""


def lengths(vectors: np.ndarray, *, what: str, first_row: int = 0) -> np.ndarray:
    """Return the Euclidean length of each row of (n, d) float32 vectors, in float32 accuracy.

    Raises:
        BadInput: not a float32 matrix, or rows that hold NaN or infinity or are longer than LONGEST.
    """
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise BadInput(
            seen=f"{what}: array of shape {vectors.shape} and type {vectors.dtype}",
            allowed="a matrix of float32",
            remedy="convert with .astype(np.float32)",
        )
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    bad = np.flatnonzero(~(norms < LONGEST))
    if len(bad):
        rows = ", ".join(str(row + first_row) for row in bad[:5])
        raise BadInput(
            seen=f"{what}: {len(bad)} rows with NaN, infinite or huge values (rows {rows}, counted from 0)",
            allowed=f"finite vectors shorter than {LONGEST:.0e}",
            remedy="find the images of these rows and extract them again",
        )
    return norms


def same_dim(left: int, right: int, *, what: str) -> None:
    """Refuse vectors of two widths.

    Raises:
        BadInput: the widths differ.
    """
    if left != right:
        raise BadInput(
            seen=f"{what}: vectors of {left} and {right} dimensions",
            allowed="one dimension for both",
            remedy="take both from the same model and the same PCA",
        )


def refuse_unless_fittable(role: Role, *, what: str) -> None:
    """Refuse to fit `what` on images that must stay unseen (competition rules on training and independence).

    Raises:
        RuleViolation: the role is neither train nor external.
    """
    if not role.may_be_fitted_on:
        raise RuleViolation(
            seen=f"{what} would be fitted on {role} images",
            allowed="train or declared external images",
            remedy="extract the training images and fit on them",
        )
