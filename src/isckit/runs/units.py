"""The memory of a cluster: which units of which step are done, by whom, and which a lost worker left behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from isckit.types import KitError

Unit = TypeVar("Unit")
MOST_LOST = 3
"""Workers that a unit may cost: it is the unit then, not the machine."""
_PAUSE = 0.05
"""Seconds after which a worker without a unit asks again; ten times as long after some time."""


@dataclass
class _Step:
    count: int
    taken: dict[int, int] = field(default_factory=dict)
    lost: list[int] = field(default_factory=list)
    costs: dict[int, int] = field(default_factory=dict)
    results: dict[int, Any] = field(default_factory=dict)
    following: int = 0


class Units:
    """Units by the name of their step. One process holds it, and is asked by one worker at a time."""

    def __init__(self, workers: int) -> None:
        """Args: `workers` that come together."""
        self.workers = workers
        self._steps: dict[str, _Step] = {}
        self._here: dict[str, set[int]] = {}

    def take(self, name: str, count: int, worker: int) -> int | None:
        """Return the number of a unit to do next: of those that a lost worker left, else the following one; None where
        none is free.
        """
        step = self._steps.setdefault(name, _Step(count))
        number = None
        if step.lost:
            number = step.lost.pop(0)
        elif step.following < step.count:
            number, step.following = step.following, step.following + 1
        if number is not None:
            step.taken[number] = worker
        return number

    def finish(self, name: str, number: int, result: Any) -> None:
        """Note the result of a unit."""
        step = self._steps[name]
        step.taken.pop(number, None)
        step.results[number] = result

    def results(self, name: str) -> list[Any] | None:
        """Return the results of a step in the order of its units; None while some are missing."""
        step = self._steps[name]
        if len(step.results) < step.count:
            return None
        return [step.results[number] for number in range(step.count)]

    def come(self, name: str, worker: int) -> bool:
        """Note that a worker is at a meeting point; return True once all have been there."""
        here = self._here.setdefault(name, set())
        here.add(worker)
        return len(here) == self.workers

    def lose(self, worker: int) -> str | None:
        """Give the unit of a lost worker to the others; return the step of a unit that cost too many of them."""
        for name, step in self._steps.items():
            for number in [number for number, owner in step.taken.items() if owner == worker]:
                del step.taken[number]
                step.lost.append(number)
                step.costs[number] = step.costs.get(number, 0) + 1
                if step.costs[number] >= MOST_LOST:
                    return f"unit {number} of {name}"
        return None

    def progress(self) -> tuple[str, int, int]:
        """Return the step of the last unit that was taken, how many of its units are done, and of how many."""
        for name, step in reversed(self._steps.items()):
            if step.count > 1:
                return name, len(step.results), step.count
        return "", 0, 0


class Ask(Protocol):
    """Calls a method of the `Units` that all workers share, wherever it lies."""

    def __call__(self, method: str, *arguments: Any) -> Any:
        """Return what it returns."""
        ...


@dataclass(frozen=True)
class ClusterExecutor:
    """One of a cluster's workers, each of which runs the whole command and takes units as soon as it is free.

    A worker that joins late, as one that takes a lost one's place does, runs the command from its beginning: what is
    written stands, what is done is known by its name.

    Attributes:
        worker: its number.
        ask: reaches the units.
    """

    worker: int
    ask: Ask

    @property
    def first(self) -> bool:
        """True in the one process that shows progress and prints."""
        return self.worker == 0

    def map(self, work: Callable[[Unit], Any], units: Sequence[Unit], *, name: str) -> list[Any]:
        """Return the results of all units, see `Executor.map`."""
        found: list[Any] | None = [] if not len(units) else None
        wait = _Wait()
        while found is None:
            number = self.ask("take", name, len(units), self.worker)
            if number is not None:
                self.ask("finish", name, number, work(units[number]))
                wait = _Wait()
                continue
            found = self.ask("results", name)
            if found is None:
                wait.some()
        return found

    def together(self, name: str) -> None:
        """Wait until every process has come here."""
        wait = _Wait()
        while not self.ask("come", name, self.worker):
            wait.some()


class _Wait:
    """Short breaks at first, longer ones later."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def some(self) -> None:
        """Sleep for some time."""
        time.sleep(_PAUSE if time.monotonic() - self.began < 10 else 10 * _PAUSE)


class WorkersLost(KitError):
    """A cluster lost more workers than a unit of work may cost."""
