"""The draws of `batched`: the numbers of one edit of one view, as its op on single images would draw them.

A draw takes from the generator what the op of that name takes, in the same order, so that both make the same edit of a
square image. Grain alone differs: it is not drawn here, but follows from a drawn number.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from isckit.augment.draws import Amount, Range, draw

ORDERS: tuple[tuple[int, ...], ...] = tuple(itertools.permutations(range(4)))
"""The orders of brightness (0), contrast (1), saturation (2) and hue (3)."""

_SEEDS = 1 << 24
"""Whole numbers below this are exact in float32."""


def nothing(rng: np.random.Generator, size: int) -> tuple[float, ...]:
    """Draw nothing: for edits that have no strength."""
    return ()


def colour_jitter(
    rng: np.random.Generator, size: int, *, brightness: float, contrast: float, saturation: float, hue: float
) -> tuple[float, ...]:
    """Draw three factors, the turn of the hue, and the index of an order in ORDERS."""
    factors = [rng.uniform(max(0.0, 1 - width), 1 + width) for width in (brightness, contrast, saturation)]
    turn = rng.uniform(-hue, hue) if hue > 0 else 0.0
    order = rng.permutation(4).tolist() if hue > 0 else [*rng.permutation(3).tolist(), 3]
    return *factors, turn, ORDERS.index(tuple(order))


def blur(rng: np.random.Generator, size: int, *, sigma: Amount) -> tuple[float, ...]:
    """Draw a standard deviation in px."""
    return (draw(rng, sigma) * size,)


def pixelate(rng: np.random.Generator, size: int, *, ratio: Amount, look: tuple[str, ...]) -> tuple[float, ...]:
    """Draw the cells along a side, and 1 where the way back is soft."""
    cells = max(1, round(size * draw(rng, ratio)))
    return float(cells), look[rng.integers(len(look))] != "blocky"


def noise(rng: np.random.Generator, size: int, *, deviation: Range) -> tuple[float, ...]:
    """Draw a deviation in grey levels, and the grain's seed."""
    return rng.uniform(*deviation), _seed(rng)


def resized_crop(rng: np.random.Generator, size: int, *, scale: Range, ratio: Range) -> tuple[float, ...]:
    """Draw top, left, height, width of the box, px."""
    area = rng.uniform(*scale)
    low, high = (min(max(math.log(r), math.log(area)), -math.log(area)) for r in ratio)
    return _box(rng, size, area, math.exp(low + (high - low) * rng.random()))


def erase(rng: np.random.Generator, size: int, *, scale: Range, ratio: Range, gaussian: bool) -> tuple[float, ...]:
    """Draw top, left, height, width of the box, px; 1 where the grain is normal; and its seed."""
    box = _box(rng, size, rng.uniform(*scale), math.exp(rng.uniform(*np.log(ratio))))
    return *box, gaussian, _seed(rng)


def _box(rng: np.random.Generator, size: int, area: float, aspect: float) -> tuple[float, ...]:
    height = max(1, min(size, round(size * math.sqrt(area / aspect))))
    width = max(1, min(size, round(size * math.sqrt(area * aspect))))
    top, left = (int(rng.integers(size - side, endpoint=True)) for side in (height, width))
    return top, left, height, width


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(_SEEDS))


DRAWS: Mapping[str, Callable[..., tuple[float, ...]]] = MappingProxyType(
    {own.__name__: own for own in (colour_jitter, blur, pixelate, noise, resized_crop, erase)}
    | dict.fromkeys(("hflip", "vflip", "grayscale"), nothing)
)
"""Name of an op -> its draw, called as `(rng, size, **ranges)`."""
