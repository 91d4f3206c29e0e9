"""Augmentation as data: steps with probabilities and ranges, joined in order, by choice, or in any order."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from isckit.augment.geometry import bounded, square
from isckit.augment.ops import NEEDS, OPS

CANVAS = 2.0
"""Between steps an image holds at most (CANVAS * size)^2 pixels: what is beyond would be lost in the last resize."""

Row = tuple[str, str, str]

Other = Callable[[], np.ndarray]
"""Fetches a second picture, (h, w, 3) uint8: a function, so that nothing is decoded for the views that join none."""


@dataclass(frozen=True)
class Step:
    """One op, done with a probability; `ranges` are its keywords."""

    op: str
    probability: float = 1.0
    ranges: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.op in OPS, f"no op named {self.op}"
        unknown = self.ranges.keys() - inspect.signature(OPS[self.op]).parameters.keys()
        assert not unknown, f"{self.op} has no {sorted(unknown)}"
        assert 0 <= self.probability <= 1, f"{self.op}: probability {self.probability}"

    def apply(self, image: np.ndarray, rng: np.random.Generator, other: Other | None, size: int) -> np.ndarray:
        """Throw the coin, edit, and keep the result within the canvas."""
        if rng.random() >= self.probability:
            return image
        given: dict[str, Any] = {"size": size} if "size" in NEEDS[self.op] else {}
        if "other" in NEEDS[self.op]:
            assert other is not None, f"{self.op} joins two pictures: pass `other`"
            given["other"] = other()
        return bounded(OPS[self.op](image, rng, **self.ranges, **given), (CANVAS * size) ** 2)

    def rows(self) -> list[Row]:
        """Op, probability, ranges; as text."""
        return [(self.op, f"{self.probability:g}", ", ".join(f"{k} {_text(v)}" for k, v in self.ranges.items()))]

    def ops(self) -> set[str]:
        """Names of all ops in it."""
        return {self.op}


@dataclass(frozen=True)
class OneOf:
    """Exactly one of several branches; a branch is a weight and its steps. The weights sum to 1."""

    branches: tuple[tuple[float, tuple[Node, ...]], ...]

    def __post_init__(self) -> None:
        assert abs(sum(weight for weight, _ in self.branches) - 1) < 1e-9, "weights must sum to 1"

    def apply(self, image: np.ndarray, rng: np.random.Generator, other: Other | None, size: int) -> np.ndarray:
        """Draw a branch and run it."""
        k = int(np.searchsorted(np.cumsum([weight for weight, _ in self.branches]), rng.random(), side="right"))
        return run(self.branches[min(k, len(self.branches) - 1)][1], image, rng, other, size)

    def rows(self) -> list[Row]:
        """A heading for each branch, its rows below."""
        return [
            row
            for weight, nodes in self.branches
            for row in [("either", f"{weight:g}", ""), *_indented(node.rows() for node in nodes)]
        ]

    def ops(self) -> set[str]:
        """Names of all ops in it."""
        return {op for _, nodes in self.branches for node in nodes for op in node.ops()}


@dataclass(frozen=True)
class AnyOrder:
    """All of the steps, in an order drawn anew for every image."""

    steps: tuple[Step, ...]

    def apply(self, image: np.ndarray, rng: np.random.Generator, other: Other | None, size: int) -> np.ndarray:
        """Draw an order and run the steps in it."""
        return run([self.steps[k] for k in rng.permutation(len(self.steps))], image, rng, other, size)

    def rows(self) -> list[Row]:
        """A heading, the rows of the steps below."""
        return [("in any order", "1", ""), *_indented(step.rows() for step in self.steps)]

    def ops(self) -> set[str]:
        """Names of all ops in it."""
        return {step.op for step in self.steps}


Node = Step | OneOf | AnyOrder


@dataclass(frozen=True)
class Pipeline:
    """Steps in order, and the square resize that ends every view."""

    steps: tuple[Node, ...] = ()

    def __call__(self, image: np.ndarray, rng: np.random.Generator, other: Other | None, size: int) -> np.ndarray:
        """One view of `image`.

        Args:
            image: (h, w, 3) uint8 RGB, of any size.
            rng: the only source of randomness; see `view_rng`.
            other: fetches the second picture of the ops that join two; None will do where `needs_other` is False.
            size: side of the view.

        Returns:
            (size, size, 3) uint8, contiguous.
        """
        small = bounded(image, (CANVAS * size) ** 2) if self.steps else image
        return square(run(self.steps, small, rng, other, size), size)

    @property
    def needs_other(self) -> bool:
        """Whether some step works on a second picture."""
        return any("other" in NEEDS[op] for op in self.ops())

    def ops(self) -> set[str]:
        """Names of all ops in it."""
        return {op for node in self.steps for op in node.ops()}


def run(
    nodes: Iterable[Node], image: np.ndarray, rng: np.random.Generator, other: Other | None, size: int
) -> np.ndarray:
    """Apply nodes one after the other."""
    for node in nodes:
        image = node.apply(image, rng, other, size)
    return image


def _indented(groups: Iterable[list[Row]]) -> list[Row]:
    return [("  " + op, probability, ranges) for rows in groups for op, probability, ranges in rows]


def _text(value: Any) -> str:
    return f"{value[0]:g}..{value[1]:g}" if isinstance(value, tuple) else f"{value:g}"
