"""Verbs that look and judge: doctor, score, check."""

from pathlib import Path
from typing import Annotated

import typer

from isckit.cli.options import CPUS, Data, MaybeData, Workers, guarded


@guarded
def doctor(
    data: Data,
    decode: Annotated[str, typer.Option(help="none, sample or all")] = "sample",
    sample: int = 200,
    workers: Workers = CPUS,
) -> None:
    """Say what a data folder holds, what is broken or missing, and what can be run with it."""
    from isckit.data.doctor import examine, render
    from isckit.data.layouts import open_disc

    typer.echo(render(examine(open_disc(data), decode=decode, sample=sample, workers=workers)))


@guarded
def score(
    target: Annotated[Path, typer.Argument(help="matching .csv, descriptor .h5, or a submission folder")],
    ground_truth: Annotated[Path | None, typer.Option(help="Ground truth CSV.")] = None,
    listed: Annotated[Path | None, typer.Option(help="Query ids, for a ground truth of positives only.")] = None,
    data: MaybeData = None,
    json: Annotated[Path | None, typer.Option(help="Write all figures here.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write the precision-recall picture here.")] = None,
    protocol: Annotated[str, typer.Option(help="descriptors: global (official) or knn")] = "global",
    k: Annotated[int, typer.Option(help="Neighbours of the knn protocol.")] = 10,
    bootstrap: Annotated[int, typer.Option(help="Resamples for the interval; 0 for none.")] = 200,
) -> None:
    """Score a submission against ground truth: uAP, Recall@P90, recall@1 and @10, with an interval and a picture."""
    from isckit.judge.report import score_file, score_folder

    options = {"listed": listed, "protocol": protocol, "k": k, "bootstrap": bootstrap}
    if target.is_dir():
        typer.echo(score_folder(target, ground_truth=ground_truth, data=data, **options))
    else:
        typer.echo(score_file(target, ground_truth=ground_truth, data=data, json=json, plot=plot, **options))


@guarded
def check(
    target: Annotated[Path, typer.Argument(help="matching .csv, descriptor .h5, or a submission folder")],
    phase: Annotated[int | None, typer.Option(help="1 or 2; a folder knows its own.")] = None,
    data: MaybeData = None,
    against: Annotated[Path | None, typer.Option(help="Deposited freeze.json; with --foreign, phase 1's .h5.")] = None,
    project: Annotated[Path | None, typer.Option(help="Package to be published; else the kit's checkout.")] = None,
    sample: Annotated[int, typer.Option(help="Queries in each experiment; 0 to trust the records.", min=0)] = 16,
    foreign: Annotated[bool, typer.Option("--foreign", help="The file was made by something else.")] = False,
    pipeline: Annotated[str | None, typer.Option(help="Inference command with {queries} {references} {out}.")] = None,
    training: Annotated[str | None, typer.Option(help="Training command with {data} {root} {recipe}.")] = None,
    tolerance: Annotated[float | None, typer.Option(help="Relative difference allowed, else the device's.")] = None,
) -> None:
    """Check form and every rule, with experiments where --data is given. Exit code 1 when something is wrong."""
    from isckit.judge.check import check_file, check_folder, check_foreign
    from isckit.judge.contestant import INFER, TRAIN
    from isckit.judge.rules.finding import Probe

    probe = Probe(pipeline or INFER, training or TRAIN, sample if data else 0, tolerance=tolerance)
    if foreign:
        text, clean = check_foreign(target, phase=phase, data=data, against=against, probe=probe if pipeline else None)
    elif target.is_file():
        text, clean = check_file(target, phase=phase, data=data)
    else:
        text, clean = check_folder(target, phase=phase, data=data, against=against, project=project, probe=probe)
    typer.echo(text)
    if not clean:
        raise typer.Exit(1)
