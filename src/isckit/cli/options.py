"""The options that the verbs share, and the guard that turns faults into messages."""

from __future__ import annotations

import functools
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from isckit.runs.workspace import PHASES
from isckit.types import KitError

log = logging.getLogger(__name__)

Name = Annotated[str, typer.Option(help="Name of the run.")]
DataFolder = Annotated[Path, typer.Option(help="Folder with the images, in any layout of DISC21.")]
MaybeData = Annotated[Path | None, typer.Option(help="Folder with the images, in any layout of DISC21.")]
A_RECIPE = "A recipe's name or file: .yaml, .json, a checkpoint, or .py, which is run."
RecipeName = Annotated[str, typer.Option(help=A_RECIPE)]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Override one value: key.path=value. Repeatable.")]
Phase = Annotated[int, typer.Option(help="1 or 2.", min=min(PHASES), max=max(PHASES))]
Root = Annotated[Path, typer.Option(help="Folder that holds checkpoints/, submissions/ and cache/.")]
MOST_WORKERS = 1_024
Workers = Annotated[int, typer.Option(help="Image loading processes.", min=0, max=MOST_WORKERS)]
Checkpoint = Annotated[
    Path | None, typer.Option(help="Weights to use instead of training: a file, or a folder with MEMBER.pth for each.")
]
CPUS = min(8, os.cpu_count() or 1)
HERE = Path()


class Engines(StrEnum):
    """Who does the units of work."""

    local = "local"
    ray = "ray"


ON_CLUSTER = ("--engine", "--address", "--engine-workers")
"""Options of verbs that run on a cluster, each with a value; its workers are not given them."""
Engine = Annotated[Engines, typer.Option(help="Who works: this process, or the workers of a Ray cluster.")]
Address = Annotated[str | None, typer.Option(help="Of a running Ray cluster; else one is started on this machine.")]
EngineWorkers = Annotated[int | None, typer.Option(help="Ray workers; else one a GPU, or one a core.", min=1)]


class Sets(StrEnum):
    """Image sets by name."""

    train = "train"
    references = "references"
    queries = "queries"
    final_queries = "final_queries"


WRONG_INPUT, OWN_FAULT = 2, 3
"""Exit codes: of what a user can mend, and of a fault in this program; 1 is said of what is judged, and 0 is well."""


def guarded(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the faults a user can cause into one message and exit code 2, and any other into one and exit code 3."""

    @functools.wraps(verb)
    def door(*args: Any, **kwargs: Any) -> Any:
        try:
            return verb(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:
            known = error if isinstance(error, KitError) else _known(error)
            if known is None:
                _tell_own_fault(verb, error)
                raise typer.Exit(OWN_FAULT) from error
            kind = "stopped" if isinstance(error, KeyboardInterrupt) else type(known).__name__
            typer.echo(f"isckit {verb.__name__.replace('_', ' ')}: {kind}\n{known}", err=True)
            raise typer.Exit(WRONG_INPUT) from error

    return door


def _known(error: BaseException) -> KitError | None:
    """Return what to do about faults of the machine, wherever they are met; None for any other."""
    if isinstance(error, KeyboardInterrupt):
        return KitError(
            seen="Ctrl-C",
            allowed="stopping at any time; finished work is kept",
            remedy="run the same command again to go on",
        )
    if "torch" in sys.modules:
        from isckit.data.loaders import is_loader_fault, loader_fault

        if is_loader_fault(error):
            return loader_fault(error)
    if isinstance(error, OSError):
        return KitError(
            seen=str(error),
            allowed="files and folders that may be read and written, on a disk with free space",
            remedy="correct the path or its permissions, or free space, then run the same command again",
        )
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "allocate memory" in str(error):
        return KitError(
            seen=f"no memory left: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            allowed="work that fits into the memory of this machine",
            remedy="close other programs, load images by fewer --workers, or take smaller batches, "
            "where the verb has --batch or the recipe extract.batch_images",
        )
    return None


def _tell_own_fault(verb: Callable[..., Any], error: BaseException) -> None:
    place = traceback.extract_tb(error.__traceback__)[-1]
    log.debug("%s", "".join(traceback.format_exception(error)))
    typer.echo(
        f"isckit {verb.__name__.replace('_', ' ')}: a fault in this program\n"
        f"seen:       {type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno})\n"
        "allowed:    nothing of this kind: what was written before is whole, and nothing was judged\n"
        "what to do: report it with the output of: isckit --verbose, followed by the same words",
        err=True,
    )


def on_cluster(engine: Engines, address: str | None, workers: int | None) -> None:
    """Run the command line on a cluster, and end with its exit code; go on where the engine is this process.

    Raises:
        MissingInput: Ray or the cluster is not there.
        WorkersLost: a unit of work cost too many workers.
    """
    if engine is Engines.local:
        return
    from isckit.cli.cluster import run

    argv: list[str] = []
    words = iter(COMMAND_LINE)
    for word in words:
        name, joined, _ = word.partition("=")
        if name not in ON_CLUSTER:
            argv.append(word)
        elif not joined:
            next(words)
    ended = run(argv, address=address, workers=workers)
    typer.echo(ended.out, nl=False)
    typer.echo(ended.err, nl=False, err=True)
    raise typer.Exit(ended.code)


COMMAND_LINE: list[str] = []
"""Words of this command line, as `main` was given them."""


def echo_left_out(place: object, broken: Mapping[str, str]) -> None:
    """Print which images do not decode and why; nothing where all do."""
    from isckit.data.images import listed

    if broken:
        typer.echo(f"left out of {place}: {listed(broken)}")


def echo_submitted(path: Path) -> None:
    """Print a submission's file, and the images that it leaves out."""
    from isckit.runs.artifacts import broken_images

    for image_set, broken in broken_images(path).items():
        echo_left_out(image_set, broken)
    typer.echo(written(path))


def written(path: Path) -> str:
    """Return the line for a file that was written, with its size."""
    return f"{path}  ({path.stat().st_size:,} bytes)"
