"""S-square's query normalisation, both variants, against loops; queries without a way away from train."""

import numpy as np
import pytest
from banks import top, train, unit

from isckit.vectors import normalise as module
from isckit.vectors.normalise import push


def pushed_by_loop(q, bank, amount, k, n, by):
    rows = []
    for vector in q.astype(np.float64):
        similar = bank.astype(np.float64) @ vector
        order = np.argsort(-similar, kind="stable")[:k]
        differences = np.array([vector - bank[j].astype(np.float64) for j in order])
        if by == "coordinate":
            scaled = np.array(
                [[d[j] / np.sqrt((differences[:, j] ** 2).mean()) for j in range(len(d))] for d in differences]
            )
        else:
            scaled = np.array([d / np.linalg.norm(d) for d in differences])
        direction = scaled.mean(axis=0) / np.linalg.norm(scaled.mean(axis=0))
        rows.append(vector + amount * np.sqrt(np.sort(similar)[-n:].mean()) * direction)
    return np.array(rows)


@pytest.mark.parametrize("by", ["coordinate", "vector"])
def test_both_variants_equal_their_loops_and_leave_the_input_alone(by):
    q, bank = unit(1, 25), unit(2, 200)
    before = q.copy()
    got = push(q, train(bank), amount=1.8, k=30, n=3, by=by)
    np.testing.assert_allclose(got, pushed_by_loop(q, bank, 1.8, 30, 3, by), atol=1e-6)
    assert got.dtype == np.float32 and np.array_equal(q, before)


def test_the_two_variants_differ():
    q, bank = unit(1, 25), train(unit(2, 200) * np.linspace(0.1, 2, 16, dtype=np.float32))
    ways = [push(q, bank, amount=1.8, k=30, n=3, by=by) for by in ("coordinate", "vector")]
    assert np.abs(ways[0] - ways[1]).max() > 0.05


@pytest.mark.parametrize("by", ["coordinate", "vector"])
def test_the_step_has_the_length_of_amount_times_the_root_of_similarity(by):
    q, bank = unit(1, 25), unit(2, 200)
    steps = push(q, train(bank), amount=0.7, k=30, n=3, by=by).astype(np.float64) - q
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), 0.7 * np.sqrt(top(q, bank, 3)), atol=1e-6)


def test_one_neighbour_in_the_plane_has_a_closed_form():
    # Towards (1, 0) from (0.6, 0.8): (0.4, -0.8); away from it by length sqrt(0.6).
    query = np.array([[0.6, 0.8]], np.float32)
    got = push(query, train([[1, 0]]), amount=1.0, k=1, n=1, by="vector")
    np.testing.assert_allclose(got, query + np.sqrt(0.6) * np.array([[-0.4, 0.8]]) / np.hypot(0.4, 0.8), atol=1e-6)
    signs = push(query, train([[1, 0]]), amount=1.0, k=1, n=1, by="coordinate")
    np.testing.assert_allclose(signs, query + np.sqrt(0.6) * np.array([[-1, 1]]) / np.sqrt(2), atol=1e-6)


@pytest.mark.parametrize("by", ["coordinate", "vector"])
def test_a_query_that_equals_all_its_neighbours_goes_outwards(by):
    query = np.array([[0.6, 0.8]], np.float32)
    got = push(query, train(np.repeat(query, 4, axis=0)), amount=1.8, k=4, n=2, by=by)
    np.testing.assert_allclose(got, 2.8 * query, rtol=1e-5)


@pytest.mark.parametrize("by", ["coordinate", "vector"])
def test_coordinates_and_neighbours_without_difference_count_as_nothing(by):
    query = np.array([[0.6, 0.8, 0]], np.float32)
    others = np.array([[0.6, 0.8, 0], [0.8, 0.6, 0]], np.float32)
    got = push(query, train(others), amount=1.0, k=2, n=2, by=by)
    np.testing.assert_allclose(got, query + np.sqrt(0.98) * np.array([[-1, 1, 0]]) / np.sqrt(2), atol=1e-6)


def test_train_on_the_other_side_pushes_nothing():
    query = np.array([[1, 0]], np.float32)
    assert np.array_equal(push(query, train([[-1, 0]]), amount=1.8, k=1, n=1, by="coordinate"), query)


def test_more_neighbours_for_the_similarity_than_for_the_direction_are_looked_for():
    q, bank = unit(1, 10), unit(2, 50)
    got = push(q, train(bank), amount=1.8, k=2, n=5, by="vector")
    np.testing.assert_allclose(got, pushed_by_loop(q, bank, 1.8, 2, 5, "vector"), atol=1e-6)


def test_blocks_do_not_change_a_bit(monkeypatch):
    q, bank = unit(1, 50), train(unit(2, 90))
    whole = push(q, bank, amount=1.8, k=20, n=3, by="coordinate")
    monkeypatch.setattr(module, "BLOCK", 7)
    assert push(q, bank, amount=1.8, k=20, n=3, by="coordinate").tobytes() == whole.tobytes()
