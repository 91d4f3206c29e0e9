"""PCA against sklearn and a closed form; rows by themselves; damaged files and wrong roles refused."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from isckit.runs.artifacts import ids_digest
from isckit.types import BadInput, Embeddings, MissingInput, Role, RuleViolation
from isckit.vectors.pca import Pca, fit_pca, load_pca, save_pca


def data(seed, n, d, role=Role.TRAIN):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) * np.linspace(3, 0.5, d) @ rng.standard_normal((d, d)) + rng.standard_normal(d)
    return Embeddings.whole(role, np.array([f"T{i:05d}" for i in range(n)]), x.astype(np.float32))


def test_projection_equals_sklearn_up_to_sign():
    train = data(0, 500, 20)
    pca = fit_pca(train, dim=6, whiten=0.0)
    theirs = PCA(6, svd_solver="full").fit(train.vectors.astype(np.float64))
    got, wanted = pca.project(train.vectors), theirs.transform(train.vectors.astype(np.float64))
    assert got.dtype == np.float32
    signs = np.sign((got * wanted).sum(axis=0))
    np.testing.assert_allclose(got * signs, wanted, rtol=1e-4, atol=1e-4)


def test_points_on_a_tilted_line_have_a_closed_form():
    # Along (0.6, 0.8) around (10, -5): the first component is that direction, the projection the place on the line.
    places = np.array([-3.0, -1, 0, 4])
    noise = np.array([0.1, -0.1, 0.1, -0.1]) * 0
    x = np.array([10, -5]) + places[:, None] * [0.6, 0.8] + noise[:, None] * [-0.8, 0.6]
    pca = fit_pca(Embeddings.whole(Role.TRAIN, np.array(list("abcd")), x.astype(np.float32)), dim=1, whiten=0.0)
    np.testing.assert_allclose(pca.components, [[0.6, 0.8]], atol=1e-6)
    np.testing.assert_allclose(pca.project(x.astype(np.float32))[:, 0], places, atol=1e-5)


def test_the_largest_entry_of_every_component_is_positive():
    components = fit_pca(data(1, 300, 15), dim=10, whiten=0.0).components
    assert (components[np.arange(10), np.abs(components).argmax(axis=1)] > 0).all()


@pytest.mark.parametrize("whiten", [0.0, 0.25, 0.5])
def test_whitening_divides_by_a_power_of_the_variance_relative_to_the_first(whiten):
    train = data(2, 4000, 12)
    variances = fit_pca(train, dim=8, whiten=0.0).project(train.vectors).astype(np.float64).var(axis=0)
    got = fit_pca(train, dim=8, whiten=whiten).project(train.vectors).astype(np.float64).var(axis=0)
    np.testing.assert_allclose(got, variances * (variances / variances[0]) ** (-2 * whiten), rtol=1e-4)


def test_full_whitening_gives_the_train_vectors_the_identity_as_covariance():
    train = data(2, 4000, 12)
    projected = fit_pca(train, dim=8, whiten=0.5).project(train.vectors).astype(np.float64)
    covariance = np.cov(projected.T)
    np.testing.assert_allclose(covariance / covariance[0, 0], np.eye(8), atol=1e-4)


def test_a_row_is_bit_identical_alone_in_company_and_at_any_place():
    train = data(3, 700, 33)
    pca = fit_pca(train, dim=17, whiten=0.3)
    together = pca.project(train.vectors)
    for rows in (np.array([600]), np.arange(1, 700, 2), np.arange(700)[::-1], np.arange(255, 300)):
        assert pca.project(train.vectors[rows]).tobytes() == together[rows].tobytes()


@pytest.mark.parametrize(("n", "d", "dim"), [(50, 10, 11), (8, 10, 8), (50, 10, 0)])
def test_more_dimensions_than_rows_or_columns_allow_are_refused(n, d, dim):
    with pytest.raises(BadInput, match="allowed:    1 to"):
        fit_pca(data(4, n, d), dim=dim, whiten=0.5)


def test_more_dimensions_than_the_rank_are_refused_with_the_rank():
    x = data(5, 100, 4).vectors
    twice = Embeddings.whole(Role.TRAIN, np.arange(100).astype(str), np.concatenate([x, 2 * x], axis=1))
    assert fit_pca(twice, dim=4, whiten=0.5).scales.shape == (4,)
    with pytest.raises(BadInput, match="rank 4"):
        fit_pca(twice, dim=5, whiten=0.5)


def test_equal_vectors_have_nothing_to_fit():
    with pytest.raises(BadInput, match="vectors that differ"):
        fit_pca(
            Embeddings.whole(Role.TRAIN, np.arange(9).astype(str), np.full((9, 3), 0.1, np.float32)), dim=1, whiten=0.0
        )


@pytest.mark.parametrize("role", [Role.QUERY, Role.REFERENCE])
def test_fitting_on_anything_but_train_or_external_is_refused(role):
    with pytest.raises(RuleViolation, match=role.value):
        fit_pca(data(6, 40, 5, role), dim=2, whiten=0.0)
    assert fit_pca(data(6, 40, 5, Role.EXTERNAL), dim=2, whiten=0.0).fitted_on is Role.EXTERNAL


def test_damaged_vectors_and_other_dimensions_are_refused():
    train = data(7, 40, 5)
    pca = fit_pca(train, dim=2, whiten=0.0)
    with pytest.raises(BadInput, match="6 and 5 dimensions"):
        pca.project(np.ones((3, 6), np.float32))
    train.vectors[3, 2] = np.nan
    with pytest.raises(BadInput, match="rows 3"):
        fit_pca(train, dim=2, whiten=0.0)


def test_a_stored_pca_comes_back_bit_for_bit(tmp_path):
    train = data(8, 60, 9)
    pca = fit_pca(train, dim=4, whiten=0.5)
    save_pca(tmp_path / "pca.npz", pca)
    back = load_pca(tmp_path / "pca.npz")
    assert back.project(train.vectors).tobytes() == pca.project(train.vectors).tobytes()
    assert back.fitted_on is Role.TRAIN
    assert back.train_ids_digest == ids_digest(train.ids)
    assert [p.name for p in tmp_path.iterdir()] == ["pca.npz"]


def test_a_damaged_file_is_refused_or_harmless(tmp_path):
    path = tmp_path / "pca.npz"
    pca = fit_pca(data(9, 30, 3), dim=2, whiten=0.5)
    save_pca(path, pca)
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            back = load_pca(path)
        except BadInput:
            refused += 1
        else:
            assert (back.mean.tobytes(), back.components.tobytes(), back.scales.tobytes(), back.train_ids_digest) == (
                pca.mean.tobytes(),
                pca.components.tobytes(),
                pca.scales.tobytes(),
                pca.train_ids_digest,
            )
    assert refused > 100
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(BadInput):
            load_pca(path)


def test_absent_foreign_and_pickled_files_are_refused(tmp_path):
    with pytest.raises(MissingInput):
        load_pca(tmp_path / "none.npz")
    np.savez(tmp_path / "foreign.npz", a=np.ones(3))
    with pytest.raises(BadInput):
        load_pca(tmp_path / "foreign.npz")
    np.savez(
        tmp_path / "pickled.npz",
        mean=np.array([{}], object),
        components=1,
        scales=1,
        fitted_on="train",
        train_ids_digest="",
    )
    with pytest.raises(BadInput):
        load_pca(tmp_path / "pickled.npz")


def test_a_file_fitted_on_references_cannot_be_loaded(tmp_path):
    np.savez(
        tmp_path / "pca.npz",
        mean=np.zeros(3),
        components=np.eye(3)[:2],
        scales=np.ones(2),
        fitted_on="reference",
        train_ids_digest="0",
    )
    with pytest.raises(RuleViolation):
        load_pca(tmp_path / "pca.npz")


def test_arrays_that_do_not_fit_together_are_refused():
    with pytest.raises(BadInput):
        Pca(np.zeros(3), np.eye(4), np.ones(4), Role.TRAIN, "0")
