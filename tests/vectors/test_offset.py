"""The offset coordinate is score normalisation, exactly, under the Euclidean distance."""

import numpy as np
from banks import negated_distances, top, train, unit

from isckit.vectors.normalise import offset, without_offset


def test_one_coordinate_is_added_to_both_sides_and_the_vectors_stay():
    q, r, bank = unit(1, 20), unit(2, 30), unit(3, 200)
    left, right = offset(q, train(bank), beta=1.5, n=3, floor=0.5), without_offset(r)
    assert left.shape == (20, 17) and right.shape == (30, 17) and left.dtype == right.dtype == np.float32
    assert np.array_equal(left[:, :-1], q) and np.array_equal(right[:, :-1], r)
    np.testing.assert_allclose(left[:, -1], np.sqrt(2 * 1.5 * top(q, bank, 3) + 0.5), rtol=1e-6)
    assert (right[:, -1] == 0).all()


def test_all_pairs_rank_as_by_score_normalisation():
    q, r, bank = unit(1, 40), unit(2, 60), unit(3, 300)
    beta, n, floor = 1.3, 3, 0.5
    normalised = q.astype(np.float64) @ r.astype(np.float64).T - beta * top(q, bank, n)[:, None]
    scores = negated_distances(offset(q, train(bank), beta=beta, n=n, floor=floor), without_offset(r))
    np.testing.assert_allclose(scores, 2 * normalised - 2 - floor, atol=1e-6)
    assert np.array_equal(np.argsort(scores, axis=None), np.argsort(normalised, axis=None))


def test_the_order_within_a_query_stays():
    q, r, bank = unit(1, 40), unit(2, 60), unit(3, 300)
    scores = negated_distances(offset(q, train(bank), beta=1.0, n=3, floor=0.5), without_offset(r))
    assert np.array_equal(np.argsort(scores, axis=1), np.argsort(q.astype(np.float64) @ r.T.astype(np.float64), axis=1))


def test_the_root_stays_real_where_train_lies_on_the_other_side():
    query, opposite = np.array([[1, 0]], np.float32), train([[-1, 0]])
    assert offset(query, opposite, beta=1.0, n=1, floor=0.5)[0, -1] == 0
    np.testing.assert_allclose(offset(query, opposite, beta=0.2, n=1, floor=0.5)[0, -1], np.sqrt(0.1), rtol=1e-6)
