import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isckit.matching import asmk
from isckit.matching.asmk import BestPairs, aggregate, background, gathered, packed, similarities
from isckit.matching.codes import Codes
from isckit.types import Role


def draw_codes(seed, images, *, words=30, bits=128, role=Role.REFERENCE, most=12):
    """Codes of images with 1 to `most` words each; signs that agree more often than not."""
    rng = np.random.default_rng(seed)
    common = np.random.default_rng(99).random((words, bits)) < 0.5
    parts = []
    for _ in range(images):
        own = np.sort(rng.permutation(words)[: rng.integers(1, most, endpoint=True)]).astype(np.int32)
        parts.append((own, packed(common[own] ^ (rng.random((len(own), bits)) < 0.3))))
    return gathered(role, np.array([f"I{k}" for k in range(images)]), parts, bits=bits)


def taken_apart(codes):
    """A dictionary of word to signs for each image."""
    bits = np.unpackbits(codes.codes.view(np.uint8), axis=1)[:, : codes.bits].astype(bool)
    ends = np.cumsum(codes.counts)
    return [
        {int(codes.words[k]): bits[k] for k in range(end - count, end)}
        for end, count in zip(ends, codes.counts, strict=True)
    ]


def naive(queries, database, *, alpha, threshold):
    """The published formula, word by word."""
    left, right = taken_apart(queries), taken_apart(database)
    out = np.zeros((len(left), len(right)))
    for i, first in enumerate(left):
        for j, second in enumerate(right):
            for word in first.keys() & second.keys():
                s = 1 - 2 * np.count_nonzero(first[word] != second[word]) / queries.bits
                if s >= threshold:
                    out[i, j] += s**alpha
            out[i, j] /= np.sqrt(len(first)) * np.sqrt(len(second))
    return out


@pytest.mark.parametrize(
    ("alpha", "threshold", "bits"), [(3.0, 0.0, 128), (1.0, 0.25, 24), (2.5, 0.4, 64), (0.0, 0.3, 70)]
)
def test_similarities_are_those_of_a_loop_over_words(alpha, threshold, bits):
    queries, database = draw_codes(1, 7, bits=bits, most=25), draw_codes(2, 11, bits=bits)
    found = similarities(queries, database, alpha=alpha, threshold=threshold)
    expected = naive(queries, database, alpha=alpha, threshold=threshold)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert (found[expected == 0] == 0).all() and np.count_nonzero(expected) > 4


def test_an_image_is_wholly_like_itself_and_not_at_all_like_its_opposite():
    codes = draw_codes(3, 5, bits=64)
    opposite = Codes(codes.role, codes.ids, codes.counts, codes.words, ~codes.codes, codes.bits)
    kernel = {"alpha": 3.0, "threshold": 0.0}
    np.testing.assert_allclose(np.diag(similarities(codes, codes, **kernel)), 1, atol=1e-9)
    assert (np.diag(similarities(codes, opposite, **kernel)) == 0).all()


@given(st.integers(0, 1000), st.integers(1, 40))
def test_a_score_is_the_same_bits_alone_in_blocks_and_among_others(seed, pairs):
    queries, database = draw_codes(seed, 4, words=8), draw_codes(seed + 1, 9, words=8)
    kernel = {"alpha": 2.3, "threshold": 0.0}
    whole = similarities(queries, database, **kernel)
    before, asmk._PAIRS = asmk._PAIRS, pairs
    try:
        assert (similarities(queries, database, **kernel) == whole).all()
    finally:
        asmk._PAIRS = before
    for i, j in ((0, 0), (3, 8), (2, 4)):
        alone = similarities(queries.part(slice(i, i + 1)), database.part(slice(j, j + 1)), **kernel)
        assert alone[0, 0] == whole[i, j]
    joined = np.hstack([similarities(queries, database.part(part), **kernel) for part in (slice(0, 4), slice(4, 9))])
    assert (joined == whole).all()


