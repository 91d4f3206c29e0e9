"""Verbs for what runs are made of: images, edits, recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isckit.cli.options import CPUS, DataFolder, Sets, Settings, Workers, guarded, written
from isckit.runs.artifacts import require_writable


@guarded
def doctor(
    data: DataFolder,
    decode: Annotated[str, typer.Option(help="none, sample or all")] = "sample",
    sample: int = 200,
    workers: Workers = CPUS,
) -> None:
    """Say what a data folder holds, what is broken or missing, and what can be run with it."""
    from isckit.data.doctor import examine, render
    from isckit.data.layouts import open_disc

    typer.echo(render(examine(open_disc(data), decode=decode, sample=sample, workers=workers)))


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

    require_writable(out, folder=True)
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
def sheet(data: DataFolder, out: Annotated[Path, typer.Option(help="PNG to write.")]) -> None:
    """Draw references beside their edited copies, and distractors, of a synthetic set."""
    from isckit.synthetic.sheets import write_sheet

    require_writable(out)
    write_sheet(data, out)
    typer.echo(written(out))


@guarded
def pack(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="Folder for the packs; pass it as --data afterwards.")],
    sets: Annotated[list[Sets], typer.Option(help="Image sets. Repeatable.")],
    side: Annotated[int, typer.Option(help="Pixels at this square size; 0 for the files as they are.", min=0)] = 0,
    part_images: Annotated[int, typer.Option(help="Images a pack.", min=1)] = 50_000,
) -> None:
    """Pack image sets into HDF5 files that are read as folders are; goes on after an interruption."""
    from isckit.data.layouts import open_disc, require
    from isckit.data.packing import pack as packed

    require_writable(out, folder=True)
    disc = open_disc(data)
    for image_set in sets:
        for path in packed(require(disc, image_set.value), out, side=side, part_images=part_images):
            typer.echo(written(path))


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
    from isckit.synthetic.sheets import write_view_sheet

    require_writable(out)
    steps = describe(name)
    write_view_sheet(name, image, out, rows=rows, columns=columns, size=size, seed=seed, other=other)
    typer.echo(f"{'op':<26}{'probability':<13}ranges")
    for op, probability, ranges in steps:
        typer.echo(f"{op:<26}{probability:<13}{ranges}".rstrip())
    typer.echo(written(out))


@guarded
def recipes_list() -> None:
    """Print names and first lines of all recipes."""
    from isckit.recipes.catalogue import RECIPES

    for name, function in RECIPES.items():
        typer.echo(f"{name:18} {(function.__doc__ or '').splitlines()[0]}")


@guarded
def recipes_fidelity() -> None:
    """Print, system by system, what is published and what its recipe does not reproduce, as Markdown."""
    from isckit.recipes.fidelity import page

    typer.echo(page(), nl=False)


@guarded
def recipes_show(name: str, settings: Settings = None) -> None:
    """Print the resolved values of a recipe."""
    from isckit.config import to_json
    from isckit.recipes.catalogue import recipe as find

    typer.echo(to_json(find(name, settings=settings)), nl=False)
