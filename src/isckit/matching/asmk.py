"""ASMK: the aggregated selective match kernel with binary codes (Tolias, Avrithis & Jegou, ICCV 2013; HOW, ECCV 2020).

An image is the set of its visual words, each with the signs of the sum of its features' residuals. Two images score by
the words they share. No inverse document frequency, so a score is a function of the two images and the codebook.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from isckit.matching.codes import Codes
from isckit.types import BadInput, Role

_UNIT = 2.0**36
"""Similarities are added as whole multiples of 1 / _UNIT: sums of fewer than 2^17 are exact in any order, so a score
depends neither on blocks nor on what else is in them."""
_PAIRS = 1 << 21
"""Pairs of a query word and a database word that are compared at once."""


def aggregate(features: np.ndarray, words: np.ndarray, codebook: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the visual words of one image with their codes: the signs of the sum of residuals, above zero a one.

    Args:
        features: (n, d) float32.
        words: (n, k) the words that each feature is assigned to.
        codebook: (words, d) float32.

    Returns:
        (m,) int32, ascending, and (m, ceil(d / 64)) uint64.
    """
    flat = words.ravel()
    order = np.argsort(flat, kind="stable")
    found, starts = np.unique(flat[order], return_index=True)
    residuals = features[order // words.shape[1]].astype(np.float64) - codebook[flat[order]]
    return found.astype(np.int32), packed(np.add.reduceat(residuals, starts, axis=0) > 0)


def packed(signs: np.ndarray) -> np.ndarray:
    """(m, d) bool -> (m, ceil(d / 64)) uint64, zeros behind."""
    filled = np.zeros((len(signs), -(-signs.shape[1] // 64) * 8), np.uint8)
    octets = np.packbits(signs, axis=1)
    filled[:, : octets.shape[1]] = octets
    return filled.view(np.uint64)


def gathered(role: Role, ids: np.ndarray, parts: Iterable[tuple[np.ndarray, np.ndarray]], *, bits: int) -> Codes:
    """Return the codes of several images, from what `aggregate` gave for each; at least one."""
    words, codes = zip(*parts, strict=True)
    counts = np.array([len(part) for part in words], np.int32)
    return Codes(role, ids, counts, np.concatenate(words), np.concatenate(codes), bits)


def similarities(queries: Codes, database: Codes, *, alpha: float, threshold: float) -> np.ndarray:
    """Return (queries, database images) float64: what the shared words add up to, in [0, 1]; 0 where none is shared.

    A shared word adds s^alpha, s = 1 - 2 * Hamming distance / bits, where s reaches `threshold`; the sum is divided by
    the roots of both images' numbers of words.
    """
    size = (len(queries.ids), len(database.ids))
    values = _values(queries.bits, alpha=alpha, threshold=threshold)
    order = np.argsort(database.words, kind="stable")
    words, codes = database.words[order], database.codes[order]
    image = np.repeat(np.arange(size[1]), database.counts)[order]
    row = np.repeat(np.arange(size[0]), queries.counts)
    first = np.searchsorted(words, queries.words, side="left")
    many = np.searchsorted(words, queries.words, side="right") - first
    sums = np.zeros(size[0] * size[1])
    for part in _parts(many):
        entry = np.repeat(np.arange(part.start, part.stop), many[part])
        place = np.arange(len(entry)) + np.repeat(first[part] - (np.cumsum(many[part]) - many[part]), many[part])
        apart = np.zeros(len(entry), np.intp)
        for column in range(codes.shape[1]):
            apart += np.bitwise_count(queries.codes[entry, column] ^ codes[place, column])
        low, high = row[part.start], row[part.stop - 1] + 1
        cell = (row[entry] - low) * size[1] + image[place]
        sums[low * size[1] : high * size[1]] += np.bincount(cell, values[apart], minlength=(high - low) * size[1])
    lengths = (np.sqrt(np.maximum(side.counts, 1)) for side in (queries, database))
    return sums.reshape(size) / _UNIT / np.multiply.outer(*lengths)


def _values(bits: int, *, alpha: float, threshold: float) -> np.ndarray:
    """Return what a shared word adds, in units, by Hamming distance: (bits + 1,) whole numbers."""
    similarity = 1 - 2 * np.arange(bits + 1) / bits
    chosen = similarity >= threshold
    return np.where(chosen, np.rint(np.where(chosen, similarity, 0.0) ** alpha * _UNIT), 0.0)


def _parts(many: np.ndarray) -> Iterator[slice]:
    """Return consecutive query words with about _PAIRS pairs in all."""
    ends, start = np.cumsum(many), 0
    while start < len(many):
        before = ends[start] - many[start]
        stop = max(start + 1, int(np.searchsorted(ends, before + _PAIRS, side="right")))
        yield slice(start, stop)
        start = stop


def background(queries: Codes, train: Iterable[Codes], *, rank: int, alpha: float, threshold: float) -> np.ndarray:
    """Return (queries,) similarity with the train image of that rank, from 1: what is subtracted from scores.

    0 where fewer train images share a word, or are there at all.
    """
    best = np.zeros((len(queries.ids), rank))
    for part in train:
        assert part.role.may_be_fitted_on, f"scores are normalised against train, not against {part.role}"
        joined = np.concatenate([best, similarities(queries, part, alpha=alpha, threshold=threshold)], axis=1)
        best = np.partition(joined, joined.shape[1] - rank, axis=1)[:, -rank:]
    return best.min(axis=1)


class BestPairs:
    """The best pairs so far, of all or of each query, in bounded memory; ties go to smaller rows."""

    def __init__(self, *, amount: int, per_query: bool) -> None:
        self.amount, self.per_query = amount, per_query
        self.floor = -np.inf
        self._parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
        self._size = 0

    def add(self, queries: np.ndarray, references: np.ndarray, scores: np.ndarray) -> None:
        """Pairs that were not added before; those below `floor` may be left out."""
        self._parts.append((queries, references, scores))
        self._size += len(scores)
        if self._size > 4 * max(self.amount, _PAIRS // 4):
            self._parts = [self.finish()]
            held = self._parts[0][2]
            self._size = len(held) if not self.per_query else 0
            if not self.per_query and len(held) == self.amount:
                self.floor = held[-1]

    def finish(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the query rows, reference rows and scores of what is kept."""
        queries, references, scores = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        order = np.lexsort((references, queries, -scores))
        if not self.per_query:
            order = order[: self.amount]
        else:
            grouped = order[np.argsort(queries[order], kind="stable")]
            starts = np.searchsorted(queries[grouped], queries[grouped], side="left")
            kept = grouped[np.arange(len(grouped)) - starts < self.amount]
            order = order[np.isin(order, kept)]
        return queries[order], references[order], scores[order]


PER_WORD = 256
"""Features a word that k-means looks at, on average; more change little (faiss' own default)."""
_ROUNDS = 20


def fit_codebook(features: np.ndarray, *, words: int, seed: int) -> np.ndarray:
    """Return (words, d) float32 centroids of (n, d) float32 features. The same input gives the same words.

    Raises:
        BadInput: fewer features than words.
    """
    if len(features) < words:
        raise BadInput(
            seen=f"{len(features)} local features for {words} visual words",
            allowed="at least one feature a word, better a hundred",
            remedy="set a smaller words, or a larger fit_images or features, of the asmk branch",
        )
    from isckit.vectors.kernels import faiss

    means = faiss.Kmeans(
        features.shape[1],
        words,
        niter=_ROUNDS,
        seed=seed,
        gpu=faiss.get_num_gpus() > 0,
        max_points_per_centroid=PER_WORD,
        min_points_per_centroid=1,
    )
    means.train(np.ascontiguousarray(features, np.float32))
    return np.array(means.centroids, np.float32)
