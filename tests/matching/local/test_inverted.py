"""The inverted file of codes: words and codes equal a plain definition, hits a loop, and copies are voted for."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isckit import config
from isckit.features.points import Points
from isckit.features.store import Block, Store, write_block
from isckit.matching.local import inverted, words
from isckit.matching.local import vote as vote_module
from isckit.matching.local.index import squared_distances
from isckit.matching.local.vote import by_codes, votes_needed
from isckit.runs.steps import Kept
from isckit.types import BadInput


def points(seed, n, d=128, families=40):
    """Whole descriptors of about the length of RootSIFT in families, as photographs have them."""
    centres = np.random.default_rng(99).gamma(0.6, 1, (families, d))
    rng = np.random.default_rng(seed)
    x = centres[rng.integers(0, families, n)] * rng.gamma(6, 1 / 6, (n, d))
    return np.rint(255 * x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def vocabulary():
    return words.fit(points(0, 6_000), 64, seed=1)


def test_the_nearest_words_are_those_of_a_search_of_all_below_the_nearest_centres(vocabulary):
    x = points(1, 300)
    found = vocabulary.nearest(x, probes=3)
    for row in range(len(x)):
        branches = np.argsort(squared_distances(x[row : row + 1], vocabulary.coarse)[0], kind="stable")[:6]
        below = [branch * vocabulary.branches + leaf for branch in branches for leaf in range(vocabulary.branches)]
        distances = np.square(vocabulary.words[below].astype(np.float64) - x[row]).sum(axis=1)
        assert (
            np.square(vocabulary.words[found[row]].astype(np.float64) - x[row]).sum(axis=1).tolist()
            == (sorted(distances.tolist())[:3])
        )
    everything = vocabulary.nearest(x, probes=len(vocabulary.words))
    assert (np.sort(everything, axis=1) == np.arange(64)).all()
    assert (everything[:, 0] == squared_distances(x, vocabulary.words).argmin(axis=1)).mean() == 1


def test_words_and_codes_are_the_same_alone_and_in_company(vocabulary, monkeypatch):
    x = points(1, 300)
    found = vocabulary.nearest(x, probes=4)
    codes = vocabulary.codes(x, found)
    monkeypatch.setattr(words, "_BLOCK", 7)
    assert (vocabulary.nearest(x, probes=4) == found).all() and (vocabulary.codes(x, found) == codes).all()
    assert (vocabulary.nearest(x[:0], probes=4)).shape == (0, 4)


@pytest.mark.parametrize("width", [64, 100, 128, 256])
def test_projections_are_exact_and_their_directions_orthogonal_where_the_width_is_a_power_of_two(width):
    flips = np.random.default_rng(0).choice([-1, 1], width).astype(np.float32)
    directions = words.project(np.eye(width, dtype=np.float32), flips)
    assert directions.shape == (width, 64) and set(np.unique(directions)) == {-1, 1}
    if width != 100:
        assert (directions.T @ directions == width * np.eye(64)).all()
    x = points(3, 20, d=width)
    assert (words.project(x, flips) == x.astype(np.int64) @ directions.astype(np.int64)).all()


def test_each_bit_of_a_code_halves_the_train_points_of_a_word(vocabulary):
    x = points(0, 6_000)
    own = vocabulary.nearest(x, probes=1)
    bits = np.unpackbits(vocabulary.codes(x, own).view(np.uint8).reshape(-1, 8), axis=1)
    large = np.bincount(own[:, 0], minlength=64) >= 60
    assert large.sum() > 20
    for word in np.flatnonzero(large):
        assert (np.abs(bits[own[:, 0] == word].mean(axis=0) - 0.5) < 0.08).mean() > 0.9


def test_near_points_differ_in_few_bits_and_others_in_half(vocabulary):
    x = points(5, 400)
    near = np.rint(x + np.random.default_rng(0).normal(0, 4, x.shape)).clip(0, 255).astype(np.float32)
    word = vocabulary.nearest(x, probes=1)
    one, other = vocabulary.codes(x, word), vocabulary.codes(near, word)
    assert np.bitwise_count(one ^ other).mean() < 12
    assert 20 < np.bitwise_count(one ^ np.roll(one, 1, axis=0)).mean() < 40


def test_fewer_points_than_words_are_refused():
    with pytest.raises(BadInput, match="fewer lists"):
        words.fit(points(0, 50), 64, seed=1)


def test_a_vocabulary_comes_back_from_disk_bit_for_bit(vocabulary, tmp_path):
    words.save(tmp_path / "v.npz", vocabulary)
    again = words.load(tmp_path / "v.npz")
    for name in ("coarse", "words", "medians", "flips"):
        assert getattr(again, name).tobytes() == getattr(vocabulary, name).tobytes()


@pytest.mark.parametrize(("count", "power"), [(0, 10), (8_192 << 10, 10), ((8_192 << 10) + 1, 11), (600_000_000, 17)])
def test_there_are_so_many_words_that_lists_stay_short(count, power):
    assert words.words_for(count) == 1 << power


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 99), radius=st.integers(0, 40), probes=st.integers(1, 3), n=st.integers(0, 60))
def test_entries_that_match_are_those_of_a_loop(seed, radius, probes, n):
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 30, 8))])
    few = rng.integers(0, 2**63, 12, dtype=np.uint64)  # some alike, some not
    codes = rng.choice(few, offsets[-1]) ^ rng.integers(0, 256, offsets[-1], dtype=np.uint64)
    blank = np.zeros(offsets[-1], np.uint8)
    part = inverted.Part(0, offsets, codes, np.zeros(offsets[-1], np.int32), blank, blank)
    asked, own = rng.integers(0, 8, (n, probes), dtype=np.int32), rng.choice(few, (n, probes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inverted, "_ROOM", 5)
        found = inverted.matching_entries(asked, own, part, radius=radius)
    wanted = [
        (row, at, int(own[row, probe] ^ codes[at]).bit_count())
        for row in range(n)
        for probe in range(probes)
        for at in range(offsets[asked[row, probe]], offsets[asked[row, probe] + 1])
        if int(own[row, probe] ^ codes[at]).bit_count() <= radius
    ]
    assert list(zip(*(column.tolist() for column in found), strict=True)) == wanted


@pytest.mark.parametrize("angle", [0.0, 0.3, 359.9, 180.0])
def test_levels_of_turn_and_size_are_those_of_the_frame(angle):
    frames = np.array([[0, 0, 8.0, angle], [0, 0, 16.0, angle], [0, 0, 1e9, angle], [0, 0, 0, angle]], np.float32)
    turns, sizes = inverted.levels(frames)
    off = np.abs(turns * (360 / 256) - angle)
    assert (np.minimum(off, 360 - off) <= 0.71).all()
    assert int(sizes[1]) - int(sizes[0]) == 16 and sizes.tolist()[2:] == [255, 0]


def images(letter, sides):
    """A block of images of given descriptors and frames."""
    blocks = [Points(x.astype(np.uint8), frames, 10_000) for x, frames in sides]
    return Block.of(np.array([f"{letter}{i:05d}" for i in range(len(blocks))]), blocks)


def frames_of(rng, n):
    return np.column_stack([rng.uniform(0, 300, (n, 2)), rng.uniform(4, 40, n), rng.uniform(0, 360, n)]).astype(
        np.float32
    )


@pytest.fixture
def stores(tmp_path):
    """Twelve references in two shards, and queries: 0 to 3 turned and enlarged copies of 2, 5, 8, 11; 4 of nothing."""
    rng = np.random.default_rng(0)
    references = [(points(10 + i, 80), frames_of(rng, 80)) for i in range(12)]
    queries = []
    for i in (2, 5, 8, 11):
        x, frames = references[i]
        x = (x + rng.normal(0, 3, x.shape)).clip(0, 255).round()
        queries.append((x[:60], np.column_stack([frames[:60, :2], frames[:60, 2] * 1.5, (frames[:60, 3] + 30) % 360])))
    queries = [(x, frames.astype(np.float32)) for x, frames in queries] + [(points(77, 60), frames_of(rng, 60))]
    write_block(tmp_path / "r/shard-00000.h5", images("R", references[:7]))
    write_block(tmp_path / "r/shard-00001.h5", images("S", references[7:]))
    write_block(tmp_path / "q/shard-00000.h5", images("Q", queries))
    return Store(tmp_path / "q"), Store(tmp_path / "r")


def test_copies_are_voted_for_and_the_parts_of_an_index_change_nothing(stores, vocabulary, tmp_path):
    queries, references = stores
    vote, vocabulary = config.Vote(index="codes", lists=64, probes=3, bits=16), replace(vocabulary, least=20)
    found = []
    for size in (1, 10**9):
        shards = inverted.parts_of(references, size)
        assert len(shards) == (2 if size == 1 else 1)
        told = []
        for number, own in enumerate(shards):
            part = inverted.lists_of(references, own, vocabulary, told.append)
            inverted.save_part(tmp_path / f"{size}-{number}.h5", part)
        assert sum(told) == 12
        parts = [inverted.read_part(tmp_path / f"{size}-{number}.h5") for number in range(len(shards))]
        assert isinstance(parts[0].codes, np.memmap) and sum(len(part.codes) for part in parts) == 12 * 80
        options = {"kept": Kept(tmp_path / str(size), {"of": "these"}), "name": "v"}
        votes = by_codes(queries, parts, vocabulary, vote, workers=2, **options)
        found.append(sorted(zip(*(column.tolist() for column in votes), strict=True)))
    assert found[0] == found[1]
    assert [pair[:2] for pair in found[0]] == [(0, 2), (1, 5), (2, 8), (3, 11)]
    again = by_codes(queries, [], vocabulary, vote, workers=0, **options)  # as the files in the folder say
    assert sorted(zip(*(column.tolist() for column in again), strict=True)) == found[0]
    pairs = []
    for consistent in (True, False):  # a lone vote agrees with itself
        settings = config.replace(vote, consistent=consistent)
        votes = by_codes(queries, parts, replace(vocabulary, least=1), settings, workers=1)
        pairs.append(set(zip(votes.query.tolist(), votes.reference.tolist(), strict=True)))
    assert pairs[0] == pairs[1] and len(pairs[0]) > 4


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_pair_needs_so_many_votes_that_a_query_has_as_many_candidates_as_are_wanted(stores, vocabulary, mirrored):
    """The references stand for train: each of the first seven against the eleven others, its best left out."""
    train = stores[1]
    vote = config.Vote(index="codes", lists=64, probes=3, bits=24, least_votes=2, most=3, mirrored=mirrored)
    part = inverted.lists_of(train, (0, 2), vocabulary, lambda done: None)
    counts = []
    for image in range(7):
        points = train.block(0).part(image, image + 1)
        own = vocabulary.nearest(points.vectors(), probes=3)
        hits = inverted.matching_entries(own, vocabulary.codes(points.vectors(), own), part, radius=24)
        pair = part.images[hits.reference]
        turns, sizes = inverted.levels(points.frames)

        def differences(kept, turns=turns, sizes=sizes):
            turn = (turns.astype(int)[kept.query] - part.turns[kept.reference]) % 256
            return turn * (360 / 256), (sizes.astype(int)[kept.query] - part.sizes[kept.reference]) / 16

        images, votes = vote_module._counted(pair, hits, least=2, differences=differences)
        counts += sorted(votes[images != image].tolist())[:-1]
    for references in (3, 11, 40):
        needed = votes_needed(train, vocabulary, vote, references=references)
        expected = np.array([(np.array(counts) >= v).sum() / (7 * 11) * references for v in (needed, needed - 1)])
        expected *= 2 if mirrored else 1
        assert expected[0] <= 3 and (needed == 2 or expected[1] > 3)
    assert votes_needed(train, vocabulary, vote, references=0) == 2 < needed
