"""One kind of step: units of work that each write one file, a receipt over them, a bar, and the way on after a kill."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

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
    if first:
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
    for output in outputs:
        output.path.mkdir(parents=True, exist_ok=True)
        if executor.first:
            write_receipt(output.path, made_from=output.made_from, facts={"complete": False})
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

        reports = executor.map(one, range(len(parts)))
    found = dict(facts(reports))
    if executor.first:
        figures = cost.record(images=found["images"])
        for output in outputs:
            write_receipt(output.path, made_from=output.made_from, facts={"complete": True} | found | {"cost": figures})
        log.info("%s: %d %s in %.1f s", title, found["images"], unit, figures["seconds"])
    executor.map(lambda _: None, range(1))  # receipts stand before anyone goes on
    return True
