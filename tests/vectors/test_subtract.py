"""Negative embedding subtraction and its averaged negatives against loops and closed forms."""

import numpy as np
import pytest
from banks import train, unit

from isckit.types import BadInput, Embeddings, Role, RuleViolation
from isckit.vectors import normalise as module
from isckit.vectors.normalise import averaged, subtract, subtract_from_bank


def subtracted_by_loop(x, bank, k, beta, own=None):
    """One iteration; where `own` is set, row i of the bank is no neighbour of row i."""
    rows = []
    for i, vector in enumerate(x.astype(np.float64)):
        similar = bank.astype(np.float64) @ vector
        order = [j for j in np.argsort(-similar, kind="stable") if own is None or j != i][:k]
        result = vector - beta * bank[order].astype(np.float64).mean(axis=0)
        rows.append(result / np.linalg.norm(result))
    return np.array(rows)


def test_subtraction_equals_a_loop_and_leaves_its_input_alone():
    x, bank = unit(1, 30), unit(2, 100)
    before = x.copy()
    np.testing.assert_allclose(
        subtract(x, train(bank), k=10, beta=0.35), subtracted_by_loop(x, bank, 10, 0.35), atol=1e-6
    )
    assert np.array_equal(x, before)


def test_subtraction_in_the_plane_has_a_closed_form():
    # Neighbours of (1, 0): (1, 0) and (0, 1), mean (0.5, 0.5); (1, 0) - 0.4 (0.5, 0.5) = (0.8, -0.2).
    got = subtract(np.array([[1, 0]], np.float32), train([[-1, 0], [1, 0], [0, 1]]), k=2, beta=0.4)
    np.testing.assert_allclose(got, np.array([[0.8, -0.2]]) / np.hypot(0.8, 0.2), atol=1e-7)


def test_a_bank_vector_is_not_its_own_neighbour_even_among_duplicates():
    x = unit(3, 40)
    x[10:16] = x[10]
    got = subtract_from_bank(train(x), k=3, beta=0.35)
    assert got.role is Role.TRAIN
    np.testing.assert_allclose(got.vectors, subtracted_by_loop(x, x, 3, 0.35, own=True), atol=1e-6)


def test_a_short_bank_vector_that_is_not_nearest_to_itself_is_still_left_out():
    x = unit(3, 40) * np.linspace(0.2, 1.5, 40, dtype=np.float32)[:, None]
    got = subtract_from_bank(train(x), k=3, beta=0.35)
    np.testing.assert_allclose(got.vectors, subtracted_by_loop(x, x, 3, 0.35, own=True), atol=1e-6)


def test_a_new_image_and_a_train_image_of_the_same_vector_become_the_same():
    # What makes statistics comparable: the subtracted bank is what its vectors would be as references.
    bank = train(unit(1, 60))
    rest = bank.take(np.arange(60) != 7)
    as_reference = subtract(bank.vectors[7:8], rest, k=5, beta=0.35)
    np.testing.assert_allclose(subtract_from_bank(bank, k=5, beta=0.35).vectors[7:8], as_reference, atol=1e-6)


def test_a_vector_that_vanishes_is_refused():
    with pytest.raises(BadInput, match="length zero"):
        subtract(np.array([[1, 0]], np.float32), train([[1, 0]]), k=1, beta=1.0)


def test_more_iterations_find_the_neighbours_of_where_the_vector_went():
    x, bank = unit(1, 30), unit(2, 100)
    thrice = x
    for _ in range(3):
        thrice = subtracted_by_loop(thrice, bank, 10, 0.35)
    np.testing.assert_allclose(subtract(x, train(bank), k=10, beta=0.35, iterations=3), thrice, atol=1e-5)
    stale = x - 3 * (x - subtracted_by_loop(x, bank, 10, 0.35))
    assert np.abs(thrice - stale / np.linalg.norm(stale, axis=1, keepdims=True)).max() > 0.05


