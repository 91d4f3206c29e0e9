"""Honest tables of matches raise no suspicion; every reasoning over a query's or a reference's other rows does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isckit.judge.rules.suspicion_matches import suspect_matches
from isckit.submission import HEADER
from isckit.types import BadInput


def table(seed, *, queries=200, references=400, most=9, digits=None):
    """Honest rows: each query has its own level and its own number of rows; the best of all pairs by a global cut."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, most + 1, size=queries)
    q = np.repeat(np.arange(queries), counts)
    r = np.concatenate([rng.choice(references, size=count, replace=False) for count in counts])
    scores = np.repeat(rng.normal(size=queries), counts) + 0.3 * rng.normal(size=len(q))
    return q, r, scores if digits is None else np.round(scores, digits)


def suspects(folder, q, r, scores):
    """Names of the tests that suspect these rows, and all tests."""
    rows = [f"Q{a:05d},R{b:06d},{float(s)!r}" for a, b, s in zip(q, r, scores, strict=True)]
    path = folder / "matching.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    found = suspect_matches(path)
    return {test.name for test in found if test.suspicious}, {test.name: test for test in found}


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    queries=st.sampled_from([1, 16, 25, 300]),
    most=st.sampled_from([1, 2, 3, 30]),
    digits=st.sampled_from([None, 6, 2, 0]),
    offset=st.sampled_from([0.0, 100.0, -5.0]),
    clipped=st.booleans(),
)
def test_honest_scores_raise_no_suspicion(tmp_path_factory, seed, queries, most, digits, offset, clipped):
    q, r, scores = table(seed, queries=queries, most=most, digits=digits)
    scores = np.clip(scores, -0.2, 1.0) if clipped else scores
    assert suspects(tmp_path_factory.mktemp("honest"), q, r, scores + offset)[0] == set()


def test_all_pairs_above_a_global_cut_raise_no_suspicion(tmp_path):
    rng = np.random.default_rng(0)
    q, r = np.repeat(np.arange(25), 4000), np.tile(np.arange(4000), 25)
    scores = rng.normal(size=len(q))
    kept = scores > -1.5
    assert suspects(tmp_path, q[kept], r[kept], scores[kept])[0] == set()


def test_mostly_saturated_scores_raise_no_suspicion(tmp_path):
    q, r, scores = table(1, most=6)
    assert suspects(tmp_path, q, r, (scores > -2).astype(float))[0] == set()
    assert suspects(tmp_path, q, r, np.ones(len(q)))[0] == set()


@pytest.mark.parametrize("sign", [1, -1])
def test_an_end_that_several_rows_of_every_query_meet_raises_no_suspicion(tmp_path, sign):
    rng = np.random.default_rng(12)
    scores = rng.uniform(size=(200, 9))
    scores[:, :3] = 1
    q, r = np.repeat(np.arange(200), 9), rng.permutation(1800) % 900
    assert suspects(tmp_path, q, r, sign * scores.ravel())[0] == set()


def each(codes, scores, rescale):
    """Apply a function to the scores of each group."""
    scores = scores.copy()
    for code in np.unique(codes):
        rows = codes == code
        if rows.sum() > 1:
            scores[rows] = rescale(scores[rows])
    return scores


def softmax(s):
    return np.exp(s) / np.exp(s).sum()


RESCALED = {
    "best score": lambda s: s / s.max() if s.max() > 0 else s - s.max() + 1,
    "worst score": lambda s: s - s.min(),
    "sum of scores": softmax,
    "spread of scores": lambda s: s / s.std(),
    "two best scores": lambda s: 1 / (1 + np.argsort(np.argsort(-s))),
}


@pytest.mark.parametrize("figure", RESCALED)
@pytest.mark.parametrize("side", ["query", "reference"])
@pytest.mark.parametrize("digits", [15, 6])
def test_scores_rescaled_within_a_query_or_reference_are_suspected_of_just_that(tmp_path, figure, side, digits):
    q, r, scores = table(2)
    scores = np.round(each(q if side == "query" else r, scores, RESCALED[figure]), digits)
    assert suspects(tmp_path, q, r, scores)[0] == {f"same {figure} by {side}"}


