"""Words and codes of local features: leaves of a tree of two levels, and 64 bits a point, fitted on train.

A tree (Nister and Stewenius 2006) gives up to a million words, of which a point is compared with a few thousand. Codes
are Hamming embedding (Jegou et al. 2008): the signs of 64 orthogonal projections around the medians of the word. All
numbers are whole, so that no block, thread or library changes a word or a code.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import hadamard

from isckit.matching.local.index import squared_distances
from isckit.runs.arrays import read_arrays, write_arrays
from isckit.types import BadInput
from isckit.vectors.kernels import faiss

BITS = 64
LIST = 8_192
"""Points that a list should have at most, on average: so many words there are."""
FEWEST, MOST = 10, 18
"""Powers of two that a number of words may be."""
POINTS = 600
"""Points of a reference, by which the number of words is chosen."""
PER_WORD = 32
"""Points of train that a word is fitted on."""
_ROUNDS = 10
_BLOCK = 65_536


def words_for(points: int) -> int:
    """Return the number of words for so many reference points, a power of two."""
    return 1 << int(np.clip(np.ceil(np.log2(max(1, points) / LIST)), FEWEST, MOST))


@dataclass(frozen=True)
class Vocabulary:
    """Words and codes, fitted on train.

    Attributes:
        coarse: (a, d) float32 centres of the first level.
        words: (a * b, d) float32 centres of the second, b to each of the first.
        medians: (a * b, 64) float32, of the projections of the train points of each word.
        flips: (d,) float32, 1 or -1.
        least: votes that a pair needs at the size it was fitted for.
    """

    coarse: np.ndarray
    words: np.ndarray
    medians: np.ndarray
    flips: np.ndarray
    least: int = 1

    @property
    def branches(self) -> int:
        """Words of a coarse centre."""
        return len(self.words) // len(self.coarse)

    def nearest(self, points: np.ndarray, *, probes: int) -> np.ndarray:
        """(n, d) float32 -> (n, probes) int32 words, nearest first: those below the 2 * probes nearest coarse centres.

        Of equally near ones the first.
        """
        probes = min(probes, len(self.words))
        some = [self._nearest(points[at : at + _BLOCK], probes) for at in range(0, len(points), _BLOCK)]
        return np.concatenate([np.zeros((0, probes), np.int32), *some])

    def _nearest(self, points: np.ndarray, probes: int) -> np.ndarray:
        visited = min(max(2 * probes, -(-probes // self.branches)), len(self.coarse))
        branches = _smallest(squared_distances(points, self.coarse), visited)
        distances = np.empty((len(points), visited, self.branches), np.float32)
        order = np.argsort(branches, axis=None, kind="stable")
        rows, places = np.divmod(order, visited)
        starts = np.searchsorted(branches.ravel()[order], np.arange(len(self.coarse) + 1))
        for branch, (start, stop) in enumerate(itertools.pairwise(starts)):
            if start < stop:
                some = slice(start, stop)
                below = self.words[branch * self.branches : (branch + 1) * self.branches]
                distances[rows[some], places[some]] = squared_distances(points[rows[some]], below)
        found = _smallest(distances.reshape(len(points), -1), probes)
        return (np.take_along_axis(branches, found // self.branches, 1) * self.branches + found % self.branches).astype(
            np.int32
        )

    def codes(self, points: np.ndarray, words: np.ndarray) -> np.ndarray:
        """(n, d) points in (n, probes) words -> (n, probes) uint64: a one where a projection exceeds its median."""
        result = np.empty(words.shape, np.uint64)
        for at in range(0, len(points), _BLOCK):
            projected = project(points[at : at + _BLOCK], self.flips)
            for probe in range(words.shape[1]):
                above = projected > self.medians[words[at : at + _BLOCK, probe]]
                result[at : at + _BLOCK, probe] = np.packbits(above, axis=1).view(np.uint64)[:, 0]
        return result


def project(points: np.ndarray, flips: np.ndarray) -> np.ndarray:
    """Return (n, 64) float32 projections onto orthogonal directions of whole numbers: exact for whole points."""
    width = len(flips)
    size = 1 << max(6, (width - 1).bit_length())
    directions = hadamard(size)[:width, np.linspace(0, size - 1, BITS).astype(int)].astype(np.float32)
    return points @ (flips[:, None] * directions)


def fit(points: np.ndarray, words: int, *, seed: int, bits: bool = False) -> Vocabulary:
    """Fit words and medians on (n, d) float32 points of train images; `bits`: unpacked bits.

    Raises:
        BadInput: fewer points than words.
    """
    if len(points) < words:
        raise BadInput(
            seen=f"{len(points)} points of train for {words} words",
            allowed="at least as many points as words",
            remedy="describe more train images, or set fewer lists when the run is trained: "
            "--set matching.branches.local.vote.lists=64",
        )
    power = words.bit_length() - 1
    above = 1 << (power // 2)
    below = words // above
    # On a grid on which distances are exact in float32, so that no rounding decides between two words.
    grid = 256.0 if bits else 1.0
    coarse = _means(points, above, seed=seed, grid=grid)
    owners = _smallest_in_blocks(points, coarse)
    leaves = [_means(points[owners == at], below, seed=seed, grid=grid, near=coarse[at]) for at in range(above)]
    flips = np.random.default_rng(seed).choice([-1, 1], points.shape[1]).astype(np.float32)
    blank = Vocabulary(coarse, np.concatenate(leaves), np.zeros((words, BITS), np.float32), flips)
    own, projected = blank.nearest(points, probes=1)[:, 0], project(points, flips)
    middle = np.median(projected, axis=0)
    medians = np.tile(np.floor(middle) + 0.5, (words, 1)).astype(np.float32)
    order = np.argsort(own, kind="stable")
    starts = np.searchsorted(own[order], np.arange(words + 1))
    for word in range(words):
        if starts[word + 1] - starts[word] >= _FEW:
            some = projected[order[starts[word] : starts[word + 1]]]
            medians[word] = np.floor(np.median(some, axis=0)) + 0.5  # between whole numbers: nothing equals it
    return Vocabulary(coarse, blank.words, medians, flips)


_FEW = 8
"""Points of a word from which on it has medians of its own."""


def _means(points: np.ndarray, count: int, *, seed: int, grid: float, near: np.ndarray | None = None) -> np.ndarray:
    """Return k-means centres on a grid; where points are too few, each is one, and the rest lie at infinity."""
    if len(points) <= count:
        missing = np.full((count - len(points), points.shape[1]), _NOWHERE, np.float32)
        return np.concatenate([points, missing]).astype(np.float32)
    means = faiss.Kmeans(points.shape[1], count, niter=_ROUNDS, seed=seed, min_points_per_centroid=1)
    means.train(points)
    assert means.centroids is not None
    return (np.rint(means.centroids * grid) / grid).astype(np.float32)


_NOWHERE = 4_096.0
"""Each coordinate of a centre that no point is near to."""


def _smallest_in_blocks(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    starts = range(0, len(points), _BLOCK)
    return np.concatenate([squared_distances(points[at : at + _BLOCK], centres).argmin(axis=1) for at in starts])


def _smallest(distances: np.ndarray, count: int) -> np.ndarray:
    """Return (n, count) columns of the smallest of each row, the smallest first, of equals the first."""
    if count < distances.shape[1]:
        edge = np.partition(distances, count - 1, axis=1)[:, count - 1 : count]
        # Of those at the edge the first columns: those below it come first, then as many as are missing.
        rank = np.where(distances < edge, 0, np.where(distances == edge, 1, 2))
        some = np.sort(np.argsort(rank, axis=1, kind="stable")[:, :count], axis=1)
    else:
        some = np.broadcast_to(np.arange(distances.shape[1]), distances.shape)
    order = np.argsort(np.take_along_axis(distances, some, 1), axis=1, kind="stable")
    return np.take_along_axis(some, order, 1)


def save(path: Path, vocabulary: Vocabulary) -> None:
    """Write a vocabulary atomically."""
    arrays = {name: getattr(vocabulary, name) for name in ("coarse", "words", "medians", "flips")}
    write_arrays(path, arrays | {"least": np.array([vocabulary.least])})


def load(path: Path) -> Vocabulary:
    """Read what `save` wrote.

    Raises:
        MissingInput: there is no such file.
        BadInput: it is damaged or something else.
    """
    shapes = {"coarse": "f2", "words": "f2", "medians": "f2", "flips": "f1", "least": "i1"}
    with read_arrays(path, shapes, what="the words of an index", remedy="fit again") as found:
        coarse, leaves, medians, flips = (found[name] for name in ("coarse", "words", "medians", "flips"))
        return Vocabulary(coarse, leaves, medians, flips, int(found["least"][0]))
