"""Strengths of edits: a number drawn evenly from a range, or one of several values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Range = tuple[float, float]


@dataclass(frozen=True)
class Choice:
    """One of these values, with even chances; a value may stand more than once."""

    values: tuple[float, ...]

    def __str__(self) -> str:
        if len(self.values) > 6:
            return f"one of {len(self.values)} values {min(self.values):g}..{max(self.values):g}"
        return "one of " + " ".join(f"{value:g}" for value in self.values)


Amount = Range | Choice


def draw(rng: np.random.Generator, amount: Amount) -> float:
    """Draw a number of a range (end excluded), or one of the values."""
    if isinstance(amount, Choice):
        return amount.values[rng.integers(len(amount.values))]
    return rng.uniform(*amount)


def draw_whole(rng: np.random.Generator, amount: tuple[int, int] | Choice) -> int:
    """Draw a whole number of a range (both ends included), or one of the values."""
    if isinstance(amount, Choice):
        return int(draw(rng, amount))
    return int(rng.integers(*amount, endpoint=True))
