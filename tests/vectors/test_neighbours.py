"""Nearest bank vectors: a full sort, ties by bank row, each row by itself."""

import numpy as np
import pytest
from banks import train, unit
from hypothesis import given, settings
from hypothesis import strategies as st

from isckit.types import BadInput, Embeddings, Role, RuleViolation
from isckit.vectors import neighbours, scan
from isckit.vectors.exact import best_pairs
from isckit.vectors.neighbours import nearest


def bank_of(vectors, role=Role.TRAIN):
    x = np.asarray(vectors, np.float32)
    return Embeddings.whole(role, np.array([f"T{i:05d}" for i in range(len(x))]), x)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 99), n=st.integers(0, 9), b=st.integers(1, 60), data=st.data())
def test_neighbours_equal_a_stable_full_sort(seed, n, b, data):
    rng = np.random.default_rng(seed)
    k = data.draw(st.integers(1, b))
    x, train = (rng.integers(-2, 3, (rows, 4)).astype(np.float32) for rows in (n, b))  # full of ties
    similarities, rows = nearest(x, bank_of(train), k=k)
    every = x.astype(np.float64) @ train.astype(np.float64).T
    wanted = np.argsort(-every, axis=1, kind="stable")[:, :k]
    assert np.array_equal(rows, wanted)
    assert np.array_equal(similarities, np.take_along_axis(every, wanted, axis=1))


def test_a_row_is_bit_identical_alone_and_in_company():
    rng = np.random.default_rng(0)
    x, bank = rng.standard_normal((50, 33)).astype(np.float32), bank_of(rng.standard_normal((5000, 33)))
    similarities, rows = nearest(x, bank, k=7)
    for i in (0, 17, 49):
        alone = nearest(x[i : i + 1], bank, k=7)
        assert alone[0].tobytes() == similarities[i].tobytes()
        assert np.array_equal(alone[1][0], rows[i])


@pytest.mark.parametrize("k", [0, 6])
def test_more_neighbours_than_vectors_are_refused(k):
    with pytest.raises(BadInput, match="bank of 5"):
        nearest(np.ones((1, 2), np.float32), bank_of(np.ones((5, 2))), k=k)


@pytest.mark.parametrize("role", [Role.QUERY, Role.REFERENCE])
def test_banks_that_may_not_be_fitted_on_are_refused(role):
    with pytest.raises(RuleViolation, match=role.value):
        nearest(np.ones((1, 2), np.float32), bank_of(np.ones((5, 2)), role), k=1)


def test_a_damaged_bank_is_named_as_such():
    vectors = np.ones((5, 2))
    vectors[3, 1] = np.nan
    with pytest.raises(BadInput, match=r"bank: 1 rows.*3"):
        nearest(np.ones((1, 2), np.float32), bank_of(vectors), k=1)


def test_another_dimension_is_refused():
    with pytest.raises(BadInput, match="3 and 2 dimensions"):
        nearest(np.ones((1, 3), np.float32), bank_of(np.ones((5, 2))), k=1)


def test_searching_in_parts_changes_nothing_and_names_rows_by_their_number(monkeypatch):
    x, bank = unit(1, 50), train(unit(2, 90))
    whole = nearest(x, bank, k=4)
    monkeypatch.setattr(neighbours, "_PAIRS", 4)
    monkeypatch.setattr(neighbours, "_FEWEST", 7)
    parts = nearest(x, bank, k=4)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(whole, parts, strict=True))
    x[33] = np.nan
    with pytest.raises(BadInput, match="rows 33"):
        nearest(x, bank, k=4)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 99), k=st.integers(1, 9), tile=st.integers(1, 12), metric=st.sampled_from(["ip", "l2"]))
def test_nearest_are_exact_where_lengths_differ_from_tile_to_tile(seed, k, tile, metric):
    """An error bound that holds in one tile says nothing of what was kept from another."""
    rng = np.random.default_rng(seed)
    x, y = ((rng.normal(size=(n, 6)) + 3) * 10.0 ** rng.integers(-3, 4, (n, 1)) for n in (9, 40))
    x, y = x.astype(np.float32), y.astype(np.float32)
    left, right = x.astype(np.float64), y.astype(np.float64)
    scores = left @ right.T if metric == "ip" else -np.square(left[:, None] - right).sum(axis=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "TILE_COLUMNS", tile)
        pairs, _ = best_pairs(
            x, y, metric=metric, quota=k, per_query=True, query_ranks=np.arange(9), reference_ranks=np.arange(40),
            query_block=4, reference_block=25,
        )  # fmt: skip
    wanted = np.sort(scores, axis=1)[:, : -k - 1 : -1]
    assert pairs["low"].reshape(9, k) == pytest.approx(wanted, rel=1e-12, abs=1e-18)
