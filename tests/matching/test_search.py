"""The search equals a full float64 sort, bit for bit the same whatever the blocks, and never stores all pairs."""

import tracemalloc

import faiss
import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from isckit.matching.lists import search
from isckit.types import BadInput
from isckit.vectors import device, scan
from isckit.vectors import exact as shortlist

KINDS = ("random", "clustered", "integers", "duplicates", "lengths", "tiny", "offset", "constant")


@pytest.fixture(
    scope="module",
    params=[(4096, 65_536, None), (7, 0, None), (4096, 0, torch.device("cpu"))],
    ids=["real tiles", "small tiles", "bf16"],
    autouse=True,
)
def _tiles(request):
    """The same claims with tiles and list so small that floors and cuts are at work on small data, and with bf16."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "TILE_COLUMNS", request.param[0])
        patch.setattr(device, "TILE_COLUMNS", request.param[0])
        patch.setattr(shortlist, "_SLACK", request.param[1])
        patch.setattr(device, "fastest", lambda multiplications: request.param[2])
        yield


def vectors(kind, seed, n, d=12):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    made = {
        "random": lambda: x / np.linalg.norm(x, axis=1, keepdims=True),
        "clustered": lambda: np.random.default_rng(99).standard_normal((5, d))[rng.integers(0, 5, n)] + 1e-4 * x,
        "integers": lambda: rng.integers(-1, 2, (n, d)),
        "duplicates": lambda: np.random.default_rng(98).integers(-9, 9, (4, d))[rng.integers(0, 4, n)],
        "lengths": lambda: x * 10.0 ** rng.uniform(-3, 3, (n, 1)),
        "tiny": lambda: x * 1e-22,
        "offset": lambda: 100 + 1e-3 * x,  # float32 products of these are nearly all alike
        "constant": lambda: np.full((n, d), 0.5),
    }[kind]()
    return made.astype(np.float32)


def keys(prefix, n, seed=5):
    return np.array([f"{prefix}{i:05d}" for i in np.random.default_rng(seed).permutation(n)])


def brute(q, r, metric, qk, rk):
    """All pairs in full order: (scores, query rows, reference rows)."""
    q, r = q.astype(np.float64), r.astype(np.float64)
    scores = q @ r.T if metric == "ip" else -np.square(q[:, None] - r[None]).sum(axis=2)
    query, reference = np.indices(scores.shape)
    query, reference, scores = query.ravel(), reference.ravel(), scores.ravel()
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], qk[query[i]], rk[reference[i]]))
    return scores[order], query[order], reference[order]


def assert_same(a, b):
    assert np.array_equal(a.query_rows, b.query_rows)
    assert np.array_equal(a.reference_rows, b.reference_rows)
    assert a.scores.tobytes() == b.scores.tobytes()
    assert (a.ties_cut, a.cut_score) == (b.ties_cut, b.cut_score)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    metric=st.sampled_from(["ip", "l2"]),
    seed=st.integers(0, 9),
    sizes=st.tuples(st.integers(1, 13), st.integers(1, 40)),
    n=st.integers(1, 400),
    blocks=st.tuples(st.integers(1, 15), st.integers(1, 45)),
)
def test_list_equals_full_sort_in_float64(kind, metric, seed, sizes, n, blocks):
    q, r = vectors(kind, seed, sizes[0]), vectors(kind, seed + 50, sizes[1])
    qk, rk = keys("Q", len(q)), keys("R", len(r))
    hits = search(
        q, r, n=n, metric=metric, query_keys=qk, reference_keys=rk, query_block=blocks[0], reference_block=blocks[1]
    )
    scores, query, reference = brute(q, r, metric, qk, rk)
    np.testing.assert_array_equal(hits.query_rows, query[:n])
    np.testing.assert_array_equal(hits.reference_rows, reference[:n])
    np.testing.assert_allclose(hits.scores, scores[:n], rtol=1e-12, atol=1e-13 * np.abs(scores).max(initial=0))
    if n < len(scores):
        assert hits.cut_score == hits.scores[-1]
        assert hits.ties_cut == np.count_nonzero(scores[n:] == scores[n - 1])
    else:
        assert (hits.cut_score, hits.ties_cut) == (-np.inf, 0)


@settings(max_examples=50, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    metric=st.sampled_from(["ip", "l2"]),
    seed=st.integers(0, 9),
    k=st.integers(1, 12),
    blocks=st.tuples(st.integers(1, 15), st.integers(1, 45)),
    n=st.sampled_from([5, 10_000]),
)
def test_per_query_lists_equal_full_sort_of_each_query(kind, metric, seed, k, blocks, n):
    q, r = vectors(kind, seed, 9), vectors(kind, seed + 50, 37)
    qk, rk = keys("Q", len(q)), keys("R", len(r))
    hits = search(
        q,
        r,
        n=n,
        metric=metric,
        query_keys=qk,
        reference_keys=rk,
        per_query=k,
        query_block=blocks[0],
        reference_block=blocks[1],
    )
    _, query, reference = brute(q, r, metric, qk, rk)
    place = np.zeros(len(q), int)
    wanted = []
    for pair in zip(query.tolist(), reference.tolist(), strict=True):
        place[pair[0]] += 1
        if place[pair[0]] <= k:
            wanted.append(pair)
    assert list(zip(hits.query_rows.tolist(), hits.reference_rows.tolist(), strict=True)) == wanted[:n]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("per_query", [None, 3])
def test_result_is_bit_identical_for_all_blocks_and_threads(kind, per_query):
    q, r = vectors(kind, 1, 40, 24), vectors(kind, 2, 160, 24)
    given_ = {
        "n": 90,
        "metric": "l2",
        "query_keys": keys("Q", 40),
        "reference_keys": keys("R", 160),
        "per_query": per_query,
    }
    first = search(q, r, **given_)
    for blocks in ((1, 160), (40, 1), (7, 33), (64, 512)):
        assert_same(first, search(q, r, query_block=blocks[0], reference_block=blocks[1], **given_))
    with threadpool_limits(1):
        assert_same(first, search(q, r, **given_))


def test_near_ties_that_float32_confuses_are_ordered_by_float64():
    rng = np.random.default_rng(0)
    base = rng.standard_normal(256)
    r = (base + 1e-6 * rng.standard_normal((3000, 256))).astype(np.float32)
    q = base[None].astype(np.float32)
    true = r.astype(np.float64) @ q[0].astype(np.float64)
    wanted = np.argsort(-true, kind="stable")[:10]
    assert not np.array_equal(np.argsort(-(r @ q[0]), kind="stable")[:10], wanted), "the data must be hard"
    hits = search(q, r, n=10, metric="ip", query_keys=np.array(["Q"]), reference_keys=keys("R", 3000))
    assert np.array_equal(hits.reference_rows, wanted)


def test_large_list_with_running_floor_equals_full_sort():
    q, r = vectors("random", 1, 40, 32), vectors("random", 2, 9000, 32)
    true = q.astype(np.float64) @ r.astype(np.float64).T
    hits = search(
        q, r, n=700, metric="ip", query_keys=keys("Q", 40), reference_keys=keys("R", 9000), reference_block=2000
    )
    wanted = np.argsort(-true, axis=None)[:700]
    assert np.array_equal(hits.query_rows * 9000 + hits.reference_rows, wanted)


def test_equal_vectors_give_exactly_n_rows_by_key_order_without_storing_all_pairs(monkeypatch):
    monkeypatch.setattr(scan, "TILE_COLUMNS", 4096)
    q, r = np.ones((100, 4), np.float32), np.ones((20_000, 4), np.float32)
    qk, rk = keys("Q", 100), keys("R", 20_000)
    tracemalloc.start()
    hits = search(q, r, n=50, metric="l2", query_keys=qk, reference_keys=rk, query_block=16)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert set(qk[hits.query_rows]) == {"Q00000"}
    assert rk[hits.reference_rows].tolist() == sorted(rk)[:50]
    assert hits.scores.tobytes() == np.zeros(50).tobytes()
    assert hits.ties_cut == 100 * 20_000 - 50
    assert peak < 32e6, "2 million stored pairs would take 64 MB"


def test_equal_keys_share_a_place_so_views_of_an_image_stand_together():
    hits = search(
        np.ones((2, 3), np.float32),
        np.ones((3, 3), np.float32),
        n=4,
        metric="ip",
        query_keys=np.array(["a", "a"]),
        reference_keys=np.array(["z", "y", "y"]),
    )
    pairs = list(zip(hits.query_rows.tolist(), hits.reference_rows.tolist(), strict=True))
    assert pairs == [(0, 1), (0, 2), (1, 1), (1, 2)]


def test_agrees_with_the_official_range_search_where_nothing_ties():
    q, r = vectors("random", 3, 50, 64), vectors("random", 4, 3000, 64)
    n = 10 * len(q)
    index = faiss.IndexFlatL2(64)
    index.add(r)
    limits, distances, rows = index.range_search(q, 1e10)
    order = np.argsort(distances, kind="stable")
    assert distances[order[n]] - distances[order[n - 1]] > 1e-6, "the cut must be clear in float32"
    official = np.repeat(np.arange(len(q)), np.diff(limits).astype(int))[order[:n]] * 3000 + rows[order[:n]]
    hits = search(q, r, n=n, metric="l2", query_keys=keys("Q", 50), reference_keys=keys("R", 3000))
    assert set(official.tolist()) == set((hits.query_rows * 3000 + hits.reference_rows).tolist())
    np.testing.assert_allclose(hits.scores, -distances[order[:n]], atol=2e-6)


@pytest.mark.parametrize("side", ["queries", "references"])
def test_removing_half_of_the_others_changes_no_surviving_score(side):
    q, r = vectors("clustered", 1, 40, 48), vectors("clustered", 2, 600, 48)
    qk, rk = keys("Q", 40), keys("R", 600)

    def scores(q_rows, r_rows):
        hits = search(q[q_rows], r[r_rows], n=2000, metric="l2", query_keys=qk[q_rows], reference_keys=rk[r_rows])
        return dict(
            zip(
                zip(qk[q_rows][hits.query_rows], rk[r_rows][hits.reference_rows], strict=True),
                hits.scores.tolist(),
                strict=True,
            )
        )

    every = scores(np.arange(40), np.arange(600))
    rows = (np.arange(0, 40, 2), np.arange(600)) if side == "queries" else (np.arange(40), np.arange(1, 600, 2))
    half = scores(*rows)
    common = every.keys() & half.keys()
    assert len(common) > 400
    assert all(every[pair] == half[pair] for pair in common)


def test_references_stream_from_hdf5_with_the_same_result(tmp_path):
    q, r = vectors("random", 1, 20), vectors("random", 2, 300)
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["vectors"] = r
    given_ = {"n": 77, "metric": "l2", "query_keys": keys("Q", 20), "reference_keys": keys("R", 300)}
    with h5py.File(tmp_path / "r.h5") as file:
        assert_same(search(q, file["vectors"], reference_block=64, **given_), search(q, r, **given_))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("side", ["queries", "references"])
def test_values_that_cannot_be_compared_are_refused_with_row_numbers(side, value):
    data = {"queries": vectors("random", 1, 90), "references": vectors("random", 2, 90)}
    data[side][70, 3] = value
    with pytest.raises(BadInput, match=rf"{side}: 1 rows.*70"):
        search(
            data["queries"],
            data["references"],
            n=5,
            metric="ip",
            query_keys=keys("Q", 90),
            reference_keys=keys("R", 90),
            reference_block=32,
        )


@pytest.mark.parametrize(
    "change",
    [
        {"n": 0},
        {"per_query": 0},
        {"query_keys": keys("Q", 3)},
        {"references": np.ones((5, 9), np.float32)},
        {"queries": np.ones((4, 8))},
    ],
)
def test_shapes_and_counts_that_do_not_agree_are_refused(change):
    given_ = {
        "queries": np.ones((4, 8), np.float32),
        "references": np.ones((5, 8), np.float32),
        "n": 3,
        "metric": "ip",
        "query_keys": keys("Q", 4),
        "reference_keys": keys("R", 5),
    } | change
    with pytest.raises(BadInput):
        search(given_.pop("queries"), given_.pop("references"), **given_)


def test_no_queries_give_an_empty_list():
    hits = search(
        np.empty((0, 8), np.float32),
        np.ones((5, 8), np.float32),
        n=3,
        metric="ip",
        query_keys=np.empty(0, "U6"),
        reference_keys=keys("R", 5),
    )
    assert (len(hits.scores), hits.ties_cut, hits.cut_score) == (0, 0, -np.inf)


def test_a_fault_in_one_tile_ends_the_search_and_leaves_nobody_waiting(monkeypatch):
    """Threads share as many buffers as there are of them: one that is not given back would be waited for, for ever."""
    monkeypatch.setattr(device, "fastest", lambda multiplications: None)
    honest, calls = scan.Scan._looked_through, []

    def faulty(self, *given):
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError("no room")
        return honest(self, *given)

    monkeypatch.setattr(scan.Scan, "_looked_through", faulty)
    with threadpool_limits(1), pytest.raises(MemoryError):
        search(vectors("random", 1, 60), vectors("random", 2, 5_000), n=50, metric="ip", query_keys=keys("Q", 60),
               reference_keys=keys("R", 5_000), query_block=8)  # fmt: skip
