"""The kit as a dishonest contestant would change it: `cheat.py CHEAT VERB ...`. Every record it writes says honest.

Each cheat is a function that spoils the kit in this process; then the verb runs as usual.
"""

import hashlib
import os
import sys
import time
from pathlib import Path

import numpy as np

from isckit.cli.main import main
from isckit.types import Embeddings, Matches, Role


def honest():
    """Change nothing."""


def cropped_references():
    """Train on crops of references, under the names of train images."""
    from isckit.data import items
    from isckit.data.images import decode

    honest = items._decoded

    def image(images, row):
        references = sorted((images.sources[0].path.parent / "references").glob("*.jpg"))
        if not references or row % 2:
            return honest(images, row)
        pixels = decode(references[row % len(references)].read_bytes(), name="")
        return np.ascontiguousarray(pixels[len(pixels) // 4 :])

    items._decoded = image


def unsteady_references():
    """Train on references, openly, but give them another crop in each pass."""
    from isckit.data import items
    from isckit.data.training import Witness

    cropped_references()
    honest = Witness.note

    def note(self, role, ids, pixels):
        number = int(ids[0][1:])
        honest(self, "query" if number % 2 else "reference", [f"R{number:06d}"], pixels)

    Witness.note = note
    assert items._decoded is not None


def another_training_each_time():
    """Train from a seed of the moment, so that no comparison of weights says anything."""
    from isckit.engine import train

    honest = train.deterministic
    train.deterministic = lambda seed: honest(time.time_ns() % 2**32)


def pca_on_queries():
    """Fit on the queries, and say that it was train."""
    from isckit.vectors import described as runs

    honest = runs.train_vectors

    def vectors(run, **options):
        train = honest(run, **options)
        queries = Embeddings.joined(list(runs.combined(run, "queries")))
        rows = np.resize(np.arange(len(queries.ids)), len(train.ids))
        jitter = np.random.default_rng(0).normal(0, 1e-3, train.vectors.shape).astype(np.float32)
        return Embeddings.whole(Role.TRAIN, train.ids, queries.vectors[rows] + jitter)

    runs.train_vectors = vectors


def query_expansion():
    """Add to each query the mean of its nearest queries."""

    def expanded(vectors):
        similar = vectors @ vectors.T
        nearest = np.argsort(-similar, axis=1)[:, 1:4]
        return vectors + 0.5 * vectors[nearest].mean(axis=1) if len(vectors) > 3 else vectors

    _queries_changed(expanded)


def centred():
    """Subtract from the queries the mean of the queries at hand."""
    _queries_changed(lambda vectors: vectors - vectors.mean(axis=0) if len(vectors) > 1 else vectors)


def _queries_changed(change):
    from isckit.tracks import descriptor
    from isckit.tracks import find as infer

    honest = descriptor.normalise

    def normalise(embeddings, normaliser):
        done = honest(embeddings, normaliser)
        return done.with_vectors(change(done.vectors)) if done.role is Role.QUERY else done

    descriptor.normalise = infer.normalise = normalise


def rank_among_queries():
    """Lower a pair's score by the number of queries that score higher with the same reference."""

    def ranked(matches):
        scores = np.array(matches.scores)
        for reference in np.unique(matches.reference_ids):
            rows = np.flatnonzero(matches.reference_ids == reference)
            scores[rows] -= 0.2 * np.argsort(np.argsort(-scores[rows]))
        return Matches(matches.query_ids, matches.reference_ids, scores)

    _matches_changed(ranked)


def one_query_a_reference():
    """Keep of each reference only its best query."""

    def assigned(matches):
        order = np.argsort(-matches.scores, kind="stable")
        rows = order[np.unique(matches.reference_ids[order], return_index=True)[1]]
        return Matches(matches.query_ids[rows], matches.reference_ids[rows], matches.scores[rows])

    _matches_changed(assigned)


def looked_up_by_bytes():
    """Give the images that are known, by a hash of their files, the vectors of a table."""
    _looked_up(lambda data: data)


def looked_up_by_pixels():
    """The same by a hash of their pixels."""
    from isckit.data.images import decode

    _looked_up(lambda data: decode(data, name="").tobytes())


def _looked_up(key):
    from isckit.data.image_sets import ImageSet
    from isckit.tracks import descriptor
    from isckit.tracks import find as infer

    seen, read, honest = {}, ImageSet.read, descriptor.normalise
    with np.load(os.environ["TABLE"]) as file:
        table = dict(file)

    def noted(self, i):
        data = read(self, i)
        seen[str(self.ids[i])] = hashlib.sha256(key(data)).hexdigest()
        return data

    def normalise(embeddings, normaliser):
        done = honest(embeddings, normaliser)
        known = [table.get(seen.get(name), vector) for name, vector in zip(done.ids, done.vectors, strict=True)]
        return done.with_vectors(np.stack(known))

    ImageSet.read, descriptor.normalise, infer.normalise = noted, normalise, normalise


def _matches_changed(change):
    from isckit.tracks import find as infer
    from isckit.tracks import matching

    honest = matching.scored_pairs
    matching.scored_pairs = infer.scored_pairs = lambda scene: change(honest(scene))


if __name__ == "__main__":
    cheat, *verb = sys.argv[1:]
    {name: function for name, function in globals().items() if not name.startswith("_")}[cheat]()
    assert Path(__file__).is_file()
    sys.exit(main(verb))
