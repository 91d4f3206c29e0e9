"""Concatenation weighs cosines, a shared space averages queries; members that differ in rows are refused by name."""

import numpy as np
import pytest

from isckit.config import Ensemble
from isckit.types import BadInput, Embeddings, Role, RuleViolation
from isckit.vectors.pca import combine, concatenate, fit_pca, fit_projection, project, shared

VIEWS = ("whole", "left")


def member(seed, d, n=6, role=Role.TRAIN, ids=None, view_names=VIEWS, views=None):
    x = (np.random.default_rng(seed).standard_normal((n, d)) * 9).astype(np.float32)
    ids = np.array([f"T{i // 2}" for i in range(n)]) if ids is None else ids
    return Embeddings(role, ids, x, view_names, np.tile([0, 1], n // 2).astype(np.int16) if views is None else views)


def unit(x):
    return x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)


def test_members_stand_side_by_side_at_unit_length_times_weight():
    a, b = member(1, 4), member(2, 7)
    joined = concatenate([a, b], [2.0, 0.5])
    np.testing.assert_allclose(
        joined.vectors, np.concatenate([2 * unit(a.vectors), 0.5 * unit(b.vectors)], axis=1), atol=1e-6
    )
    assert joined.vectors.dtype == np.float32
    assert (joined.ids.tolist(), joined.views.tolist(), joined.role) == (a.ids.tolist(), a.views.tolist(), a.role)


def test_the_inner_product_is_the_sum_of_squared_weight_times_cosine():
    a, b = member(1, 4), member(2, 7)
    x = concatenate([a, b], [2.0, 0.5]).vectors
    wanted = 4 * unit(a.vectors) @ unit(a.vectors).T + 0.25 * unit(b.vectors) @ unit(b.vectors).T
    np.testing.assert_allclose(x @ x.T, wanted, atol=1e-5)


def test_views_are_compared_by_name_not_by_number():
    a = member(1, 4)
    other = member(2, 3, view_names=("left", "whole"), views=np.tile([1, 0], 3).astype(np.int16))
    assert concatenate([a, other], [1, 1]).vectors.shape == (6, 7)


def test_the_first_difference_is_named():
    ids = np.array(["T0", "T0", "T1", "T9", "T2", "T8"])
    with pytest.raises(BadInput, match=r"2 rows differ, the first is row 3: T1 \(left\) in member 0, T9 \(left\)"):
        concatenate([member(1, 4), member(2, 4, ids=ids)], [1, 1])
    views = np.array([0, 1, 0, 1, 1, 1], np.int16)
    with pytest.raises(BadInput, match=r"row 4: T2 \(whole\) in member 0, T2 \(left\) in member 1"):
        concatenate([member(1, 4), member(2, 4, views=views)], [1, 1])
    with pytest.raises(BadInput, match=r"6 train rows in member 0, 4 train rows in member 2"):
        concatenate([member(1, 4), member(1, 4), member(2, 4, n=4)], [1, 1, 1])
    with pytest.raises(BadInput, match=r"6 query rows in member 1"):
        concatenate([member(1, 4), member(2, 4, role=Role.QUERY)], [1, 1])


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, -1.0], [1.0, np.nan], [1.0, np.inf]])
def test_weights_that_are_not_one_positive_number_a_member_are_refused(weights):
    with pytest.raises(BadInput, match="weight"):
        concatenate([member(1, 4), member(2, 4)], weights)


def test_no_members_are_refused():
    with pytest.raises(BadInput):
        concatenate([], [])


def test_a_zero_vector_of_a_member_is_named_by_its_id():
    broken = member(2, 4)
    broken.vectors[3] = 0
    with pytest.raises(BadInput, match="T1"):
        concatenate([member(1, 4), broken], [1, 1])


def test_projection_is_pca_then_unit_length():
    train = member(3, 8, n=60)
    pca = fit_pca(train, dim=5, whiten=0.5)
    got = project(train, pca)
    np.testing.assert_allclose(got.vectors, unit(pca.project(train.vectors)), atol=1e-6)
    assert got.ids.tolist() == train.ids.tolist()


def test_in_a_shared_space_the_first_member_describes_references_and_train():
    for role in (Role.REFERENCE, Role.TRAIN):
        a, b = member(1, 4, role=role), member(2, 4, role=role)
        got = shared([a, b], [2.0, 0.5])
        np.testing.assert_allclose(got.vectors, unit(a.vectors), atol=1e-6)
        assert (got.role, got.ids.tolist(), got.views.tolist()) == (role, a.ids.tolist(), a.views.tolist())


def test_in_a_shared_space_queries_are_the_weighted_mean_of_the_other_members():
    parts = [member(seed, 4, role=Role.QUERY) for seed in (1, 2, 3)]
    wanted = unit(3 * unit(parts[1].vectors) + 0.5 * unit(parts[2].vectors))
    np.testing.assert_allclose(shared(parts, [9.0, 3.0, 0.5]).vectors, wanted, atol=1e-6)


def test_a_member_alone_describes_queries_itself():
    alone = member(1, 4, role=Role.QUERY)
    np.testing.assert_allclose(shared([alone], [2.0]).vectors, unit(alone.vectors), atol=1e-6)


def test_a_query_is_bit_identical_alone_and_in_company():
    parts = [member(seed, 40, n=60, role=Role.QUERY) for seed in (1, 2, 3)]
    together = shared(parts, [1, 1, 1]).vectors
    for rows in (np.array([5]), np.arange(60)[::-1]):
        assert shared([part.take(rows) for part in parts], [1, 1, 1]).vectors.tobytes() == together[rows].tobytes()


def test_members_that_share_a_space_have_one_dimension_and_the_same_images():
    with pytest.raises(BadInput, match="4 and 5 dimensions"):
        shared([member(1, 4), member(2, 5)], [1, 1])
    with pytest.raises(BadInput, match="6 train rows in member 0, 4 train rows in member 1"):
        shared([member(1, 4), member(2, 4, n=4)], [1, 1])
    with pytest.raises(BadInput, match="weight"):
        shared([member(1, 4), member(2, 4)], [1, 0])


def test_queries_that_cancel_out_are_named():
    parts = [member(1, 4, role=Role.QUERY)] * 2
    opposite = parts[0].with_vectors(parts[0].vectors.copy())
    opposite.vectors[3] *= -1
    with pytest.raises(BadInput, match="T1"):
        shared([*parts, opposite], [1, 1, 1])


def test_members_are_combined_and_projected_as_the_recipe_says():
    parts = [member(seed, 6, n=60) for seed in (1, 2)]
    joined, one = combine(parts, [1, 1], how="pca"), combine(parts, [1, 1], how="shared")
    assert (joined.vectors.shape[1], one.vectors.shape[1]) == (12, 6)
    pca = fit_projection(joined, Ensemble(dim=5, whiten=0.25))
    assert np.array_equal(pca.components, fit_pca(joined, dim=5, whiten=0.25).components)
    nothing = fit_projection(one, Ensemble(how="shared", dim=6))
    assert nothing.fitted_on is Role.TRAIN and nothing.train_ids_digest == pca.train_ids_digest
    np.testing.assert_allclose(project(one, nothing).vectors, one.vectors, atol=1e-7)


def test_a_shared_space_is_not_reduced():
    with pytest.raises(BadInput, match=r"space of 6 dimensions, and ensemble.dim=5"):
        fit_projection(member(1, 6), Ensemble(how="shared", dim=5))


def test_a_shared_space_is_fitted_on_train_alone():
    with pytest.raises(RuleViolation):
        fit_projection(member(1, 6, role=Role.REFERENCE), Ensemble(how="shared", dim=6))
