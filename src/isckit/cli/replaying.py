"""The verb that makes a submission again, to see whether the same comes out."""

from pathlib import Path
from typing import Annotated

import typer

from isckit.cli.options import CPUS, Data, Workers, guarded


@guarded
def replay(
    folder: Annotated[Path, typer.Argument(help="Submission folder.")],
    data: Data,
    sample: Annotated[int, typer.Option(help="Queries, and as many references, to describe again.", min=1)] = 64,
    full: Annotated[bool, typer.Option("--full", help="Everything from the images, but for training.")] = False,
    retrain: Annotated[bool, typer.Option("--retrain", help="With --full: train again too.")] = False,
    keep: Annotated[Path | None, typer.Option(help="With --full: a new folder to work in and keep.")] = None,
    workers: Workers = CPUS,
) -> None:
    """Make a submission again from the images, in fresh processes, and compare. Exit code 1 where it differs."""
    from isckit.judge.audit.replay import replay_full, replay_sample

    if full or retrain:
        done = replay_full(folder, data=data, retrain=retrain, workers=workers, keep=keep)
    else:
        done = replay_sample(folder, data=data, sample=sample)
    typer.echo(str(done))
    if not done.passed:
        raise typer.Exit(1)
