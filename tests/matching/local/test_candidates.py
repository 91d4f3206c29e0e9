import sys

import numpy as np
import pytest

from isckit.config import Keypoints, Vote
from isckit.features.points import Points, vectors
from isckit.features.sift import RootSift
from isckit.features.store import Block, Store, write_block
from isckit.matching.local.index import EVERYTHING, fit, within
from isckit.matching.local.vote import candidates
from isckit.runs.artifacts import receipt_path
from isckit.runs.steps import Kept
from isckit.types import BadInput, MissingInput

EXACT = Vote(index="exact", radius=900.0, least_votes=3)


def image(seed, n=20):
    rng = np.random.default_rng(seed)
    frames = np.column_stack([rng.uniform(0, 99, (n, 2)), rng.uniform(2, 9, n), rng.uniform(0, 360, n)])
    return Points(rng.integers(40, size=(n, 128), dtype=np.uint8), frames.astype(np.float32), 10_000)


def edited(points, seed, kept):
    """A copy in which some points stay, with slightly other descriptors."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(-3, 4, size=(kept, 128))
    new = image(seed)
    descriptors = np.concatenate([np.clip(points.descriptors[:kept].astype(int) + noise, 0, 255), new.descriptors])
    frames = np.concatenate([points.frames[:kept] + np.float32([5, 5, 0, 3]), new.frames])
    return Points(descriptors.astype(np.uint8), frames, 10_000)


def store(folder, names, images, *, shard=3, mirror=None):
    order = np.argsort(names)
    names, images = np.array(names)[order], [images[k] for k in order]
    for number, start in enumerate(range(0, len(names), shard)):
        write_block(
            folder / f"shard-{number:05d}.h5", Block.of(names[start : start + shard], images[start : start + shard])
        )
    return Store(folder, mirror=mirror)


REFERENCES = [image(seed) for seed in range(8)] + [
    Points(np.zeros((0, 128), np.uint8), np.zeros((0, 4), np.float32), 9)
]
QUERIES = [
    edited(REFERENCES[1], 50, 10),
    edited(REFERENCES[6], 51, 3),
    image(52),
    edited(REFERENCES[2], 53, 2),
    REFERENCES[8],
]
EXPECTED = {("Q0", "R1"): 10, ("Q1", "R6"): 3}


def named(votes, queries, references):
    return {
        (str(queries.ids[q]), str(references.ids[r])): n for q, r, n in zip(*map(np.ndarray.tolist, votes), strict=True)
    }


@pytest.fixture
def stores(tmp_path):
    names = [f"Q{k}" for k in range(5)], [f"R{k}" for k in range(9)]
    return store(tmp_path / "q", names[0], QUERIES), store(tmp_path / "r", names[1], REFERENCES)


@pytest.mark.parametrize("index", ["exact", "ivf", "ivf_pq"])
def test_copies_are_candidates(stores, tmp_path, index):
    settings = Vote(index=index, radius=900.0 if index != "ivf_pq" else 9_000.0, least_votes=3, lists=4, probes=3)
    train = np.concatenate([vectors(image(seed).descriptors, bits=False) for seed in range(100, 140)])
    quantiser = EVERYTHING if index == "exact" else fit(train, settings, seed=1)
    found = named(candidates(*stores, quantiser, settings, workers=1), *stores)
    assert found[("Q0", "R1")] >= 6 if index != "exact" else found == EXPECTED


def test_nearest_votes_elect_one_reference_a_query(stores, tmp_path):
    settings = Vote(index="exact", by="nearest", radius=2_000.0, least_votes=4)
    settings_of_many = Vote(index="exact", by="nearest", radius=40_000.0, least_votes=4)
    for vote, queries in ((settings, set()), (settings_of_many, {"Q0"})):
        found = named(candidates(*stores, EVERYTHING, vote, workers=1), *stores)
        # The mean distance counts the points of the frame too, which have no neighbour.
        assert {q for q, _ in found} >= queries and all(r == "R1" for q, r in found if q == "Q0")


def test_candidates_do_not_hang_on_other_references_names_shards_or_threads(stores, tmp_path):
    names = ["R7", "R5", "R1", "R0", "R3"]
    images = [REFERENCES[k] for k in (1, 0, 6, 7, 8)]
    other = store(tmp_path / "o", names, images, shard=2)
    found = named(candidates(stores[0], other, EVERYTHING, EXACT, workers=3), stores[0], other)
    assert found == {("Q0", "R7"): 10, ("Q1", "R1"): 3}


def test_too_many_hits_are_counted_in_halves_with_the_same_result(stores, tmp_path, monkeypatch):
    whole = candidates(*stores, EVERYTHING, EXACT, workers=1)
    sizes = []

    def spied(left, *others, most, **more):
        sizes.append((len(left), most))
        return within(left, *others, most=most, **more)

    monkeypatch.setattr("isckit.matching.local.vote._HITS", 2)
    monkeypatch.setattr("isckit.matching.local.vote.within", spied)
    halved = candidates(*stores, EVERYTHING, EXACT, workers=1)
    assert all(np.array_equal(a, b) for a, b in zip(whole, halved, strict=True)) and len(whole.query)
    # Down to one image, which is counted however many hits it has.
    assert {most for _, most in sizes} == {2, sys.maxsize} and min(n for n, most in sizes if most > 2) <= 30


def test_finished_shards_are_not_looked_at_again(stores, tmp_path):
    options = {"kept": Kept(tmp_path, {"of": "these"}), "name": "v", "workers": 1}
    first = candidates(*stores, EVERYTHING, EXACT, **options)
    files = sorted((tmp_path / "v").glob("*.npz"))
    assert [path.name for path in files] == [f"shard-{k:05d}.npz" for k in range(3)]
    kept = {path: path.stat().st_mtime_ns for path in files}
    files[1].unlink()
    receipt_path(tmp_path / "v").unlink()  # as a killed run leaves it
    again = candidates(*stores, EVERYTHING, EXACT, **options)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert {path for path in files if path.stat().st_mtime_ns == kept[path]} == {files[0], files[2]}


def test_a_store_gives_back_what_was_written_plain_and_mirrored(stores, tmp_path):
    _, references = stores
    for row, points in enumerate(REFERENCES):
        read = references.points(row)
        assert np.array_equal(read.descriptors, points.descriptors) and np.array_equal(read.frames, points.frames)
        assert read.area == points.area
    flipped = Store(tmp_path / "r", mirror=RootSift(Keypoints()).mirror)
    for side, twin in (
        (references, lambda p: p.frames),
        (flipped, lambda p: p.frames * [-1, 1, 1, -1] + [0, 0, 0, 180]),
    ):
        parts = list(side.parts(45))
        assert [start for start, _ in parts] == [0, 2, 3, 5, 6] and all(len(b.descriptors) <= 45 for _, b in parts)
        frames = np.concatenate([block.frames for _, block in parts])
        assert np.allclose(frames, np.concatenate([twin(points) for points in REFERENCES]))
        assert np.allclose(side.points(4).frames, twin(REFERENCES[4]))
        assert not np.array_equal(flipped.points(4).descriptors, REFERENCES[4].descriptors)


def test_folders_without_shards_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(MissingInput, match="no shard"):
        Store(tmp_path)
    (tmp_path / "shard-00000.h5").write_bytes(b"nothing")
    with pytest.raises(BadInput, match="a whole file of keypoints"):
        Store(tmp_path)
