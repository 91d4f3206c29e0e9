"""Unit length keeps directions, whatever the length, and names what has none."""

import numpy as np
import pytest

from isckit.types import BadInput
from isckit.vectors.checks import l2


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
