"""Points that lie near each other vote for their images; pairs of images with enough votes are candidates."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from isckit.config import Vote
from isckit.features.store import Block, Store
from isckit.matching.local.index import PointHits, Quantiser, nearest, within
from isckit.matching.local.inverted import OCTAVE, TURNS, Part, levels, lists_of, matching_entries
from isckit.matching.local.words import Vocabulary
from isckit.runs.steps import NOT_KEPT, Advance, Kept

_TURNS = 24
"""Cells of the difference of two angles, 15 degrees each; a vote counts for the cell before its own too."""
_SIZES = 16
"""Cells of the ratio of two diameters, half an octave each, around 1; what lies beyond counts for the outermost."""


class Votes(NamedTuple):
    """Pairs of images with votes: rows of the query and of the reference images, and how many."""

    query: np.ndarray
    reference: np.ndarray
    votes: np.ndarray


def count_votes(hits: PointHits, query: Block, reference: Block, *, consistent: bool, least: int) -> Votes:
    """Return the votes of each pair of images, as far as there are at least `least`.

    A point votes at most once a pair of images, and is voted for at most once: for the nearest there, of equals the
    first. So a letter or an eye that occurs many times on both sides counts as often as on the side that has fewer.
    consistent: only votes that agree on the turn and the scale between the images count together (weak geometric
    consistency, Jegou et al. 2008).
    """
    pair = query.owners[hits.query].astype(np.int64) * len(reference.ids) + reference.owners[hits.reference]

    def differences(kept: PointHits) -> tuple[np.ndarray, np.ndarray]:
        left, right = query.frames[kept.query], reference.frames[kept.reference]
        return (left[:, 3] - right[:, 3]) % 360, np.log2(left[:, 2] / right[:, 2])

    pairs, count = _counted(pair, hits, least=least, differences=differences if consistent else None)
    return Votes(*np.divmod(pairs, len(reference.ids)), count)


Differences = Callable[[PointHits], tuple[np.ndarray, np.ndarray]]
"""Pairs of points to their difference in turn, degrees in [0, 360), and in scale, octaves."""


def _counted(
    pair: np.ndarray, hits: PointHits, *, least: int, differences: Differences | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of images with at least `least` votes, and how many; `pair` is the number of each hit's."""
    enough = np.bincount(pair)[pair] >= least
    pair, hits = pair[enough], PointHits(*(column[enough] for column in hits))
    for side in ("query", "reference"):
        once = _first_of_each(pair, hits, side)
        pair, hits = pair[once], PointHits(*(column[once] for column in hits))
    pairs, at = np.unique(pair, return_inverse=True)
    count = np.bincount(at, minlength=len(pairs))
    if differences is not None and len(pairs):
        count = _fullest(at, len(pairs), *differences(hits))
    kept = count >= least
    return pairs[kept], count[kept]


def _first_of_each(pair: np.ndarray, hits: PointHits, side: str) -> np.ndarray:
    """Return rows of the nearest hit of each pair of images and point of one side."""
    point, other = (hits.query, hits.reference)[:: 1 if side == "query" else -1]
    order = np.lexsort((other, hits.distance, point, pair))
    pair, point = pair[order], point[order]
    return order[np.append(True, (pair[1:] != pair[:-1]) | (point[1:] != point[:-1]))[: len(order)]]


def _fullest(at: np.ndarray, pairs: int, turns: np.ndarray, octaves: np.ndarray) -> np.ndarray:
    """Return the votes in the fullest window of two by two cells of turn and scale, of each pair."""
    turn = (turns * (_TURNS / 360)).astype(np.int64) % _TURNS
    size = np.floor(2 * octaves).astype(np.int64) + _SIZES // 2
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


_POINTS = 131_072
"""Query points looked up at once: with a shard of references they bound the memory."""
_SHAPES = dict.fromkeys(Votes._fields, "iu1")
_HITS = 2**23
"""Pairs of points held at once, of more than one query image: about half a GiB while they are counted."""


def candidates(
    queries: Store,
    references: Store,
    quantiser: Quantiser,
    settings: Vote,
    *,
    workers: int,
    kept: Kept = NOT_KEPT,
    name: str = "",
) -> Votes:
    """Return pairs of rows of both stores that are worth verifying, each once.

    Args:
        workers: threads, beside those of the matrix library.
        kept, name: where the pairs of finished parts lie, under which name.
    """
    by = _by_radius if settings.by == "radius" else _by_nearest
    return by(queries, references, quantiser, settings, workers=workers, kept=kept, name=name)


def _by_radius(
    queries: Store, references: Store, quantiser: Quantiser, settings: Vote, *, workers: int, kept: Kept, name: str
) -> Votes:
    def part(rows: range, advance: Advance) -> dict[str, np.ndarray]:
        votes = _shard_votes(queries, references.between(rows), quantiser, settings, workers)
        advance(len(rows))
        return votes._replace(reference=votes.reference + rows.start)._asdict()

    return Votes(**kept.arrays(name, references.shards, part, _SHAPES, title=f"vote {name}", unit="reference"))


def _shard_votes(queries: Store, references: Block, quantiser: Quantiser, settings: Vote, workers: int) -> Votes:
    right, cells = indexed(references, quantiser)

    def look(part: tuple[int, Block]) -> Votes:
        start, block = part
        left, images = block.vectors(), len(block.ids)
        most = _HITS if images > 1 else sys.maxsize
        probed = quantiser.cells(left, probes=settings.probes)
        hits = within(left, probed, right, cells, radius=settings.radius, most=most)
        if hits is None:
            half = images // 2
            return _joined([look((start, block.part(0, half))), look((start + half, block.part(half, images)))])
        votes = count_votes(hits, block, references, consistent=settings.consistent, least=settings.least_votes)
        return Votes(votes.query + start, votes.reference, votes.votes)

    with ThreadPoolExecutor(max(1, workers)) as pool:
        return _joined(list(pool.map(look, queries.parts(_POINTS))))


