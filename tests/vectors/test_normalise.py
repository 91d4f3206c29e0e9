"""Subtraction and stretching against loops and closed forms; every vector by itself and train."""

import numpy as np
import pytest

from isckit.config import Normalise
from isckit.types import BadInput, Embeddings, Role, RuleViolation
from isckit.vectors.normalise import MIN_SIMILARITY, l2, normalise, stretch, subtract, subtract_from_bank


def unit(seed, n, d=16):
    x = np.random.default_rng(seed).standard_normal((n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def made(role, vectors, prefix="X"):
    x = np.asarray(vectors, np.float32)
    return Embeddings.whole(role, np.array([f"{prefix}{i:05d}" for i in range(len(x))]), x)


def train(vectors):
    return made(Role.TRAIN, vectors, "T")


def subtracted_by_loop(x, bank, k, beta, own=None):
    rows = []
    for i, vector in enumerate(x.astype(np.float64)):
        similar = bank.astype(np.float64) @ vector
        order = [j for j in np.argsort(-similar, kind="stable") if own is None or j != i][:k]
        result = vector - beta * bank[order].astype(np.float64).mean(axis=0)
        rows.append(result / np.linalg.norm(result))
    return np.array(rows)


def test_l2_gives_unit_rows_of_the_same_direction():
    x = (np.random.default_rng(0).standard_normal((9000, 5)) * 37).astype(np.float32)
    before = x.copy()
    y = l2(x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(y.astype(np.float64), axis=1), 1, atol=1e-7)
    np.testing.assert_allclose(y, x / np.linalg.norm(x, axis=1, keepdims=True), rtol=1e-6)
    assert np.array_equal(x, before)


def test_l2_keeps_the_direction_of_very_short_and_very_long_vectors():
    np.testing.assert_allclose(l2(np.array([[3e-30, 4e-30], [3e17, 4e17]], np.float32)), [[0.6, 0.8]] * 2, rtol=1e-6)


def test_l2_names_zero_rows_by_number_or_id():
    x = np.ones((5000, 3), np.float32)
    x[4500] = 0
    with pytest.raises(BadInput, match="first at 4500"):
        l2(x)
    with pytest.raises(BadInput, match="first at Q4500"):
        l2(x, ids=np.array([f"Q{i}" for i in range(5000)]))


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


def test_stretching_scales_queries_by_alpha_times_the_mean_of_the_n_nearest():
    q, bank = unit(1, 20), unit(2, 300)
    similar = np.sort(q.astype(np.float64) @ bank.astype(np.float64).T, axis=1)[:, -5:].mean(axis=1)
    np.testing.assert_allclose(stretch(q, train(bank), n=5, alpha=2.5), 2.5 * similar[:, None] * q, rtol=1e-5)


def test_alpha_two_puts_every_distractor_at_minus_one():
    # A distractor's best match is as similar as its train neighbours: c = s.
    angles = np.radians([10, 40, 80])
    q = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    right = np.array([[1, 0]], np.float32)
    stretched = stretch(q, train([[1, 0], [1, 0], [-1, 0]]), n=2, alpha=2.0)
    np.testing.assert_allclose(-np.square(stretched.astype(np.float64) - right).sum(axis=1), -1, atol=1e-6)


def test_stretched_scores_follow_the_closed_form_and_keep_the_order_of_each_query():
    q, r, bank = unit(1, 10), unit(2, 50), unit(3, 200)
    s = np.sort(q.astype(np.float64) @ bank.astype(np.float64).T, axis=1)[:, -5:].mean(axis=1)[:, None]
    c = q.astype(np.float64) @ r.astype(np.float64).T
    scores = -np.square(stretch(q, train(bank), n=5, alpha=2.5)[:, None].astype(np.float64) - r).sum(axis=2)
    np.testing.assert_allclose(scores, 2 * 2.5 * s * (c - 2.5 / 2 * s) - 1, atol=1e-5)
    assert np.array_equal(np.argsort(scores, axis=1), np.argsort(c, axis=1))


@pytest.mark.parametrize("neighbour", [[-1, 0], [0, 1]])
def test_a_mean_of_zero_or_less_keeps_the_direction_at_the_floor(neighbour):
    got = stretch(np.array([[1, 0]], np.float32), train([neighbour]), n=1, alpha=2.5)
    np.testing.assert_allclose(got, [[2.5 * MIN_SIMILARITY, 0]], rtol=1e-6)


@pytest.mark.parametrize("role", [Role.QUERY, Role.REFERENCE])
def test_steps_apply_in_order_and_stretching_to_queries_alone(role):
    bank, x = train(unit(1, 80)), made(role, unit(2, 12))
    settings = Normalise(steps=("stretch", "subtract"), k=4, beta=0.3, n=3, alpha=2.0)
    first = stretch(x.vectors, bank, n=3, alpha=2.0) if role is Role.QUERY else x.vectors
    got = normalise(x, bank, settings)
    assert np.array_equal(got.vectors, subtract(first, bank, k=4, beta=0.3))
    assert (got.role, got.ids.tolist()) == (role, x.ids.tolist())


def test_stretching_after_subtraction_compares_with_a_subtracted_bank():
    bank, q = train(unit(1, 80)), made(Role.QUERY, unit(2, 12))
    settings = Normalise(steps=("subtract", "stretch"), k=4, beta=0.3, n=3, alpha=2.0)
    once = subtracted_by_loop(q.vectors, bank.vectors, 4, 0.3)
    others = subtracted_by_loop(bank.vectors, bank.vectors, 4, 0.3, own=True)
    s = np.sort(once @ others.T, axis=1)[:, -3:].mean(axis=1)
    np.testing.assert_allclose(normalise(q, bank, settings).vectors, 2.0 * s[:, None] * once, atol=1e-5)
    stale = np.sort(once @ bank.vectors.T, axis=1)[:, -3:].mean(axis=1)
    assert np.abs(s - stale).max() > 0.01, "the data must tell the two banks apart"


def test_a_new_image_and_a_train_image_of_the_same_vector_become_the_same():
    # What makes statistics comparable: the subtracted bank is what its vectors would be as references.
    bank = train(unit(1, 60))
    rest = bank.take(np.arange(60) != 7)
    as_reference = subtract(bank.vectors[7:8], rest, k=5, beta=0.35)
    np.testing.assert_allclose(subtract_from_bank(bank, k=5, beta=0.35).vectors[7:8], as_reference, atol=1e-6)


def test_no_steps_change_nothing():
    q = made(Role.QUERY, unit(1, 4))
    assert np.array_equal(normalise(q, train(unit(2, 9)), Normalise(steps=())).vectors, q.vectors)


@pytest.mark.parametrize("steps", [("subtract", "stretch"), ("stretch",), ("subtract",)])
def test_a_vector_is_bit_identical_alone_and_in_company(steps):
    bank, q = train(unit(1, 3000, 40)), made(Role.QUERY, unit(2, 60, 40))
    settings = Normalise(steps=steps)
    together = normalise(q, bank, settings).vectors
    for rows in (np.array([5]), np.arange(0, 60, 2), np.arange(60)[::-1]):
        assert normalise(q.take(rows), bank, settings).vectors.tobytes() == together[rows].tobytes()


@pytest.mark.parametrize("role", [Role.QUERY, Role.REFERENCE])
@pytest.mark.parametrize("steps", [("subtract",), ("stretch",), ()])
def test_banks_that_may_not_be_fitted_on_are_refused_by_every_step(role, steps):
    with pytest.raises(RuleViolation):
        normalise(made(Role.REFERENCE, unit(1, 3)), made(role, unit(2, 30)), Normalise(steps=steps))


def test_a_vector_that_vanishes_is_refused():
    with pytest.raises(BadInput, match="length zero"):
        subtract(np.array([[1, 0]], np.float32), train([[1, 0]]), k=1, beta=1.0)
