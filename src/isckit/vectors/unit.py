"""Vectors at unit length."""

from __future__ import annotations

import numpy as np

from isckit.types import BadInput
from isckit.vectors.checks import lengths

BLOCK = 4096
"""Rows worked on at once: their float64 copies stay small, whatever the size of the set."""


def l2(x: np.ndarray, *, ids: np.ndarray | None = None) -> np.ndarray:
    """Rows of (n, d) float32 at unit length, float32.

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
