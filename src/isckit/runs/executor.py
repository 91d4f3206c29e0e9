"""Who does the units of a step: the processes that torchrun started, or the workers of a cluster (`cli.cluster`).

Either way every process runs the same command, and takes the next unit of a step as soon as it is free.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any, Protocol, TypeVar

Unit = TypeVar("Unit")
PATIENCE = timedelta(days=7)
"""Longer than any unit: where another process dies, its launcher ends this one too."""


class Executor(Protocol):
    """Does units of work; another engine needs no more than these three."""

    @property
    def first(self) -> bool:
        """True in the one process that shows progress and prints."""
        ...

    def map(self, work: Callable[[Unit], Any], units: Sequence[Unit], *, name: str) -> list[Any]:
        """Return the results of all units in their order, in every process; results are values that JSON knows.

        Args:
            name: of these units, the same in all processes and of no others: one that joins late asks for them by it.
        """
        ...

    def together(self, name: str) -> None:
        """Wait until every process has come here."""
        ...


class KeyValueStore(Protocol):
    """The part of `torch.distributed.Store` that is needed: text under keys that all processes see."""

    def add(self, key: str, amount: int, /) -> int:
        """Add to a number and return the sum, as one operation."""
        ...

    def set(self, key: str, value: str, /) -> None:
        """Write a value."""
        ...

    def get(self, key: str, /) -> bytes:
        """Read a value."""
        ...

    def wait(self, keys: list[str], timeout: timedelta, /) -> None:
        """Wait until all keys are written."""
        ...


@dataclass(frozen=True)
class LocalExecutor:
    """The processes that torchrun started on this machine, or this one alone.

    Units are handed out by a counter in the processes' common store, so that nobody waits for a share that was cut
    unevenly: at the end of a step each process waits for the units that others are still at, and for no more.

    Attributes:
        rank, world: number of this process, and of all.
        store: common to all; needed where there are several.
    """

    rank: int = 0
    world: int = 1
    store: KeyValueStore | None = None
    _calls: count = field(default_factory=count, repr=False, compare=False)

    @property
    def first(self) -> bool:
        """True in the one process that shows progress and prints."""
        return self.rank == 0

    def map(self, work: Callable[[Unit], Any], units: Sequence[Unit], *, name: str) -> list[Any]:
        """Return the results of all units, see `Executor.map`; all processes come here, and none joins late."""
        if self.store is None:
            return [work(unit) for unit in units]
        step, done = f"isckit/{next(self._calls)}", {}
        while (number := self.store.add(f"{step}/next", 1) - 1) < len(units):
            done[number] = work(units[number])
        self.store.set(f"{step}/{self.rank}", json.dumps(done))
        parts = [f"{step}/{rank}" for rank in range(self.world)]
        self.store.wait(parts, PATIENCE)
        found = {int(k): result for part in parts for k, result in json.loads(self.store.get(part)).items()}
        return [found[number] for number in range(len(units))]

    def together(self, name: str) -> None:
        """Wait until every process has come here."""
        self.map(lambda _: None, range(1), name=name)


_CLUSTER: list[Executor] = []


def join(executor: Executor) -> None:
    """Make this process one of a cluster's workers: from now on it shares the units of all steps."""
    _CLUSTER[:] = [executor]


def current() -> Executor:
    """Return the executor of this process: a cluster's where it has joined one, else its own."""
    return _CLUSTER[0] if _CLUSTER else LocalExecutor()
