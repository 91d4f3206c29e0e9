"""The points of two sets near each other: cells of a quantiser fitted on train, and exact distances within them.

Every reference point lies in its nearest cell; a query point looks into its `probes` nearest ones. Whether two points
meet depends on the two and on the centroids alone. Distances are of whole numbers below 2^24, hence exact in float32:
no block, thread or library changes them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from isckit.config import Vote
from isckit.runs.arrays import read_arrays, write_arrays
from isckit.vectors.kernels import faiss

_PQ_BYTES = 32
_ROUNDS = 10
_TILE = 4_096
"""Query and reference points compared at once, each: 64 MiB of distances."""
_PER_CENTROID = 64
"""Points of train that a centroid is fitted on."""
_ASSIGNED = 65_536


class PointHits(NamedTuple):
    """Pairs of points: rows of the query and of the reference points (int32), squared distances (float32)."""

    query: np.ndarray
    reference: np.ndarray
    distance: np.ndarray


def squared_distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(n, d) and (m, d) float32 -> (n, m) float32; exact for whole numbers whose squared lengths are below 2^23."""
    distances = left @ (-2 * right).T
    distances += np.einsum("ij,ij->i", left, left)[:, None]
    distances += np.einsum("ij,ij->i", right, right)
    return distances


@dataclass(frozen=True)
class Quantiser:
    """Cells of the space of descriptors; without centroids there is one cell, and the search is exhaustive.

    Attributes:
        centroids: (cells, d) float32; (0, d) for none.
        codebook: (d values) of the product quantiser, (0,) for none: reference points are then compared by their codes.
    """

    centroids: np.ndarray
    codebook: np.ndarray

    def cells(self, points: np.ndarray, *, probes: int) -> np.ndarray:
        """(n, d) float32 -> (n, probes) int64 nearest cells, nearest first."""
        if not len(self.centroids):
            return np.zeros((len(points), 1), np.int64)
        flat = faiss.IndexFlatL2(self.centroids.shape[1])
        flat.add(self.centroids)
        probes = min(probes, len(self.centroids))
        parts = [flat.search(points[at : at + _ASSIGNED], probes)[1] for at in range(0, len(points), _ASSIGNED)]
        return np.concatenate(parts) if parts else np.zeros((0, probes), np.int64)

    def encode(self, points: np.ndarray) -> np.ndarray:
        """(n, d) float32 -> (n, 32) uint8 codes of the product quantiser."""
        return self._product(points.shape[1]).compute_codes(points)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return what codes stand for, in whole numbers: (n, d) float32."""
        product: Any = self._product(len(self.codebook) // 256)  # faiss wraps its methods when it is loaded
        return np.rint(product.decode(codes))

    def _product(self, dim: int) -> faiss.ProductQuantizer:
        product = faiss.ProductQuantizer(dim, _PQ_BYTES, 8)
        faiss.copy_array_to_vector(self.codebook, product.centroids)
        return product


EVERYTHING = Quantiser(np.zeros((0, 0), np.float32), np.zeros(0, np.float32))
"""One cell: what an exact index has."""


def fit(points: np.ndarray, settings: Vote, *, seed: int, bits: bool = False) -> Quantiser:
    """Fit the cells on (n, d) float32 points of train images, at most `sample_size` of them; `bits`: unpacked bits."""
    centroids, codebook = np.zeros((0, points.shape[1]), np.float32), np.zeros(0, np.float32)
    if settings.index != "exact" and len(points):
        cells = min(settings.lists, len(points))
        means = faiss.Kmeans(points.shape[1], cells, niter=_ROUNDS, seed=seed, min_points_per_centroid=1)
        means.train(points)
        # On a grid on which distances are exact in float32, so that no rounding decides between two cells.
        grid = 256 if bits else 1
        assert means.centroids is not None
        centroids = (np.rint(means.centroids * grid) / grid).astype(np.float32)
    if settings.index == "ivf_pq":
        product = faiss.ProductQuantizer(points.shape[1], _PQ_BYTES, 8)
        product.cp.seed, product.cp.min_points_per_centroid = seed, 1
        product.train(points)
        codebook = faiss.vector_to_array(product.centroids)
    return Quantiser(centroids, codebook)


def sample_size(settings: Vote) -> int:
    """Return the points of train that are enough for fitting."""
    return _PER_CENTROID * max(settings.lists, 256)


def save(path: Path, quantiser: Quantiser) -> None:
    """Write a quantiser atomically."""
    write_arrays(path, {"centroids": quantiser.centroids, "codebook": quantiser.codebook})


def load(path: Path) -> Quantiser:
    """Read what `save` wrote.

    Raises:
        MissingInput: there is no such file.
        BadInput: it is damaged or something else.
    """
    shapes = {"centroids": "f2", "codebook": "f*"}
    with read_arrays(path, shapes, what="the cells of an index", remedy="fit again") as found:
        return Quantiser(found["centroids"], found["codebook"])


class Tile(NamedTuple):
    """Points that share a cell: rows of both sides, and their squared distances."""

    query: np.ndarray
    reference: np.ndarray
    distances: np.ndarray


def tiles(query: np.ndarray, query_cells: np.ndarray, reference: np.ndarray, cells: np.ndarray) -> Iterator[Tile]:
    """Yield all pairs of points that share a cell, each once.

    Args:
        query, reference: (n, d) and (m, d) float32.
        query_cells: (n, probes). cells: (m,).
    """
    probes = query_cells.shape[1]
    order, reference_order = np.argsort(query_cells, axis=None, kind="stable"), np.argsort(cells, kind="stable")
    present, starts = np.unique(cells[reference_order], return_index=True)
    ends = np.append(starts[1:], len(cells))
    sorted_cells = query_cells.ravel()[order]
    firsts, lasts = (np.searchsorted(sorted_cells, present, side=side) for side in ("left", "right"))
    for start, end, first, last in zip(starts, ends, firsts, lasts, strict=True):
        for there in range(start, end, _TILE):
            right = reference_order[there : min(end, there + _TILE)]
            for here in range(first, last, _TILE):
                left = order[here : min(last, here + _TILE)] // probes
                yield Tile(left, right, squared_distances(query[left], reference[right]))


def within(
    query: np.ndarray,
    query_cells: np.ndarray,
    reference: np.ndarray,
    cells: np.ndarray,
    *,
    radius: float,
    most: int = sys.maxsize,
) -> PointHits | None:
    """Return all pairs of points that share a cell and are at most `radius` apart (squared distance); None if above
    `most`.
    """
    count, found = 0, [PointHits(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))]
    for tile in tiles(query, query_cells, reference, cells):
        left, right = np.nonzero(tile.distances <= radius)
        count += len(left)
        if count > most:
            return None
        found.append(
            PointHits(
                tile.query[left].astype(np.int32), tile.reference[right].astype(np.int32), tile.distances[left, right]
            )
        )
    return PointHits(*map(np.concatenate, zip(*found, strict=True)))


def nearest(
    query: np.ndarray, query_cells: np.ndarray, reference: np.ndarray, cells: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the squared distance (inf for none) and row of the nearest reference point of each query point; of equals
    the first.

    Only points that share a cell are looked at.
    """
    best, rows = np.full(len(query), np.inf, np.float32), np.full(len(query), len(reference), np.int64)
    for tile in tiles(query, query_cells, reference, cells):
        column = tile.distances.argmin(axis=1)
        distance, row = tile.distances[np.arange(len(column)), column], tile.reference[column]
        better = (distance < best[tile.query]) | ((distance == best[tile.query]) & (row < rows[tile.query]))
        best[tile.query[better]], rows[tile.query[better]] = distance[better], row[better]
    return best, rows
