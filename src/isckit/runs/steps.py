"""One kind of step: units of work that each write one file, a receipt over them, a bar, and the way on after a kill."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from isckit.runs.arrays import read_arrays, write_arrays
from isckit.runs.artifacts import is_fresh, read_receipt, write_json, write_receipt
from isckit.runs.executor import Executor, LocalExecutor
from isckit.runs.made_from import digest
from isckit.runs.meter import measured
from isckit.runs.records import read_json
from isckit.runs.workspace import Workspace

log = logging.getLogger(__name__)

Writer = Callable[[Path], object]
Advance = Callable[[int], object]
Work = Callable[[range, Advance], tuple[Sequence[Writer], Any]]
"""Rows of a shard, and what moves the bar on, to a writer for each output (none: nothing is written) and a report."""


@dataclass(frozen=True)
class Output:
    """A file or a folder of shards that a step writes, and what decides whether it is the same as before.

    Attributes:
        path: of the file or folder.
        made_from: values that JSON knows, see `runs.made_from`.
        suffix: of the files in a folder.
    """

    path: Path
    made_from: Mapping[str, Any]
    suffix: str = ""

    def stands(self) -> bool:
        """Return True where it is there, whole.

        Raises:
            StaleArtifact: it was made from something else; the message names the fields that changed.
        """
        return is_fresh(self.path, self.made_from) and read_receipt(self.path)["facts"].get("complete", True)

    def shard(self, number: int) -> Path:
        """Return the path of a shard."""
        return self.path / f"shard-{number:05d}{self.suffix}"

    def report(self, number: int) -> Path:
        """Return the path of what the receipt is to tell of a shard."""
        return self.path / f"report-{number:05d}.json"


@contextlib.contextmanager
def scratch(folder: Path, made_from: Mapping[str, Any], *, first: bool) -> Iterator[Workspace]:
    """Give a workspace below `folder`, the same for the same inputs, and remove the folder once all is done.

    What was interrupted goes on from there; what a command with other inputs left there is passed over.

    Args:
        folder: beside the output or in it, so that it lies on the same disk.
        made_from: what decides on the output.
        first: this process removes the folder.
    """
    yield Workspace(folder / digest(made_from)[:16])
    if first and folder.exists():
        shutil.rmtree(folder)


def make(output: Output, work: Callable[[], Mapping[str, Any]]) -> bool:
    """Make one file, or one folder in one go, where it does not stand; return True where it was made.

    Args:
        output: what comes out.
        work: writes it, atomically, and returns the receipt's facts, "images" among them.

    Raises:
        StaleArtifact: there is one made from something else.
    """
    if output.stands():
        log.info("%s is already made", output.path)
        return False
    with measured() as cost:
        facts = work()
    figures = cost.record(images=facts["images"])
    write_receipt(output.path, made_from=output.made_from, facts=dict(facts) | {"cost": figures})
    log.info("%s made in %.1f s", output.path, figures["seconds"])
    return True


def shards(count: int, size: int) -> list[range]:
    """Return the rows of each shard: `count` rows in runs of at most `size`."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def make_shards(
    outputs: Sequence[Output],
    parts: Sequence[range],
    work: Work,
    *,
    title: str,
    facts: Callable[[list[Any]], Mapping[str, Any]],
    unit: str = "img",
    executor: Executor = LocalExecutor(),  # noqa: B008  frozen
) -> bool:
    """Write the shards that are not there yet, each by whoever is free, then the receipts; True where any was missing.

    A shard is whole or not there, and depends on nothing but its rows: a step that was killed, or done by several
    processes, ends in the same bytes.

    Args:
        outputs: folders; all have the same shards, which one pass writes together.
        parts: rows of each shard.
        work: makes a shard of every output.
        title: of the bar.
        facts: reports of all shards, to the receipts' facts, "images" among them; may refuse by raising.
        unit: what a row is called.
        executor: who does it.

    Raises:
        StaleArtifact: a folder holds what was made from something else.
    """
    standing = [output.stands() for output in outputs]  # of all, so that a stale one is refused
    if all(standing):
        return False
    name = f"{outputs[0].path} {digest(outputs[0].made_from)}"
    executor.map(lambda _: _receipts(outputs, {"complete": False}), range(1), name=f"begin {name}")
    total = sum(map(len, parts))
    with measured() as cost, tqdm(total=total, desc=title, unit=unit, disable=not executor.first, leave=False) as bar:

        def one(number: int) -> Any:
            paths, rows = [output.shard(number) for output in outputs], parts[number]
            told = outputs[0].report(number)
            if told.is_file() and all(path.is_file() for path in paths):
                bar.update(len(rows))
                return read_json(told)
            writers, report = work(rows, bar.update)
            if writers:  # before the shard, so that none stands of which nothing is known
                write_json(told, report)
            for write, path in zip(writers, paths, strict=bool(writers)):
                write(path)
            return report

        reports = executor.map(one, range(len(parts)), name=name)
    found = {"complete": True, **facts(reports)}
    found["cost"] = cost.record(images=found["images"])
    # Receipts stand before anyone goes on.
    executor.map(lambda _: _receipts(outputs, found), range(1), name=f"end {name}")
    if executor.first:
        log.info("%s: %d %s in %.1f s", title, found["images"], unit, found["cost"]["seconds"])
    return True


