"""The rows of a shard of embeddings: the views of an image stand together, fixed ones first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from isckit.types import Embeddings, Role
from isckit.views.geometry import View


class Found(NamedTuple):
    """Views found in a range of images: the image of each, counted from the first, the views, their rows."""

    owners: list[int]
    views: list[View]
    places: np.ndarray


class Rows:
    """Space for the vectors of all views of some images.

    Attributes:
        fixed: views of every image.
    """

    def __init__(
        self,
        ids: np.ndarray,
        fixed: tuple[View, ...],
        found: Sequence[tuple[View, ...]],
        *,
        names: tuple[str, ...],
        dim: int,
    ) -> None:
        """`found` are the further views of each image, `names` all that the views may have."""
        self.ids, self.fixed, self.found, self.names = ids, fixed, found, names
        self.starts = np.concatenate([[0], np.cumsum([len(fixed) + len(views) for views in found])]).astype(np.int64)
        self.vectors = np.empty((int(self.starts[-1]), dim), np.float32)

    def put_fixed(self, start: int, vectors: np.ndarray) -> None:
        """Vectors (B, V, dim) of the fixed views of the images from `start` on."""
        places = self.starts[start : start + len(vectors), None] + np.arange(len(self.fixed))
        self.vectors[places] = vectors

    def found_in(self, start: int, stop: int) -> Found:
        """All found views of a range of images."""
        owners = [k for k, views in enumerate(self.found[start:stop]) for _ in views]
        views = [view for found in self.found[start:stop] for view in found]
        firsts = self.starts[start:stop] + len(self.fixed)
        places = [np.arange(first, end) for first, end in zip(firsts, self.starts[start + 1 : stop + 1], strict=True)]
        return Found(owners, views, np.concatenate(places))

    def put_found(self, places: np.ndarray, vectors: np.ndarray) -> None:
        """Vectors (N, dim) of found views, by their places."""
        self.vectors[places] = vectors

    def embeddings(self, role: Role) -> Embeddings:
        """The rows keyed by (image id, view)."""
        number = {name: k for k, name in enumerate(self.names)}
        fixed = [number[view.name] for view in self.fixed]
        views = [k for found in self.found for k in (*fixed, *(number[view.name] for view in found))]
        ids = np.repeat(self.ids, np.diff(self.starts))
        return Embeddings(role, ids, self.vectors, self.names, np.array(views, np.int16))
