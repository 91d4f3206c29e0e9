"""Concatenation weighs cosines; members that do not stand row by row are refused by name."""

import numpy as np
import pytest

from isckit.types import BadInput, Embeddings, Role
from isckit.vectors.ensemble import concatenate, project
from isckit.vectors.pca import fit_pca

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