def test_more_iterations_of_the_bank_leave_each_vector_out_every_time():
    bank = unit(2, 60)
    twice = bank
    for _ in range(2):
        twice = subtracted_by_loop(twice, bank, 5, 0.35, own=True)
    np.testing.assert_allclose(subtract_from_bank(train(bank), k=5, beta=0.35, iterations=2).vectors, twice, atol=1e-5)


def test_similarities_after_subtraction_expand_into_penalties_of_both_sides():
    # q'.r' |.| |.| = q.r - beta (m_q.r + q.m_r) + beta^2 m_q.m_r, pair by pair.
    q, r, bank, k, beta = unit(1, 8), unit(2, 9), unit(3, 100), 10, 0.35
    left, right = subtract(q, train(bank), k=k, beta=beta), subtract(r, train(bank), k=k, beta=beta)

    def mean(vector):
        return bank[np.argsort(-(bank @ vector), kind="stable")[:k]].astype(np.float64).mean(axis=0)

    for i, one in enumerate(q.astype(np.float64)):
        for j, other in enumerate(r.astype(np.float64)):
            means = mean(one), mean(other)
            wanted = one @ other - beta * (means[0] @ other + one @ means[1]) + beta**2 * means[0] @ means[1]
            sizes = np.linalg.norm(one - beta * means[0]) * np.linalg.norm(other - beta * means[1])
            np.testing.assert_allclose(left[i].astype(np.float64) @ right[j] * sizes, wanted, atol=1e-6)


def test_averaging_equals_a_loop_with_each_vector_among_its_neighbours():
    bank, rows = unit(4, 80, 6), []
    before = bank.copy()
    for vector in bank.astype(np.float64):
        similar = bank.astype(np.float64) @ vector
        order = np.argsort(-similar, kind="stable")[:10]
        assert np.isclose(similar[order[0]], 1), "the vector itself comes first"
        total = sum(similar[j] ** 3 * bank[j].astype(np.float64) for j in order)
        rows.append(total / np.linalg.norm(total))
    got = averaged(train(bank), k=10, power=3.0)
    np.testing.assert_allclose(got.vectors, rows, atol=1e-6)
    assert got.role is Role.TRAIN and np.array_equal(bank, before)
    assert np.array_equal(averaged(train(bank), k=1, power=3.0).vectors.round(6), bank.round(6))


def test_neighbours_on_the_other_side_weigh_nothing_in_an_average():
    bank = np.array([[1, 0], [0.8, 0.6], [-0.6, 0.8]], np.float32)
    got = averaged(train(bank), k=3, power=1.0).vectors[0]
    np.testing.assert_allclose(got, np.array([1.64, 0.48]) / np.hypot(1.64, 0.48), atol=1e-6)


def test_the_bank_is_subtracted_by_averaged_negatives_and_leaves_out_its_own_average():
    bank = train(unit(5, 60))
    negatives = averaged(bank, k=4, power=3.0)
    got = subtract_from_bank(bank, negatives, k=5, beta=0.35)
    wanted = subtracted_by_loop(bank.vectors, negatives.vectors, 5, 0.35, own=True)
    np.testing.assert_allclose(got.vectors, wanted, atol=1e-6)


def test_blocks_do_not_change_a_bit(monkeypatch):
    x, bank = unit(1, 50), train(unit(2, 90))
    whole = [subtract(x, bank, k=5, beta=0.35), averaged(bank, k=5, power=3.0).vectors]
    monkeypatch.setattr(module, "BLOCK", 7)
    parts = [subtract(x, bank, k=5, beta=0.35), averaged(bank, k=5, power=3.0).vectors]
    assert all(a.tobytes() == b.tobytes() for a, b in zip(whole, parts, strict=True))


def test_negatives_other_than_train_are_refused():
    references = Embeddings.whole(Role.REFERENCE, np.array(["R0", "R1"]), unit(1, 2))
    with pytest.raises(RuleViolation):
        subtract(unit(2, 3), references, k=1, beta=0.35)
    with pytest.raises(RuleViolation):
        averaged(references, k=1, power=3.0)