def test_codes_are_the_signs_of_the_sum_of_residuals_of_a_word():
    codebook = np.array([[0, 0], [10, 10], [-5, 5]], np.float32)
    features = np.array([[1, -2], [2, 1], [9, 12], [-4, 5]], np.float32)
    words, codes = aggregate(features, np.array([[0], [0], [1], [2]]), codebook)
    # Word 0: (3, -1); word 1: (-1, 2); word 2: (1, 0), and a zero is no one.
    assert words.tolist() == [0, 1, 2] and words.dtype == np.int32
    assert np.unpackbits(codes.view(np.uint8), axis=1)[:, :2].tolist() == [[1, 0], [0, 1], [1, 0]]
    assert not np.unpackbits(codes.view(np.uint8), axis=1)[:, 2:].any()


def test_a_feature_of_several_words_counts_in_each():
    rng = np.random.default_rng(5)
    features, codebook = rng.normal(size=(40, 20)).astype(np.float32), rng.normal(size=(6, 20)).astype(np.float32)
    assigned = np.argsort(((features[:, None] - codebook) ** 2).sum(-1), axis=1)[:, :3]
    words, codes = aggregate(features, assigned, codebook)
    signs = np.unpackbits(codes.view(np.uint8), axis=1)[:, :20].astype(bool)
    assert words.tolist() == sorted(set(assigned.ravel().tolist()))
    for word, sign in zip(words, signs, strict=True):
        members = (assigned == word).any(axis=1)
        np.testing.assert_array_equal(sign, (features[members] - codebook[word]).sum(0, dtype=np.float64) > 0)


@pytest.mark.parametrize("width", [1, 8, 63, 64, 65, 128])
def test_packed_bits_keep_hamming_distances(width):
    signs = np.random.default_rng(width).random((2, 50, width)) < 0.5
    left, right = packed(signs[0]), packed(signs[1])
    assert left.shape == (50, -(-width // 64)) and left.dtype == np.uint64
    np.testing.assert_array_equal(np.bitwise_count(left ^ right).sum(1), (signs[0] != signs[1]).sum(1))


def test_the_background_is_the_score_at_the_rank_over_all_shards():
    queries, train = draw_codes(1, 6), draw_codes(2, 20, role=Role.TRAIN)
    kernel = {"alpha": 3.0, "threshold": 0.0}
    expected = np.sort(similarities(queries, train, **kernel), axis=1)[:, ::-1]
    for rank in (1, 4, 10):
        shards = [train.part(slice(0, 3)), train.part(slice(3, 15)), train.part(slice(15, 20))]
        np.testing.assert_array_equal(background(queries, shards, rank=rank, **kernel), expected[:, rank - 1])
    assert (background(queries, [train], rank=21, **kernel) == 0).all()


def test_a_background_of_references_is_refused():
    with pytest.raises(AssertionError, match="against train, not against reference"):
        background(draw_codes(1, 2), [draw_codes(2, 3)], rank=1, alpha=3.0, threshold=0.0)


@given(st.integers(0, 10_000), st.integers(1, 30), st.booleans())
def test_the_best_are_those_of_the_whole_list(seed, amount, per_query):
    rng = np.random.default_rng(seed)
    queries, references = np.divmod(rng.permutation(200), 20)
    scores = rng.integers(0, 8, 200).astype(float)
    before, asmk._PAIRS = asmk._PAIRS, 8
    try:
        best = BestPairs(amount=amount, per_query=per_query)
        for start in range(0, 200, 17):
            part = slice(start, start + 17)
            keep = scores[part] >= best.floor
            best.add(queries[part][keep], references[part][keep], scores[part][keep])
        found = list(zip(*(column.tolist() for column in best.finish()), strict=True))
    finally:
        asmk._PAIRS = before
    every = sorted(
        zip(queries.tolist(), references.tolist(), scores.tolist(), strict=True), key=lambda p: (-p[2], *p[:2])
    )
    if per_query:
        seen = dict.fromkeys(range(10), 0)
        kept = []
        for pair in every:
            seen[pair[0]] += 1
            if seen[pair[0]] <= amount:
                kept.append(pair)
        assert found == kept
    else:
        assert found == every[:amount]