def _receipts(outputs: Sequence[Output], facts: Mapping[str, Any]) -> None:
    for output in outputs:
        output.path.mkdir(parents=True, exist_ok=True)
        write_receipt(output.path, made_from=output.made_from, facts=facts)


@dataclass(frozen=True)
class Kept:
    """Where the parts of a long computation lie until it is done, so that it goes on after a kill, and who does them.

    Attributes:
        folder: of the parts; None: they are not kept.
        made_from: decides whether they are the same as before.
    """

    folder: Path | None = None
    made_from: Mapping[str, Any] = field(default_factory=dict)
    executor: Executor = LocalExecutor()  # noqa: RUF009  frozen

    def arrays(
        self,
        name: str,
        parts: Sequence[range],
        work: Callable[[range, Advance], Mapping[str, np.ndarray]],
        shapes: Mapping[str, str],
        *,
        title: str,
        unit: str,
    ) -> dict[str, np.ndarray]:
        """Return what `work` makes of some rows, of all parts one behind the other.

        Args:
            name: of the computation.
            parts: rows of each.
            work: arrays by name, from rows and what moves the bar on.
            shapes: what each array is, see `read_arrays`.
            title, unit: of the bar.
        """
        if self.folder is None:
            with tqdm(total=sum(map(len, parts)), desc=title, unit=unit, leave=False) as bar:
                return _joined([dict(work(rows, bar.update)) for rows in parts], shapes)
        output = Output(self.folder / name, {**self.made_from, "part": name}, ".npz")

        def shard(rows: range, advance: Advance) -> tuple[Sequence[Writer], int]:
            arrays = work(rows, advance)
            return [lambda path: write_arrays(path, arrays)], len(rows)

        make_shards(
            [output],
            parts,
            shard,
            title=title,
            facts=lambda counts: {"images": sum(counts)},
            unit=unit,
            executor=self.executor,
        )
        found = []
        for number in range(len(parts)):
            with read_arrays(output.shard(number), shapes, what="a part", remedy="repeat the command") as arrays:
                found.append(arrays)
        return _joined(found, shapes)


def _joined(parts: Sequence[Mapping[str, np.ndarray]], shapes: Mapping[str, str]) -> dict[str, np.ndarray]:
    none = {key: np.zeros(0, f"{kinds[0]}8") for key, kinds in shapes.items()}
    return {key: np.concatenate([part[key] for part in (none, *parts)]) for key in shapes}


NOT_KEPT = Kept()
"""A computation that is short, or whose parts nobody asks for again."""
