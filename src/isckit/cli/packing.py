"""The verb that packs image sets."""

from pathlib import Path
from typing import Annotated

import typer

from isckit.cli.options import Data, Sets, guarded, written


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
