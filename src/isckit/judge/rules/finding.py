"""The definition of a rule, of what it looks at, and of what it may say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import isckit
from isckit import config
from isckit.data.layouts import Disc
from isckit.runs.records import read_json
from isckit.runs.workspace import Workspace

Level = Literal["proven", "sampled", "declared", "none"]
"""Evidence behind a finding.

proven: a program looked at all there is. sampled: a program experimented on a part. declared: records say so, which a
liar could write. none: nothing could be looked at.
"""
CHECKOUT = Path(isckit.__path__[0]).parents[1]
"""The checkout that the kit itself runs from: the package to be judged unless another is named."""


@dataclass(frozen=True)
class Finding:
    """The finding of one rule's program.

    Attributes:
        status: "unknown" where nothing speaks against the submission and nothing for it.
        level: the evidence reached.
        examined: what was looked at, with numbers.
        detail: what is wrong, naming files, ids and values; or what is worth knowing.
    """

    status: Literal["passed", "failed", "unknown"]
    level: Level
    examined: str
    detail: str = ""


def judged(problems: list[str], level: Level, examined: str, *, note: str = "") -> Finding:
    """Return failed with all problems named, or passed with the note."""
    return Finding("failed" if problems else "passed", level, examined, "; ".join(problems) or note)


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        code: stable code of `form.CODES`.
        message: its meaning and what was seen.
        rows: the first ten rows: line numbers of a CSV (the header is line 1), row indices from 0 of a dataset.
        count: number of rows, or of things, at fault.
    """

    code: str
    message: str
    rows: tuple[int, ...] = ()
    count: int = 1

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.rows) else ""
        rows = f" (rows {', '.join(map(str, self.rows))}{more})" if self.rows else ""
        return f"{self.code} {self.message}: {self.count:,}{rows}"


@dataclass(frozen=True)
class Probe:
    """The contestant's pipeline as commands to start in fresh processes; placeholders in braces are filled in.

    Attributes:
        infer: describes and matches two folders of images:
            {name} {root} {queries} {references} {out} {batch}; leaves descriptors.h5 and/or matching.csv in {out}.
        train: trains from a recipe: {name} {root} {data} {recipe} {witness}; None where training is not to be tried.
        sample: queries in the experiments: None for as many as find a fault of 5 % of the queries by a chance of
            95 %, 0 for no experiments at all.
        seed: which are drawn.
        tolerance: largest relative difference allowed of recomputed values; None for that of the device.
    """

    infer: str
    train: str | None
    sample: int | None
    seed: int = 0
    tolerance: float | None = None


@dataclass(frozen=True)
class Case:
    """A submission folder under examination, and what the referee was given to examine it with.

    Attributes:
        workspace, phase, name: the submission.
        disc: the images; None where only records can be read.
        against: a freeze file deposited elsewhere; None for the one beside the weights.
        project: the package that the winners' duties are about.
        probe: how to run the contestant's pipeline; None where nothing is to be run.
        form: faults of form by file, where the files were gone through already.
    """

    workspace: Workspace
    phase: int
    name: str
    disc: Disc | None = None
    against: Path | None = None
    project: Path = CHECKOUT
    probe: Probe | None = None
    form: Mapping[str, list[Fault]] | None = field(default=None, compare=False)

    @property
    def folder(self) -> Path:
        """Return the submission folder."""
        return self.workspace.submission(self.phase, self.name)

    @property
    def checkpoint(self) -> Path:
        """Return the folder of weights, fitted parts and training logs."""
        return self.workspace.checkpoint(self.name)

    @property
    def recipe(self) -> config.Recipe:
        """Return the resolved recipe. Raises MissingInput where there is none."""
        return config.from_dict(read_json(self.workspace.recipe(self.name)))


@dataclass(frozen=True)
class Rule:
    """A rule of the competition as a program.

    Attributes:
        number: section of the rules.
        title: short name.
        statement: the rule in a sentence.
        program: looks at a case and says what it found; a KitError that escapes counts as failed.
    """

    number: str
    title: str
    statement: str
    program: Callable[[Case], Finding]
