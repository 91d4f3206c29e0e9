"""Verbs for what runs are made of: synthetic data sets, recipes."""

from pathlib import Path
from typing import Annotated

import typer

from isckit.cli.options import Data, Settings, Workers, guarded, written


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
    from isckit.augment.synthetic import write_mini
    from isckit.data.layouts import open_folder
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
    from isckit.augment.mini_sheet import write_sheet

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
