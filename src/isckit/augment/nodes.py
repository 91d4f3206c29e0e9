"""Nodes that join steps: one of several branches, any order, or in turn with exclusions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from isckit.augment.steps import Node, Other, Step, StepRow, run


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

    def rows(self) -> list[StepRow]:
        """Return a heading for each branch, its rows below."""
        return [
            row
            for weight, nodes in self.branches
            for row in [("either", f"{weight:g}", ""), *_indented(node.rows() for node in nodes)]
        ]

    def ops(self) -> set[str]:
        """Return the names of all ops in it."""
        return {op for _, nodes in self.branches for node in nodes for op in node.ops()}


@dataclass(frozen=True)
class AnyOrder:
    """All of the steps, or `some` of them (fewest, most) and none twice, in an order drawn anew for every image."""

    steps: tuple[Step, ...]
    some: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.some:
            assert 0 <= self.some[0] <= self.some[1] <= len(self.steps), f"{self.some} of {len(self.steps)} steps"

    def apply(self, image: np.ndarray, rng: np.random.Generator, other: Other | None, size: int) -> np.ndarray:
        """Draw an order and run the steps in it, as far as `some` says."""
        order = rng.permutation(len(self.steps))
        if self.some:
            order = order[: rng.integers(*self.some, endpoint=True)]
        return run([self.steps[k] for k in order], image, rng, other, size)

    def rows(self) -> list[StepRow]:
        """Return a heading, the rows of the steps below."""
        fewest, most = self.some or (0, 0)
        many = f"{fewest}" if fewest == most else f"{fewest}..{most}"
        return [
            (f"{many} in any order" if self.some else "in any order", "1", ""),
            *_indented(s.rows() for s in self.steps),
        ]

    def ops(self) -> set[str]:
        """Return the names of all ops in it."""
        return {step.op for step in self.steps}


@dataclass(frozen=True)
class Turn:
    """Steps that are done together with a probability, unless a turn of one of the names `unless` was done before."""

    name: str
    probability: float
    steps: tuple[Node, ...]
    unless: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert 0 <= self.probability <= 1, f"{self.name}: probability {self.probability}"

    def rows(self) -> list[StepRow]:
        """Return a heading, the rows of the steps below."""
        unless = f"unless {', '.join(self.unless)}" if self.unless else ""
        return [(f"{self.name}:", f"{self.probability:g}", unless), *_indented(step.rows() for step in self.steps)]


@dataclass(frozen=True)
class InTurn:
    """Turns, one after the other, each with its own coin; what was done may exclude what comes later."""

    turns: tuple[Turn, ...]

    def __post_init__(self) -> None:
        before: set[str] = set()
        for turn in self.turns:
            assert before.issuperset(turn.unless), f"{turn.name}: {turn.unless} are no earlier turns"
            before.add(turn.name)

    def apply(self, image: np.ndarray, rng: np.random.Generator, other: Other | None, size: int) -> np.ndarray:
        """Throw the coins of the turns that nothing excludes, and run those that fall."""
        done: set[str] = set()
        for turn in self.turns:
            if done.isdisjoint(turn.unless) and rng.random() < turn.probability:
                image = run(turn.steps, image, rng, other, size)
                done.add(turn.name)
        return image

    def rows(self) -> list[StepRow]:
        """Return the rows of the turns."""
        return [row for turn in self.turns for row in turn.rows()]

    def ops(self) -> set[str]:
        """Return the names of all ops in it."""
        return {op for turn in self.turns for step in turn.steps for op in step.ops()}


def _indented(groups: Iterable[list[StepRow]]) -> list[StepRow]:
    return [("  " + op, probability, ranges) for rows in groups for op, probability, ranges in rows]
