"""Pairs of images that deserve verifying: all queries against all references, a shard of references at a time."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from isckit.config import Vote
from isckit.matching.local.index import Quantiser, nearest, vectors, within
from isckit.matching.local.store import Block, Store
from isckit.matching.local.vote import Votes, count_votes, winners
from isckit.storage.artifacts import atomic

_POINTS = 131_072
"""Query points looked up at once: with a shard of references they bound the memory."""
_HITS = 2**23
"""Pairs of points held at once, of more than one query image: about half a GiB while they are counted."""


def candidates(
    queries: Store, references: Store, quantiser: Quantiser, settings: Vote, *, folder: Path, workers: int
) -> Votes:
    """Pairs of rows of both stores that are worth verifying, by query and reference, each once, with its most votes.

    Args:
        folder: where the pairs of finished shards lie; shards that are there are not looked at again.
        workers: threads, beside those of the matrix library.
    """
    by = _by_radius if settings.by == "radius" else _by_nearest
    found = by(queries, references, quantiser, settings, folder=folder, workers=workers)
    pair = found.query * len(references.ids) + found.reference
    order = np.lexsort((-found.votes, pair))
    pair = pair[order]
    first = order[np.append(True, pair[1:] != pair[:-1])[: len(pair)]]
    return Votes(*(column[first] for column in found))


def _by_radius(
    queries: Store, references: Store, quantiser: Quantiser, settings: Vote, *, folder: Path, workers: int
) -> Votes:
    parts = []
    for number in tqdm(range(len(references.paths)), desc="vote", unit="shard"):
        path = folder / f"votes-{number:05d}.npz"
        if not path.is_file():
            _save(path, _shard_votes(queries, references.block(number), quantiser, settings, workers))
        with np.load(path, allow_pickle=False) as file:
            parts.append(Votes(file["query"], file["reference"] + references.start(number), file["votes"]))
    return _joined(parts)


def _shard_votes(queries: Store, references: Block, quantiser: Quantiser, settings: Vote, workers: int) -> Votes:
    right, cells = indexed(references, quantiser)

    def look(part: tuple[int, Block]) -> Votes:
        start, block = part
        left, images = vectors(block.descriptors), len(block.ids)
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
    queries: Store, references: Store, quantiser: Quantiser, settings: Vote, *, folder: Path, workers: int
) -> Votes:
    """imgFp's votes, which know no shards: the nearest point of all references is kept while they pass by."""
    parts = []
    for start, block in tqdm(list(queries.parts(_POINTS)), desc="vote", unit="part"):
        left = vectors(block.descriptors)
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
        parts.append(Votes(votes.query + start, votes.reference, votes.votes))
    return _joined(parts)


def indexed(block: Block, quantiser: Quantiser) -> tuple[np.ndarray, np.ndarray]:
    """Points of references as they are compared, and the cell of each."""
    points = vectors(block.descriptors)
    cells = quantiser.cells(points, probes=1)[:, 0]
    return (quantiser.decode(quantiser.encode(points)) if len(quantiser.codebook) else points), cells


def _save(path: Path, votes: Votes) -> None:
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **votes._asdict())


def _joined(parts: list[Votes]) -> Votes:
    none = Votes(*(np.zeros(0, np.int64) for _ in Votes._fields))
    return Votes(*map(np.concatenate, zip(none, *parts, strict=True)))
