"""Products in bf16 stay within the bound that they name; the fastest place is asked for where it is worth it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isckit.vectors import device

CPU = torch.device("cpu")


def made(seed, n, d, spread):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-spread, spread, (n, 1))).astype(np.float32)


@given(seed=st.integers(0, 99), d=st.sampled_from([1, 3, 64, 257, 2048]), spread=st.sampled_from([0.0, 2.0]))
@settings(max_examples=40, deadline=None)
def test_a_product_in_bf16_differs_from_the_true_one_by_its_margin_at_most(seed, d, spread):
    q, r = made(seed, 20, d, spread), made(seed + 100, 50, d, spread)
    products = device.Bf16(q, CPU)
    products.take(r)
    tile = products.products(slice(3, 17), slice(0, 50)).double().numpy()
    errors = np.abs(tile - q[3:17].astype(np.float64) @ r.astype(np.float64).T)
    assert (errors <= products.margins[3:17, None]).all()
    assert errors.max() > 0  # bf16, not float32 by another name


def test_the_margin_is_of_the_size_of_what_bf16_loses():
    """A bound that lets everything through would be right, and of no use: unit vectors differ by a few thousandths."""
    x = made(0, 200, 256, 0.0)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    products = device.Bf16(x, CPU)
    products.take(x)
    assert products.margins.max() < 0.01


def test_pairs_that_reach_what_is_needed_have_their_float32_products():
    q, r = made(1, 9, 32, 0.0), made(2, 40, 32, 0.0)
    products = device.Bf16(q, CPU)
    products.take(r)
    own, needed = slice(2, 9), np.linspace(-3, 6, 7).astype(np.float32)
    tile = products.products(own, slice(5, 30))
    row, column, value = products.reaching(tile, own, slice(5, 30), needed, products.margins[own], nearest=0)
    assert sorted(zip(row, column, strict=True)) == [
        tuple(at) for at in np.argwhere(tile.float().numpy() >= needed[:, None])
    ]
    np.testing.assert_allclose(value, (q[own][row] * r[5:30][column]).sum(axis=1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "tiles", "cuda", "found"),
    [
        ([], False, True, None),
        ([], True, True, "cpu"),
        (["nvidia0"], False, True, "cuda"),
        (["nvidia0"], False, False, None),
    ],
)
def test_a_place_is_named_where_there_is_one(monkeypatch, nodes, tiles, cuda, found):
    monkeypatch.setattr(device.Path, "glob", lambda self, pattern: iter(nodes))
    monkeypatch.setattr(device, "_has_tiles", lambda: tiles)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    assert device.fastest(device.WORTH - 1) is None
    place = device.fastest(device.WORTH)
    assert (place and place.type) == found
