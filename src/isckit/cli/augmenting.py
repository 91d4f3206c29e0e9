"""Verbs that show augmentations."""

from pathlib import Path
from typing import Annotated

import typer

from isckit.cli.options import guarded, written


@guarded
def augment_show(
    name: Annotated[str, typer.Argument(help="Name of a pipeline, like lyakaap.strong or s_square@0.75.")],
    image: Annotated[Path, typer.Option(help="Photo to edit.")],
    out: Annotated[Path, typer.Option(help="PNG to write.")],
    rows: Annotated[int, typer.Option(min=1, max=64)] = 4,
    columns: Annotated[int, typer.Option(min=1, max=64)] = 6,
    size: Annotated[int, typer.Option(help="Side of a view in pixels.", min=8, max=1024)] = 160,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    other: Annotated[Path | None, typer.Option(help="Photo to join with; the mirrored first if none.")] = None,
) -> None:
    """Draw a photo beside edited views of it, and list the steps of the pipeline."""
    from isckit.augment.pipelines import describe
    from isckit.augment.view_sheet import write_view_sheet

    steps = describe(name)
    write_view_sheet(name, image, out, rows=rows, columns=columns, size=size, seed=seed, other=other)
    typer.echo(f"{'op':<26}{'probability':<13}ranges")
    for op, probability, ranges in steps:
        typer.echo(f"{op:<26}{probability:<13}{ranges}".rstrip())
    typer.echo(written(out))
