"""Score normalisation: the closed form, ranks from 1, train alone."""

import numpy as np
import pytest

from isckit.matching.cut import background, with_score_dimension
from isckit.matching.lists import search
from isckit.types import BadInput, Embeddings, Role, RuleViolation


def bank_of(vectors, role=Role.TRAIN):
    x = np.asarray(vectors, np.float32)
    return Embeddings.whole(role, np.array([f"T{i:05d}" for i in range(len(x))]), x)


def unit(seed, n, d=16):
    x = np.random.default_rng(seed).standard_normal((n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_worked_example_scores_minus_one_point_four():
    q, r = np.array([[1, 0]], np.float32), np.array([[0.6, 0.8]], np.float32)
    statistic = background(q, bank_of([[1, 0], [0, 1]]), first=1, last=1)
    left, right = map(np.asarray, with_score_dimension(q, r, statistic, 2.0))
    assert left.dtype == right.dtype == np.float32
    assert left.shape == right.shape == (1, 3)
    hits = search(left, right, n=1, metric="ip", query_keys=np.array(["Q"]), reference_keys=np.array(["R"]))
    assert hits.scores[0] == pytest.approx(-1.4, abs=1e-7)


@pytest.mark.parametrize(("first", "last", "wanted"), [(1, 1, 0.9), (2, 3, 0.6), (3, 3, 0.5), (1, 4, 0.5)])
def test_ranks_count_from_one_and_both_ends_belong(first, last, wanted):
    bank = bank_of([[0.5, 0], [-0.1, 0], [0.9, 0], [0.7, 0]])
    statistic = background(np.array([[1, 0]], np.float32), bank, first=first, last=last)
    assert statistic == pytest.approx([wanted], abs=1e-7)


def test_scores_equal_similarity_minus_factor_times_mean_of_a_full_sort():
    q, r, train = unit(1, 20), unit(2, 30), unit(3, 200)
    similar = np.sort(q.astype(np.float64) @ train.astype(np.float64).T, axis=1)[:, ::-1]
    left, right = map(np.asarray, with_score_dimension(q, r, background(q, bank_of(train), first=3, last=10), 1.5))
    np.testing.assert_allclose(left @ right.T, q @ r.T - 1.5 * similar[:, 2:10].mean(axis=1)[:, None], atol=1e-6)


def test_order_within_a_query_stays():
    q, r = unit(1, 5), unit(2, 40)
    left, right = map(np.asarray, with_score_dimension(q, r, background(q, bank_of(unit(3, 50)), first=1, last=5), 2.0))
    assert np.array_equal(np.argsort(left @ right.T, axis=1), np.argsort(q @ r.T, axis=1))


def test_statistic_of_a_query_is_bit_identical_alone_and_in_company():
    q, bank = unit(1, 40), bank_of(unit(3, 3000))
    together = background(q, bank, first=1, last=10)
    alone = np.concatenate([background(q[i : i + 1], bank, first=1, last=10) for i in range(40)])
    assert together.tobytes() == alone.tobytes()


@pytest.mark.parametrize("role", [Role.QUERY, Role.REFERENCE])
def test_other_banks_than_train_are_refused(role):
    with pytest.raises(RuleViolation):
        background(unit(1, 2), bank_of(unit(2, 9), role), first=1, last=2)


def test_declared_external_images_may_serve_as_bank():
    assert background(unit(1, 2), bank_of(unit(2, 9), Role.EXTERNAL), first=1, last=2).shape == (2,)


@pytest.mark.parametrize("ranks", [(0, 3), (4, 3), (1, 10)])
def test_ranks_outside_the_bank_are_refused(ranks):
    with pytest.raises(BadInput):
        background(unit(1, 2), bank_of(unit(2, 9)), first=ranks[0], last=ranks[1])
