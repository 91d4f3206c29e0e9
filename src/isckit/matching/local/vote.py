"""Points that lie near each other vote for their images; pairs of images with enough votes are candidates."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from isckit.matching.local.index import Hits
from isckit.matching.local.store import Block

_TURNS = 24
"""Cells of the difference of two angles, 15 degrees each; a vote counts for the cell before its own too."""
_SIZES = 16
"""Cells of the ratio of two diameters, half an octave each, around 1; what lies beyond counts for the outermost."""


class Votes(NamedTuple):
    """Pairs of images with votes: rows of the query and of the reference images, and how many."""

    query: np.ndarray
    reference: np.ndarray
    votes: np.ndarray


def count_votes(hits: Hits, query: Block, reference: Block, *, consistent: bool, least: int) -> Votes:
    """Votes of each pair of images, as far as there are at least `least`.

    A point votes at most once a pair of images, and is voted for at most once: for the nearest there, of equals the
    first. So a letter or an eye that occurs many times on both sides counts as often as on the side that has fewer.
    consistent: only votes that agree on the turn and the scale between the images count together (weak geometric
    consistency, Jegou et al. 2008).
    """
    pair = query.owners[hits.query].astype(np.int64) * len(reference.ids) + reference.owners[hits.reference]
    enough = np.bincount(pair, minlength=len(query.ids) * len(reference.ids))[pair] >= least
    pair, hits = pair[enough], Hits(*(column[enough] for column in hits))
    for side in ("query", "reference"):
        once = _first_of_each(pair, hits, side)
        pair, hits = pair[once], Hits(*(column[once] for column in hits))
    pairs, at = np.unique(pair, return_inverse=True)
    count = np.bincount(at, minlength=len(pairs))
    if consistent and len(pairs):
        count = _fullest(at, len(pairs), query.frames[hits.query], reference.frames[hits.reference])
    kept = count >= least
    return Votes(*np.divmod(pairs[kept], len(reference.ids)), count[kept])


def _first_of_each(pair: np.ndarray, hits: Hits, side: str) -> np.ndarray:
    """Rows of the nearest hit of each pair of images and point of one side."""
    point, other = (hits.query, hits.reference)[:: 1 if side == "query" else -1]
    order = np.lexsort((other, hits.distance, point, pair))
    pair, point = pair[order], point[order]
    return order[np.append(True, (pair[1:] != pair[:-1]) | (point[1:] != point[:-1]))[: len(order)]]


def _fullest(at: np.ndarray, pairs: int, query: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Votes in the fullest window of two by two cells of turn and scale, of each pair."""
    turn = ((query[:, 3] - reference[:, 3]) % 360 * (_TURNS / 360)).astype(np.int64) % _TURNS
    size = np.floor(2 * np.log2(query[:, 2] / reference[:, 2])).astype(np.int64) + _SIZES // 2
    size = size.clip(0, _SIZES - 1)
    best = np.zeros(pairs, np.int64)
    # Sparse: a vote opens the four windows that it lies in, and only those are counted.
    windows = [(turn + dt) % _TURNS * (_SIZES + 1) + size + ds for dt in (0, 1) for ds in (0, 1)]
    keys = np.concatenate([at * (_TURNS * (_SIZES + 1)) + window for window in windows])
    opened, counts = np.unique(keys, return_counts=True)
    np.maximum.at(best, opened // (_TURNS * (_SIZES + 1)), counts)
    return best


def winners(
    images: np.ndarray, distances: np.ndarray, owners: np.ndarray, *, least: int, alone: int, radius: float
) -> Votes:
    """imgFp's rule: each query point votes for the image of its one nearest reference point, whatever it shows.

    A query goes with the image of most votes if these are at least `least` (`alone` where no other image got any),
    more than those of the second image, and their mean squared distance is below `radius`.

    Args:
        images: (n,) reference image of the nearest point of each query point, -1 for none.
        distances: (n,) its squared distance.
        owners: (n,) query image of each point.
    """
    voted = images >= 0
    keys, at, counts = np.unique(
        np.stack([owners[voted], images[voted]]), axis=1, return_inverse=True, return_counts=True
    )
    means = np.bincount(at.ravel(), distances[voted].astype(np.float64), len(counts)) / np.maximum(counts, 1)
    order = np.lexsort((-counts, keys[0]))
    owner, image, counts, means = keys[0][order], keys[1][order], counts[order], means[order]
    first = np.flatnonzero(np.append(True, owner[1:] != owner[:-1])[: len(owner)])
    many = np.diff(np.append(first, len(owner))) > 1
    second = np.where(many, counts[np.minimum(first + 1, len(counts) - 1)], 0)
    kept = (counts[first] >= np.where(many, least, alone)) & (counts[first] > second) & (means[first] < radius)
    won = first[kept]
    return Votes(owner[won].astype(np.int64), image[won].astype(np.int64), counts[won])
