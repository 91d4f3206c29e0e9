"""The verb that breaks submissions down by kind of edit."""

from pathlib import Path
from typing import Annotated

import typer

from isckit.cli.options import Data, guarded, written


@guarded
def breakdown(
    targets: Annotated[list[Path], typer.Argument(help="Submission folders, or single .csv and .h5 files.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="Markdown file to write; .json and .png go beside it.")],
) -> None:
    """Say which kinds of edit a system finds: recall by edit, on a set of `isckit data synthetic`."""
    from isckit.judge.breakdown import break_down

    typer.echo(break_down(targets, data=data, out=out))
    for path in (out, out.with_suffix(".json"), out.with_suffix(".png")):
        typer.echo(written(path))
