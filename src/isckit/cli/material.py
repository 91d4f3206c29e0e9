"""Verbs for what runs are made of: synthetic data sets, recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isckit.cli.options import Data, Sets, Settings, Workers, guarded, written


@guarded
def synthetic(
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    source: Annotated[Path | None, typer.Option("--from", help="Folder of your own photos.")] = None,
    train: Annotated[int, typer.Option(help="Train images; 0 for the automatic number.")] = 0,
    references: Annotated[int, typer.Option(help="References; 0 for the automatic number.")] = 0,
    queries: Annotated[int, typer.Option(help="Queries of each phase; 0: automatic.")] = 0,
    seed: int = 1,
    size: Annotated[int, typer.Option(help="Longest side in pixels.")] = 256,
    workers: Workers = 1,
) -> None:
    """Write a DISC21-shaped mini set, from your own photos or from nothing."""
    from isckit.data.layouts import open_folder
    from isckit.synthetic.write import write_mini
    from isckit.types import Role

    photos = open_folder(source, Role.EXTERNAL) if source else None
    typer.echo(
        str(
            write_mini(
                out,
                source=photos,
                train=train,
                references=references,
                queries=queries,
                seed=seed,
                size=size,
                workers=workers,
            )
        )
    )


@guarded
def sheet(data: Data, out: Annotated[Path, typer.Option(help="PNG to write.")]) -> None:
    """Draw references beside their edited copies, and distractors, of a synthetic set."""
    from isckit.synthetic.sheets import write_sheet

    write_sheet(data, out)
    typer.echo(written(out))


@guarded
def recipes_list() -> None:
    """Names and first lines of all recipes."""
    from isckit.recipes.catalogue import RECIPES

    for name, function in RECIPES.items():
        typer.echo(f"{name:18} {(function.__doc__ or '').splitlines()[0]}")


@guarded
def recipes_show(name: str, settings: Settings = None) -> None:
    """The resolved values of a recipe."""
    from isckit.config import to_json
    from isckit.recipes.catalogue import recipe as find

    typer.echo(to_json(find(name, settings=settings)), nl=False)


@guarded
def pack(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for the packs; pass it as --data afterwards.")],
    sets: Annotated[list[Sets], typer.Option(help="Image sets. Repeatable.")],
    side: Annotated[int, typer.Option(help="Pixels at this square size; 0 for the files as they are.", min=0)] = 0,
    part_images: Annotated[int, typer.Option(help="Images a pack.", min=1)] = 50_000,
) -> None:
    """Pack image sets into HDF5 files that are read as folders are; goes on after an interruption."""
    from isckit.data.layouts import open_disc, require
    from isckit.data.packing import pack as packed

    disc = open_disc(data)
    for image_set in sets:
        for path in packed(require(disc, image_set.value), out, side=side, part_images=part_images):
            typer.echo(written(path))
