"""Stretching against sorting and closed forms: the direction stays, distances become comparable."""

import numpy as np
import pytest
from banks import negated_distances, top, train, unit

from isckit.vectors.normalise import MIN_SIMILARITY, stretch


def test_stretching_scales_queries_by_alpha_times_the_mean_of_the_n_nearest():
    q, bank = unit(1, 20), unit(2, 300)
    got = stretch(q, train(bank), n=5, alpha=2.5)
    np.testing.assert_allclose(got, 2.5 * top(q, bank, 5)[:, None] * q, rtol=1e-5)
    cosines = np.einsum("ij,ij->i", got, q) / np.linalg.norm(got, axis=1) / np.linalg.norm(q, axis=1)
    np.testing.assert_allclose(cosines, 1, atol=1e-6)


def test_alpha_two_puts_every_distractor_at_minus_one():
    # A distractor's best match is as similar as its train neighbours: c = s.
    angles = np.radians([10, 40, 80])
    q = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    right = np.array([[1, 0]], np.float32)
    stretched = stretch(q, train([[1, 0], [1, 0], [-1, 0]]), n=2, alpha=2.0)
    np.testing.assert_allclose(-np.square(stretched.astype(np.float64) - right).sum(axis=1), -1, atol=1e-6)


def test_stretched_scores_follow_the_closed_form_and_keep_the_order_of_each_query():
    q, r, bank = unit(1, 10), unit(2, 50), unit(3, 200)
    s = top(q, bank, 5)[:, None]
    c = q.astype(np.float64) @ r.astype(np.float64).T
    scores = negated_distances(stretch(q, train(bank), n=5, alpha=2.5), r)
    np.testing.assert_allclose(scores, 2 * 2.5 * s * (c - 2.5 / 2 * s) - 1, atol=1e-5)
    assert np.array_equal(np.argsort(scores, axis=1), np.argsort(c, axis=1))


@pytest.mark.parametrize("neighbour", [[-1, 0], [0, 1]])
def test_a_mean_of_zero_or_less_keeps_the_direction_at_the_floor(neighbour):
    got = stretch(np.array([[1, 0]], np.float32), train([neighbour]), n=1, alpha=2.5)
    np.testing.assert_allclose(got, [[2.5 * MIN_SIMILARITY, 0]], rtol=1e-6)
