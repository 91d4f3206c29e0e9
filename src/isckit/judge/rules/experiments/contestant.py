"""The contestant's pipeline, started as a fresh process on images that the referee laid out."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

import isckit
from isckit.data.image_sets import ImageSet
from isckit.data.images import BrokenImage, decode
from isckit.judge.rules.experiments import isolate
from isckit.judge.rules.experiments.isolate import isolation
from isckit.runs.workspace import DESCRIPTORS, MATCHES
from isckit.submission import read_descriptors, read_matches
from isckit.types import BadInput, Embeddings

KIT = f"{shlex.quote(sys.executable)} -m isckit"
INFER = (
    f"{KIT} infer --name {{name}} --root {{root}} --queries {{queries}} --references {{references}} --out {{out}} "
    "--batch {batch} --workers 0"
)
"""The command by which this kit describes and matches two folders of images."""
TRAIN = (
    f"{KIT} train --name {{name}} --root {{root}} --data {{data}} --recipe {{recipe}} --witness {{witness}} --workers 0"
)
"""The command by which this kit trains."""
AT_ONCE = 2
"""Processes at a time: each spends much of its time on starting up."""
THREADS = max(1, (os.cpu_count() or 1) // AT_ONCE)
"""Of each, so that they do not get into each other's way."""
_LAST_LINES = 12
_NOISY = 0.01
"""Share of values that are one level off."""


@dataclass(frozen=True)
class Drawn:
    """Images drawn for an experiment, and the names they go by in it.

    Attributes:
        images: the set they come from.
        rows: (n,) int, which.
        names: (n,) text, their file names without extension, in the order of `rows`; may repeat no name.
        form: of the files: as they are; "pixels", the same pixels in a file of another kind, so that no byte is the
            same; or "noise", every hundredth value one level off, so that no file was ever seen.
    """

    images: ImageSet
    rows: np.ndarray
    names: np.ndarray
    form: Literal["as they are", "pixels", "noise"] = "as they are"

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
            data, suffix = self.images.read(row), self.images.sources[self.images.places[row]["source"]].suffix
            if self.form != "as they are":
                data, suffix = self._another(data, row), ".png"
            (folder / f"{name}{suffix}").write_bytes(data)

    def _another(self, data: bytes, row: int) -> bytes:
        """Return the file of an image in the other form; a broken one is given as it is."""
        try:
            pixels = decode(data, name=str(self.images.ids[row]))
        except BrokenImage:
            return data
        if self.form == "noise":
            changed = np.random.default_rng(row).random(pixels.shape) < _NOISY
            pixels = np.where(changed, np.where(pixels > 127, pixels - 1, pixels + 1), pixels).astype(np.uint8)
        held = io.BytesIO()
        Image.fromarray(pixels).save(held, "PNG", compress_level=1)
        return held.getvalue()


@dataclass(frozen=True)
class Answer:
    """The answer of the contestant's pipeline on drawn images, by the names they went by.

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
    read = (folder / "queries", folder / "references", root.resolve() / "checkpoints" / name)
    start(template, values, threads=threads, sees=Sees(read, (out,), folder / "home"))
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


@dataclass(frozen=True)
class Sees:
    """Files that a command may see beside the machine's programs, its own program's folder and this kit.

    Attributes:
        read, write: files and folders.
        home: new folder that is its home, and holds what is temporary.
    """

    read: tuple[Path, ...]
    write: tuple[Path, ...]
    home: Path

    def around(self, words: list[str], template: str) -> list[str]:
        """Return the command that starts these words where nothing else can be seen; as they are where none can."""
        self.home.mkdir(parents=True, exist_ok=True)
        if not isolation():
            return words
        named = [Path(word) for word in split(template) if "{" not in word and Path(word).exists()]
        own = [path if path.is_dir() else path.resolve().parent for path in named]
        kit = [Path(sys.prefix), Path(sys.base_prefix), Path(isckit.__path__[0]).parent]
        read = [word for path in (*self.read, *own, *kit) for word in ("--read", str(path))]
        write = [word for path in (*self.write, self.home) for word in ("--write", str(path))]
        return [sys.executable, "-S", isolate.__file__, *read, *write, "--", *words]

    @property
    def environment(self) -> dict[str, str]:
        """Return what stands for the user's own folders."""
        return dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME"), str(self.home))


PATIENCE = 6 * 3_600
"""Seconds that an experiment may take: one of a hundred images takes a minute."""


def start(
    template: str,
    values: Mapping[str, object],
    *,
    threads: int | None = None,
    show: bool = False,
    sees: Sees | None = None,
) -> None:
    """Run a command template in a fresh process and wait for it; placeholders it does not use are left out.

    Args:
        template: words with placeholders in braces.
        values: of the placeholders.
        threads: of linear algebra and convolutions, on whose number the order of additions depends; None for the
            default of the machine.
        show: let the process show its progress, as it is long work; else its words are kept for the message.
        sees: what it is confined to; None for a command of this kit, which is trusted.

    Raises:
        BadInput: an unknown placeholder, no such program, or an exit code other than 0 (with its last lines).
    """
    words = fill(split(template), values)
    fixed = ({} if threads is None else {"OMP_NUM_THREADS": str(threads)}) | (sees.environment if sees else {})
    try:
        done = subprocess.run(
            words if sees is None else sees.around(words, template),
            timeout=None if sees is None else PATIENCE,
            stdout=subprocess.PIPE,
            stderr=None if show else subprocess.PIPE,
            text=True,
            check=False,
            env=os.environ | fixed,
        )
    except subprocess.TimeoutExpired as error:
        raise BadInput(
            seen=f"{words[0]} took more than {PATIENCE / 3_600:.0f} hours",
            allowed="a pipeline that describes and matches a hundred images in that time",
            remedy="take a smaller --sample, or a faster machine",
        ) from error
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