@pytest.mark.parametrize("digits", [15, 6])
def test_combined_scales_are_suspected_of_both_ends(tmp_path, digits):
    q, r, scores = table(3)
    between = np.round(each(q, scores, lambda s: (s - s.min()) / np.ptp(s)), digits)
    assert suspects(tmp_path, q, r, between)[0] >= {"same best score by query", "same worst score by query"}
    standard = np.round(each(q, scores, lambda s: (s - s.mean()) / s.std()), digits)
    assert suspects(tmp_path, q, r, standard)[0] == {"same sum of scores by query", "same spread of scores by query"}


def test_two_rows_a_query_on_a_scale_of_their_own_are_ranks(tmp_path):
    rng = np.random.default_rng(4)
    q, r, scores = np.repeat(np.arange(60), 2), np.tile([3, 5], 60), rng.normal(size=120)
    standard = each(q, scores, lambda s: (s - s.mean()) / s.std())
    assert "same two best scores by query" in suspects(tmp_path, q, r, standard)[0]


def test_a_tenth_of_honest_queries_is_enough_to_stay_silent(tmp_path):
    q, r, scores = table(5)
    mixed = np.where(q % 10 == 0, scores, each(q, scores, softmax))
    names, tests = suspects(tmp_path, q, r, mixed)
    assert names == set() and 0.8 < tests["same sum of scores by query"].statistic < 0.95


@pytest.mark.parametrize("scale", [(1, 0), (1e-3, -4)])
def test_ranks_over_all_rows_are_suspected(tmp_path, scale):
    q, r, scores = table(6)
    ranks = np.argsort(np.argsort(scores)) * scale[0] + scale[1]
    assert suspects(tmp_path, q, r, ranks)[0] == {"same step between scores"}


def test_each_reference_once_is_suspected_where_chance_would_repeat_some(tmp_path):
    rng = np.random.default_rng(7)
    q = np.repeat(np.arange(1000), 10)
    scores = rng.normal(size=len(q))
    once = rng.permutation(len(q))
    names, tests = suspects(tmp_path, q, once, scores)
    test = tests["references that occur again"]
    assert names == {test.name} and test.statistic == 0
    pairs = (9000**2 - 1000 * 9**2) / 2
    assert test.honest == pytest.approx(pairs / 1_000_000)
    small = once[q < 100], rng.normal(size=1000)
    assert suspects(tmp_path, q[q < 100], *small)[0] == set()
    assert [t.name for t in suspect_matches(tmp_path / "matching.csv", references=10_000) if t.suspicious] == [
        test.name
    ]
    once[-1] = once[0]
    assert suspects(tmp_path, q, once, scores)[0] == set()


@pytest.mark.parametrize("queries, each_query", [(10_000, 1), (3, 5000), (500, 5)])
def test_each_reference_once_proves_nothing_of_few_false_rows_or_few_queries(tmp_path, queries, each_query):
    q = np.repeat(np.arange(queries), each_query)
    rng = np.random.default_rng(8)
    found = suspects(tmp_path, q, rng.permutation(len(q)), rng.normal(size=len(q)))
    if queries == 3:  # three queries of 5,000 rows would meet 75 times
        assert found[0] == {"references that occur again"}
    else:
        assert found[0] == set() and "too few rows to say" in found[1]["references that occur again"].words


def test_rows_a_query_are_noted_and_never_suspected(tmp_path):
    rng = np.random.default_rng(9)
    for k in (1, 4):
        q = np.repeat(np.arange(100), k)
        names, tests = suspects(tmp_path, q, rng.integers(10**6, size=len(q)), rng.normal(size=len(q)))
        assert names == set() and tests["rows a query"].words.startswith(f"{k} for every query")
    q, r, scores = table(9)
    assert suspects(tmp_path, q, r, scores)[1]["rows a query"].words == "1 to 9 rows a query"


def test_few_queries_and_coarse_scores_are_said_to_be_so(tmp_path):
    q, r, scores = table(10, queries=15)
    tests = suspects(tmp_path, q, r, each(q, scores, softmax))[1]
    assert "too few to say" in tests["scores by query"].words
    q, r, scores = table(11, digits=1)
    assert suspects(tmp_path, q, r, scores)[1]["same sum of scores by query"].words == "scores too coarse to say"


def test_a_file_at_fault_is_refused(tmp_path):
    path = tmp_path / "matching.csv"
    path.write_text("a,b\n")
    with pytest.raises(BadInput):
        suspect_matches(path)


def test_an_empty_table_says_nothing(tmp_path):
    assert suspects(tmp_path, [], [], [])[0] == set()
