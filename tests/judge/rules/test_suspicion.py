"""Honest matrices of every kind raise no suspicion; each way of fitting on the described set does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isckit.judge.rules.suspicion import FALSE_ALARM, row_keys, suspect_descriptors
from isckit.submission import write_descriptors
from isckit.types import BadInput, Embeddings, Role


def draw_features(seed, n, *, width, latent, kind="dense"):
    """Rows of a fixed random feature map (decided by all but n) of clustered latents; a list of independent sets."""
    rng = np.random.default_rng(seed)
    centres, out = rng.normal(size=(20, latent)), rng.normal(size=(latent, width))
    bias = rng.normal(size=width)
    sets = []
    for rows in n:
        z = centres[rng.integers(20, size=rows)] + 0.7 * rng.normal(size=(rows, latent))
        x = z @ out + bias
        sets.append(np.maximum(x, 0) if kind == "relu" else np.tanh(x) if kind == "tanh" else x)
    return sets


def fit(x, *, dim, whiten=0.0):
    """Mean and projection of a PCA with variances to the power `whiten` divided out."""
    mean = x.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(x.T))
    order = np.argsort(-variances)[:dim]
    return lambda y: (y - mean) @ (axes[:, order] / np.maximum(variances[order], 1e-9) ** whiten)


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def suspects(folder, queries, references):
    """Names of the tests that suspect a file of these matrices, and all tests."""
    sides = [
        Embeddings.whole(role, np.char.mod(pattern, np.arange(len(x))), np.ascontiguousarray(x, np.float32))
        for role, pattern, x in ((Role.QUERY, "Q%05d", queries), (Role.REFERENCE, "R%06d", references))
    ]
    path = folder / "descriptors.h5"
    write_descriptors(path, *sides)
    found = suspect_descriptors(path)
    return {test.name for test in found if test.suspicious}, {test.name: test for test in found}


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.sampled_from([16, 60, 400, 2000]),
    m=st.sampled_from([24, 60, 1000, 5000]),
    dim=st.sampled_from([8, 40, 64, 256]),
    latent=st.sampled_from([2, 8, 64]),
    kind=st.sampled_from(["dense", "relu", "tanh"]),
    whiten=st.sampled_from([None, 0, 0.25, 0.5]),
    length=st.booleans(),
)
def test_honest_matrices_raise_no_suspicion(tmp_path_factory, seed, n, m, dim, latent, kind, whiten, length):
    train, queries, references = draw_features(seed, (3000, n, m), width=dim, latent=latent, kind=kind)
    project = (lambda y: y) if whiten is None else fit(train, dim=dim, whiten=whiten)
    queries, references = project(queries), project(references)
    if length:
        queries, references = unit(queries), unit(references)
    assert suspects(tmp_path_factory.mktemp("honest"), queries, references)[0] == set()


def one_hot(rng, n, d):
    return np.eye(d)[rng.integers(d, size=n)]


HONEST_ODDITIES = {
    "one-hot codes": one_hot,
    "signed one-hot codes": lambda rng, n, d: one_hot(rng, n, d) * rng.choice([-1, 1], size=(n, 1)),
    "nearly one-hot codes": lambda rng, n, d: one_hot(rng, n, d) + 1e-3 * rng.normal(size=(n, d)),
    "hash codes": lambda rng, n, d: rng.choice([-1.0, 1.0], size=(n, d)),
    "clipped to one range": lambda rng, n, d: np.clip(rng.normal(size=(n, d)), -1, 1),
    "clipped below": lambda rng, n, d: np.maximum(-np.abs(rng.normal(size=(n, d))), -1),
    "quantised to bytes": lambda rng, n, d: np.clip(np.round(40 * rng.normal(size=(n, d)) + 128), 0, 255),
    "three values": lambda rng, n, d: rng.choice([-1.0, 0.0, 1.0], size=(n, d)),
    "uniform": lambda rng, n, d: rng.uniform(size=(n, d)),
    "arcsine": lambda rng, n, d: np.cos(2 * np.pi * rng.uniform(size=(n, d))),
    "heavy tails": lambda rng, n, d: rng.standard_t(1.5, size=(n, d)),
    "one column varies": lambda rng, n, d: np.c_[rng.normal(size=n), np.ones((n, d - 1))],
    "large offset": lambda rng, n, d: 1000 + rng.normal(size=(n, d)),
    "few distinct": lambda rng, n, d: rng.normal(size=(5, d))[rng.integers(5, size=n)],
    "all equal": lambda rng, n, d: np.ones((n, d)),
}


@pytest.mark.parametrize("kind", HONEST_ODDITIES)
@pytest.mark.parametrize("n", [60, 1500])
@pytest.mark.parametrize("d", [1, 8, 256])
def test_odd_but_honest_matrices_raise_no_suspicion(tmp_path, kind, n, d):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        made = [HONEST_ODDITIES[kind](rng, rows, d) for rows in (n, 2 * n)]
        assert suspects(tmp_path, *made)[0] == set()


CHEATS = {
    "centred": (lambda x: x - x.mean(axis=0), "mean"),
    "principal axes": (lambda x: fit(x, dim=24)(x), "correlation of columns"),
    "whitened": (lambda x: fit(x, dim=24, whiten=0.5)(x), "spread of variances"),
    "standardised": (lambda x: (x - x.mean(axis=0)) / x.std(axis=0), "spread of variances"),
    "standard deviations only": (lambda x: x / x.std(axis=0), "spread of variances"),
    "between extremes": (lambda x: (x - x.min(axis=0)) / np.ptp(x, axis=0), "columns with a common extreme"),
    "by largest magnitude": (lambda x: x / np.abs(x).max(axis=0), "columns with a common extreme"),
}


@pytest.mark.parametrize("cheat", CHEATS)
@pytest.mark.parametrize("side", ["query", "reference"])
@pytest.mark.parametrize("n", [60, 900, 20_000])
def test_each_fit_on_one_side_is_suspected_on_that_side(tmp_path, cheat, side, n):
    spoil, test = CHEATS[cheat]
    queries, references = draw_features(n, (n, n), width=32, latent=40)
    honest, other = fit(references, dim=24)(queries), "reference" if side == "query" else "query"
    if side == "query":
        references, queries = fit(queries[: n // 2], dim=24)(references), spoil(queries)
        queries = np.pad(queries, ((0, 0), (0, 32 - queries.shape[1])))
        references = np.pad(references, ((0, 0), (0, 32 - references.shape[1])))
    else:
        queries, references = honest, spoil(references)
        queries = np.pad(queries, ((0, 0), (0, 32 - queries.shape[1])))
        references = np.pad(references, ((0, 0), (0, 32 - references.shape[1])))
    names = suspects(tmp_path, queries, references)[0]
    assert f"{side}: {test}" in names
    assert not any(name.startswith(f"{other}:") for name in names)


@pytest.mark.parametrize("test, spoil", [("mean", "centred"), ("correlation of columns", "principal axes")])
def test_a_fit_on_queries_and_references_together_is_suspected_only_of_both_together(tmp_path, test, spoil):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 24)) * np.linspace(1, 3, 24)
    x[:500] += 0.5
    x = CHEATS[spoil][0](x)
    names = suspects(tmp_path, x[:500], x[500:])[0]
    assert f"query and reference: {test}" in names and all(name.startswith("query and") for name in names)


@pytest.mark.parametrize("whiten", [0, 0.25])
def test_a_pca_fitted_on_the_queries_is_still_seen_after_unit_length_where_norms_vary_little(tmp_path, whiten):
    rng = np.random.default_rng(1)
    mix = rng.normal(size=(300, 256))
    queries, references = (unit(rng.normal(size=(n, 300)) @ mix) for n in (1000, 3000))
    project = fit(queries, dim=200, whiten=whiten)
    names = suspects(tmp_path, unit(project(queries)), unit(project(references)))[0]
    assert "query: correlation of columns" in names
    assert not any(name.startswith("reference:") for name in names)


def test_the_statistics_are_those_of_the_definition(tmp_path):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(300, 12)) * np.linspace(1, 2, 12) + 0.5, rng.normal(size=(40_000, 12))
    tests = suspects(tmp_path, x, y)[1]
    for side, z in (("query", x), ("reference", y), ("query and reference", np.concatenate([x, y]))):
        z = z.astype(np.float32).astype(np.float64)
        n, d = z.shape
        correlation = np.corrcoef(z.T)
        off = correlation[~np.eye(d, dtype=bool)]
        variance = z.var(axis=0)
        want = {
            "mean": n * (z.mean(axis=0) ** 2).sum() / variance.sum(),
            "correlation of columns": n * (off**2).mean(),
            "spread of variances": n / 2 * (variance / variance.mean()).var() * d / (d - 1),
        }
        for name, value in want.items():
            assert tests[f"{side}: {name}"].statistic == pytest.approx(value, rel=1e-5), (side, name)


def test_the_threshold_keeps_the_promised_chance_of_a_false_alarm(tmp_path):
    from scipy.stats import chi2

    rng = np.random.default_rng(3)
    for d in (3, 5, 8, 12, 64):
        tests = suspects(tmp_path, rng.normal(size=(200, d)), rng.normal(size=(200, d)))[1]
        for name, errors in (("correlation of columns", d * (d - 1) / 2), ("spread of variances", d - 1)):
            threshold = tests[f"query: {name}"].threshold
            assert chi2.cdf(errors * threshold, errors) <= FALSE_ALARM and threshold <= 0.2


def test_few_rows_are_too_few_to_say_even_of_a_cheat(tmp_path):
    x = np.random.default_rng(4).normal(size=(16, 40))
    names, tests = suspects(tmp_path, x - x.mean(axis=0), x)
    assert names == set()
    assert tests["query: mean"].statistic is None and "too few rows to say: 16" in tests["query: mean"].words


def test_repeated_vectors_are_counted_as_a_hint_alone(tmp_path):
    x = np.random.default_rng(5).normal(size=(100, 8))
    names, tests = suspects(tmp_path, np.concatenate([x[:40], x[:10]]), x[5:])
    hint = tests["repeated vectors"]
    assert names == set() and hint.statistic == 10 + 35 + 5
    assert hint.words.startswith("10 equal one of their own side, 40 queries equal a reference")


def test_keys_of_rows_are_equal_for_equal_rows_alone_wherever_they_lie():
    x = np.random.default_rng(6).normal(size=(500, 16)).astype(np.float32)
    y = x.copy()
    y[7, 3] = np.nextafter(y[7, 3], np.float32(9))
    swapped = x[:, ::-1]
    assert (row_keys(x)[::2] == row_keys(x[::2])).all()
    assert np.flatnonzero(row_keys(x) != row_keys(y)).tolist() == [7]
    assert not (row_keys(x) == row_keys(swapped)).any() and len(np.unique(row_keys(x))) == 500


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_values_that_cannot_be_squared_are_refused(tmp_path, value):
    import h5py

    suspects(tmp_path, np.ones((60, 4)), np.ones((60, 4)))
    with h5py.File(tmp_path / "descriptors.h5", "r+") as file:
        file["query"][3, 1] = value
    with pytest.raises(BadInput, match="rows 0 to 59"):
        suspect_descriptors(tmp_path / "descriptors.h5")


def test_sides_of_different_width_and_empty_ones_are_refused(tmp_path):
    import h5py

    for shape in ((60, 5), (0, 4)):
        suspects(tmp_path, np.ones((60, 4)), np.ones((60, 4)))
        with h5py.File(tmp_path / "descriptors.h5", "r+") as file:
            del file["query"], file["query_ids"]
            file["query"] = np.ones(shape, np.float32)
            file["query_ids"] = np.char.mod("Q%05d", np.arange(shape[0])).astype("S6")
        with pytest.raises(BadInput, match="matrices of shape"):
            suspect_descriptors(tmp_path / "descriptors.h5")
