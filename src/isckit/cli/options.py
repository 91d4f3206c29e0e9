"""What the verbs share: their options, and the guard that turns faults into messages."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from isckit.runs.workspace import PHASES
from isckit.types import KitError

Name = Annotated[str, typer.Option(help="Name of the run.")]
DataFolder = Annotated[Path, typer.Option(help="Folder with the images, in any layout of DISC21.")]
MaybeData = Annotated[Path | None, typer.Option(help="Folder with the images, in any layout of DISC21.")]
A_RECIPE = "A recipe's name or file: .yaml, .json, a checkpoint, or .py, which is run."
RecipeName = Annotated[str, typer.Option(help=A_RECIPE)]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Override one value: key.path=value. Repeatable.")]
Phase = Annotated[int, typer.Option(help="1 or 2.", min=min(PHASES), max=max(PHASES))]
Root = Annotated[Path, typer.Option(help="Folder that holds checkpoints/, submissions/ and cache/.")]
Workers = Annotated[int, typer.Option(help="Image loading processes.", min=0)]
Checkpoint = Annotated[Path | None, typer.Option(help="Weights to use instead of training.")]
CPUS = min(8, os.cpu_count() or 1)
HERE = Path()


class Sets(StrEnum):
    """Image sets by name."""

    train = "train"
    references = "references"
    queries = "queries"
    final_queries = "final_queries"


def guarded(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the faults a user can cause into one message and exit code 2."""

    @functools.wraps(verb)
    def door(*args: Any, **kwargs: Any) -> Any:
        try:
            return verb(*args, **kwargs)
        except KitError as error:
            typer.echo(f"isckit {verb.__name__.replace('_', ' ')}: {type(error).__name__}\n{error}", err=True)
        except KeyboardInterrupt:
            typer.echo(
                "\nseen:       Ctrl-C\nallowed:    stopping at any time; finished work is kept\n"
                "what to do: run the same command again to go on",
                err=True,
            )
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
                raise
            typer.echo(
                f"seen:       {error}\nallowed:    a folder with free space that may be written to\n"
                "what to do: free space or choose another folder, then run the same command again",
                err=True,
            )
        raise typer.Exit(2)

    return door


def written(path: Path) -> str:
    """Return the line for a file that was written, with its size."""
    return f"{path}  ({path.stat().st_size:,} bytes)"
