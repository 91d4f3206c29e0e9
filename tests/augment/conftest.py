"""Pictures and generators of the augmentation tests."""

from collections.abc import Callable

import numpy as np
import pytest


def _photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(float)
    waves = [np.sin(x / (9 + 5 * k) + seed + k) * np.cos(y / (13 - 3 * k) - k) for k in range(3)]
    edge = np.where(x > 0.6 * width, 40, -20)[..., None] * (1, -0.5, 0.2)
    grain = rng.normal(0, 4, (height, width, 3))
    return np.clip(128 + 70 * np.stack(waves, -1) + edge + grain, 0, 255).astype(np.uint8)


@pytest.fixture
def photo() -> Callable[..., np.ndarray]:
    """photo(height, width, seed=0): colourful, with smooth areas, a strong edge and some grain."""
    return _photo