def _by_nearest(
    queries: Store, references: Store, quantiser: Quantiser, settings: Vote, *, workers: int, kept: Kept, name: str
) -> Votes:
    """imgFp's votes, which know no shards: the nearest point of all references is kept while they pass by."""

    def part(rows: range, advance: Advance) -> dict[str, np.ndarray]:
        block = queries.between(rows)
        left = block.vectors()
        probed = quantiser.cells(left, probes=settings.probes)
        best, images = np.full(len(left), np.inf, np.float32), np.full(len(left), -1, np.int64)
        for number in range(len(references.paths)):
            shard = references.block(number)
            right, cells = indexed(shard, quantiser)
            distance, row = nearest(left, probed, right, cells)
            nearer = distance < best
            best[nearer], images[nearer] = distance[nearer], shard.owners[row[nearer]] + references.start(number)
        votes = winners(
            images,
            best,
            block.owners,
            least=settings.least_votes,
            alone=settings.least_alone,
            radius=settings.radius,
        )
        advance(len(rows))
        return votes._replace(query=votes.query + rows.start)._asdict()

    return Votes(**kept.arrays(name, queries.cuts(_POINTS), part, _SHAPES, title=f"vote {name}", unit="query"))


def by_codes(
    queries: Store,
    index: Sequence[Part],
    vocabulary: Vocabulary,
    settings: Vote,
    *,
    workers: int,
    kept: Kept = NOT_KEPT,
    name: str = "",
) -> Votes:
    """Return pairs of rows of queries and references that are worth verifying, by an inverted file.

    Args:
        index: parts of the references.
        kept, name: where the pairs of finished blocks of queries lie, under which name.
        workers: threads.
    """

    def part(rows: range, advance: Advance) -> dict[str, np.ndarray]:
        votes = _block_votes(queries.between(rows), index, vocabulary, settings, workers)
        advance(len(rows))
        return votes._replace(query=votes.query + rows.start)._asdict()

    return Votes(**kept.arrays(name, queries.cuts(_POINTS), part, _SHAPES, title=f"vote {name}", unit="query"))


PSEUDO_QUERIES, PSEUDO_REFERENCES = 128, 8_192
"""Train images that stand for queries, and at least so many for references, when the votes a pair needs are fitted."""


def votes_needed(train: Store, vocabulary: Vocabulary, settings: Vote, *, references: int) -> int:
    """Return the votes with which a query has at most `settings.most` candidates among so many references, expected.

    Train images vote for each other. The best of each is left out, as it may be a copy.
    """
    shards, images = 1, train.start(1)
    while images < PSEUDO_REFERENCES and shards < len(train.paths):
        shards += 1
        images = train.start(shards)
    block = train.block(0).part(0, min(PSEUDO_QUERIES, len(train.block(0).ids)))
    index = [lists_of(train, (0, shards), vocabulary, lambda done: None)]
    found = _block_votes(block, index, replace(vocabulary, least=settings.least_votes), settings, workers=1)
    own = found.query == found.reference
    order = np.lexsort((-found.votes[~own], found.query[~own]))
    queries, votes = found.query[~own][order], found.votes[~own][order]
    unrelated = np.sort(votes[np.append(False, queries[1:] == queries[:-1])[: len(queries)]])[::-1]
    sides = 2 if settings.mirrored else 1
    allowed = int(settings.most * len(block.ids) * max(1, images - 1) / (sides * max(1, references)))
    if len(unrelated) <= allowed:
        return settings.least_votes
    return int(max(settings.least_votes, unrelated[allowed] + 1))


def _block_votes(block: Block, index: Sequence[Part], vocabulary: Vocabulary, settings: Vote, workers: int) -> Votes:
    points, (turns, sizes) = block.vectors(), levels(block.frames)
    words = vocabulary.nearest(points, probes=settings.probes)
    codes = vocabulary.codes(points, words)

    def look(image: int) -> Votes:
        rows = slice(*block.offsets[image : image + 2])
        return _joined([votes(part, rows, image) for part in index])

    def votes(part: Part, rows: slice, image: int) -> Votes:
        own_turns, own_sizes = turns[rows].astype(np.int64), sizes[rows].astype(np.int64)

        def differences(hits: PointHits) -> tuple[np.ndarray, np.ndarray]:
            turn = (own_turns[hits.query] - part.turns[hits.reference]) % TURNS
            return turn * (360 / TURNS), (own_sizes[hits.query] - part.sizes[hits.reference]) / OCTAVE

        hits = matching_entries(words[rows], codes[rows], part, radius=settings.bits)
        pair = part.images[hits.reference]
        consistent = differences if settings.consistent else None
        images, count = _counted(pair, hits, least=vocabulary.least, differences=consistent)
        return Votes(np.full(len(images), image), images.astype(np.int64) + part.first, count)

    with ThreadPoolExecutor(max(1, workers)) as pool:
        return _joined(list(pool.map(look, range(len(block.ids)))))


def indexed(block: Block, quantiser: Quantiser) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of references as they are compared, and the cell of each."""
    points = block.vectors()
    cells = quantiser.cells(points, probes=1)[:, 0]
    return (quantiser.decode(quantiser.encode(points)) if len(quantiser.codebook) else points), cells


def _joined(parts: list[Votes]) -> Votes:
    none = Votes(*(np.zeros(0, np.int64) for _ in Votes._fields))
    return Votes(*map(np.concatenate, zip(none, *parts, strict=True)))
