"""The verb that runs all baselines on a data set."""

from pathlib import Path
from typing import Annotated

import typer

from isckit.cli.options import CPUS, HERE, Data, Phase, Root, Settings, Workers, guarded


@guarded
def baselines(
    data: Data,
    recipes: Annotated[list[str] | None, typer.Option("--recipe", help="Only these. Repeatable.")] = None,
    settings: Settings = None,
    phase: Phase = 1,
    out: Annotated[Path | None, typer.Option(help="Write the table here, too.")] = None,
    root: Root = HERE,
    workers: Workers = CPUS,
) -> None:
    """Run every baseline, each as a run baseline.RECIPE, and print one table; goes on after an interruption."""
    from isckit.recipes.catalogue import recipe as find
    from isckit.storage.artifacts import write_text
    from isckit.tracks import baselines as track

    chosen = [find(name, settings=settings) for name in recipes or track.BASELINES]
    text = track.table(list(track.baselines(data, chosen, root=root, phase=phase, workers=workers)))
    typer.echo(text)
    if out is not None:
        write_text(out, text + "\n")
