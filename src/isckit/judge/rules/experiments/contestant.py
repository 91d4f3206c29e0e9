"""The contestant's pipeline, started as a fresh process on images that the referee laid out."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isckit.data.image_sets import ImageSet
from isckit.runs.workspace import DESCRIPTORS, MATCHES
from isckit.submission import read_descriptors, read_matches
from isckit.types import BadInput, Embeddings

KIT = f"{shlex.quote(sys.executable)} -m isckit"
INFER = (
    f"{KIT} infer --name {{name}} --root {{root}} --queries {{queries}} --references {{references}} --out {{out}} "
    "--batch {batch} --workers 0"
)
"""How this kit describes and matches two folders of images."""
TRAIN = (
    f"{KIT} train --name {{name}} --root {{root}} --data {{data}} --recipe {{recipe}} --witness {{witness}} --workers 0"
)
"""How this kit trains."""
AT_ONCE = 2
"""Processes at a time: each spends much of its time on starting up."""
THREADS = max(1, (os.cpu_count() or 1) // AT_ONCE)
"""Of each, so that they do not get into each other's way."""
_LAST_LINES = 12


@dataclass(frozen=True)
class Drawn:
    """Images drawn for an experiment, and the names they go by in it.

    Attributes:
        images: the set they come from.
        rows: (n,) int, which.
        names: (n,) text, their file names without extension, in the order of `rows`; may repeat no name.
    """

    images: ImageSet
    rows: np.ndarray
    names: np.ndarray

    @staticmethod
    def as_they_are(images: ImageSet, rows: np.ndarray) -> Drawn:
        """Return the images under their own ids."""
        return Drawn(images, rows, images.ids[rows])

    @property
    def ids(self) -> np.ndarray:
        """Return the images' own ids."""
        return self.images.ids[self.rows]

    def lay_out(self, folder: Path) -> None:
        """Write the files of these images, and nothing else, into a new folder."""
        folder.mkdir(parents=True)
        for row, name in zip(self.rows.tolist(), self.names.tolist(), strict=True):
            suffix = self.images.sources[self.images.places[row]["source"]].suffix
            (folder / f"{name}{suffix}").write_bytes(self.images.read(row))


@dataclass(frozen=True)
class Answer:
    """What the contestant's pipeline said of drawn images, by the names they went by.

    Attributes:
        queries, references: descriptors; None where the pipeline writes none.
        scores: (query name, reference name) -> score; None where the pipeline writes none.
    """

    queries: Embeddings | None
    references: Embeddings | None
    scores: dict[tuple[str, str], float] | None


def ask(
    template: str,
    queries: Drawn,
    references: Drawn,
    *,
    folder: Path,
    batch: int,
    name: str,
    root: Path,
    threads: int | None = None,
) -> Answer:
    """Run the contestant's inference on just these images, in a fresh process; `threads` as in `start`.

    Raises:
        BadInput: it ended with an error, or left neither descriptors.h5 nor matching.csv.
    """
    queries.lay_out(folder / "queries")
    references.lay_out(folder / "references")
    out = folder / "out"
    out.mkdir()
    values = {"name": name, "root": root.resolve(), "batch": batch, "out": out}
    values |= {"queries": folder / "queries", "references": folder / "references"}
    start(template, values, threads=threads)
    described = read_descriptors(out / DESCRIPTORS) if (out / DESCRIPTORS).is_file() else (None, None)
    scores = None
    if (out / MATCHES).is_file():
        matches = read_matches(out / MATCHES)
        pairs = zip(matches.query_ids.tolist(), matches.reference_ids.tolist(), strict=True)
        scores = dict(zip(pairs, matches.scores.tolist(), strict=True))
    if described[0] is None and scores is None:
        raise BadInput(
            seen=f"the pipeline left neither {DESCRIPTORS} nor {MATCHES} in its out folder",
            allowed="at least one of them, for the images in {queries} and {references}",
            remedy=f"correct the command: {template}",
        )
    return Answer(described[0], described[1], scores)


def start(template: str, values: Mapping[str, object], *, threads: int | None = None, show: bool = False) -> None:
    """Run a command template in a fresh process and wait for it; placeholders it does not use are left out.

    Args:
        template: words with placeholders in braces.
        values: of the placeholders.
        threads: of linear algebra and convolutions, on whose number the order of additions depends; None for the
            default of the machine.
        show: let the process show its progress, as it is long work; else its words are kept for the message.

    Raises:
        BadInput: an unknown placeholder, no such program, or an exit code other than 0 (with its last lines).
    """
    words = fill(split(template), values)
    fixed = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    try:
        done = subprocess.run(
            words,
            stdout=subprocess.PIPE,
            stderr=None if show else subprocess.PIPE,
            text=True,
            check=False,
            env=os.environ | fixed,
        )
    except OSError as error:
        raise BadInput(seen=f"{words[0]}: {error}", allowed="a program that starts", remedy="correct it") from error
    if done.returncode:
        lines = (done.stdout + (done.stderr or "its messages stand above")).replace("\r", "\n").strip().splitlines()
        raise BadInput(
            seen=f"{shlex.join(words)} ended with code {done.returncode}:\n"
            + "\n".join(f"    {line}" for line in lines[-_LAST_LINES:]),
            allowed="a pipeline that runs on any images laid before it",
            remedy="run the command by hand and mend what it says",
        )


def require_command(template: str) -> None:
    """Refuse a command template that cannot be started, before anything is tried.

    Raises:
        BadInput: no words, a quote that is not closed, an unknown placeholder, no such program.
    """
    names = ("name", "root", "queries", "references", "out", "batch", "data", "recipe", "witness")
    words = fill(split(template), dict.fromkeys(names, "x"))
    if not words or shutil.which(words[0]) is None:
        raise BadInput(
            seen=f"no program {words[0]!r}" if words else "an empty command",
            allowed="a command whose first word is a program",
            remedy="correct the command, or its path",
        )


def split(template: str) -> list[str]:
    """Return the words of a command line as a shell splits it. Raises BadInput where a quote is not closed."""
    try:
        return shlex.split(template)
    except ValueError as error:
        raise BadInput(seen=f"{error} in: {template}", allowed="a command line", remedy="correct it") from error


def fill(words: Iterable[str], values: Mapping[str, object]) -> list[str]:
    """Return the words of a command with their placeholders filled in; a value with blanks stays one word."""
    try:
        return [word.format(**values) for word in words]
    except (KeyError, IndexError, ValueError) as error:
        raise BadInput(
            seen=f"placeholder {error} in a command",
            allowed=" ".join(f"{{{key}}}" for key in sorted(values)),
            remedy="correct the command given with --pipeline",
        ) from error
