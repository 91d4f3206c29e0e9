"""Verbs that judge a submission and keep account of it: check, score, manifest, audit, ledger."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from isckit.cli.options import (
    CPUS,
    HERE,
    DataFolder,
    MaybeData,
    Name,
    Phase,
    Root,
    Workers,
    echo_left_out,
    guarded,
    written,
)
from isckit.runs.artifacts import broken_images, require_writable
from isckit.runs.workspace import DESCRIPTORS, MATCHES, SUFFIXES, Workspace
from isckit.types import BadInput, MissingInput


class Candidates(StrEnum):
    """Pairs of descriptors that are scored: the closest of all, or the closest of each query."""

    closest = "global"
    knn = "knn"


SAMPLE = "Queries in the experiments; else as many as find a fault of 5 % of them by a chance of 95 %; 0 for none."
MOST = 1_000_000
"""Resamples and neighbours: more take days, and no digit that is shown depends on them."""


def require_target(target: Path) -> None:
    """Refuse what cannot be judged: nothing there, or a file of another kind.

    Raises:
        MissingInput: there is no such file or folder.
        BadInput: a file that is neither .csv nor .h5.
    """
    allowed = "a matching .csv, a descriptor .h5, or a submission folder"
    if not target.exists():
        raise MissingInput(seen=f"no file or folder {target}", allowed=allowed, remedy="correct the path")
    if not target.is_dir() and target.suffix not in SUFFIXES:
        raise BadInput(seen=f"file {target}", allowed=allowed, remedy="pass another file, or rename it")


@guarded
def score(
    target: Annotated[Path, typer.Argument(help="matching .csv, descriptor .h5, or a submission folder")],
    ground_truth: Annotated[Path | None, typer.Option(help="Ground truth CSV.")] = None,
    listed: Annotated[Path | None, typer.Option(help="Query ids, for a ground truth of positives only.")] = None,
    data: MaybeData = None,
    json: Annotated[Path | None, typer.Option(help="Write all figures here.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write the precision-recall picture here.")] = None,
    protocol: Annotated[Candidates, typer.Option(help="Of descriptors; global is official.")] = Candidates.closest,
    k: Annotated[int, typer.Option(help="Neighbours of the knn protocol.", min=1, max=MOST)] = 10,
    bootstrap: Annotated[int, typer.Option(help="Resamples for the interval; 0 for none.", min=0, max=MOST)] = 200,
) -> None:
    """Score a submission against ground truth: uAP, Recall@P90, recall@1 and @10, with an interval and a picture."""
    from isckit.judge.score.report import require_plot, score_file, score_folder

    require_target(target)
    require_plot(plot)
    require_writable(json, plot, read=(target, ground_truth, listed))
    options = {"listed": listed, "protocol": protocol.value, "k": k, "bootstrap": bootstrap}
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
    sample: Annotated[int | None, typer.Option(help=SAMPLE, min=0)] = None,
    foreign: Annotated[bool, typer.Option("--foreign", help="The file was made by something else.")] = False,
    pipeline: Annotated[str | None, typer.Option(help="Inference command with {queries} {references} {out}.")] = None,
    training: Annotated[str | None, typer.Option(help="Training command with {data} {root} {recipe}.")] = None,
    tolerance: Annotated[float | None, typer.Option(help="Relative difference allowed, else the device's.")] = None,
) -> None:
    """Check form and every rule, with experiments where --data is given. Exit code 1 when something is wrong."""
    from isckit.judge.rules.examine import check_file, check_folder
    from isckit.judge.rules.experiments.contestant import INFER, TRAIN, require_command
    from isckit.judge.rules.finding import Probe
    from isckit.judge.rules.foreign import check_foreign

    require_target(target)
    for command in (pipeline, training):
        if command is not None:
            require_command(command)
    probe = Probe(pipeline or INFER, training or TRAIN, sample if data else 0, tolerance=tolerance)
    if foreign:
        text, clean = check_foreign(target, phase=phase, data=data, against=against, probe=probe if pipeline else None)
    elif target.is_file():
        text, clean = check_file(target, phase=phase, data=data)
    else:
        if data is None:  # which names them itself
            _echo_replaced(target)
        text, clean = check_folder(target, phase=phase, data=data, against=against, project=project, probe=probe)
    typer.echo(text)
    if not clean:
        raise typer.Exit(1)


Folder = Annotated[Path, typer.Argument(help="Submission folder.")]


def _echo_replaced(folder: Path) -> None:
    """Print the images of each set that the submission was made without."""
    for image_set, broken in (broken_images(folder / DESCRIPTORS) | broken_images(folder / MATCHES)).items():
        echo_left_out(image_set, broken)


@guarded
def manifest(name: Name, phase: Phase = 1, data: MaybeData = None, root: Root = HERE, workers: Workers = CPUS) -> None:
    """Write the manifest of a submission: recipe, code, machine, images, digests, costs, scores; and its seal."""
    from isckit.judge.audit.manifest import read_manifest, table, write_manifest

    folder = Workspace(root).submission(phase, name)
    path = write_manifest(folder, data=data, workers=workers)
    values = read_manifest(folder)
    absent = [image_set for image_set, record in values["images"].items() if "digest" not in record]
    _echo_replaced(folder)
    typer.echo(f"{written(path)}\ncosts\n{table(values['costs'])}")
    if absent:
        typer.echo(f"no digests of the images of {', '.join(absent)}: pass --data")
    typer.echo(
        f"seal {values['seal']}\ndeposit the seal with a third party: what it seals cannot be rewritten after that"
    )


@guarded
def verify(
    folder: Folder,
    data: MaybeData = None,
    seal: Annotated[str | None, typer.Option(help="The manifest's seal, as deposited elsewhere.")] = None,
    workers: Workers = CPUS,
) -> None:
    """Compute every digest of a manifest again and name what differs. Exit code 1 where the submission was changed."""
    from isckit.judge.audit.verify import verify as verify_submission

    done = verify_submission(folder, data=data, seal=seal, workers=workers)
    typer.echo(str(done))
    if not done.passed:
        raise typer.Exit(1)


@guarded
def diff(
    first: Annotated[Path, typer.Argument(help="Submission folder.")],
    second: Annotated[Path, typer.Argument(help="Submission folder, of the same or another run and phase.")],
) -> None:
    """Say in words why two submissions differ, and what that does to vectors, rows and scores."""
    from isckit.judge.audit.diff import explain

    typer.echo(explain(first, second))


@guarded
def replay(
    folder: Annotated[Path, typer.Argument(help="Submission folder.")],
    data: DataFolder,
    sample: Annotated[int, typer.Option(help="Queries, and as many references, to describe again.", min=1)] = 64,
    full: Annotated[bool, typer.Option("--full", help="Everything from the images, but for training.")] = False,
    retrain: Annotated[bool, typer.Option("--retrain", help="With --full: train again too.")] = False,
    keep: Annotated[Path | None, typer.Option(help="With --full: a new folder to work in and keep.")] = None,
    workers: Workers = CPUS,
) -> None:
    """Make a submission again from the images, in fresh processes, and compare. Exit code 1 where it differs."""
    from isckit.judge.audit.replay import replay_full, replay_sample

    require_writable(keep, folder=True)
    if full or retrain:
        done = replay_full(folder, data=data, retrain=retrain, workers=workers, keep=keep)
    else:
        done = replay_sample(folder, data=data, sample=sample)
    typer.echo(str(done))
    if not done.passed:
        raise typer.Exit(1)


Reported = Annotated[float | None, typer.Option(help="uAP as the leaderboard said.", min=0, max=1)]
Recall = Annotated[float | None, typer.Option(help="Recall@P90 as the leaderboard said.", min=0, max=1)]
Note = Annotated[str, typer.Option(help="Anything worth knowing.")]


@guarded
def ledger_add(
    folder: Annotated[Path, typer.Argument(help="Submission folder.")],
    track: Annotated[str, typer.Option(help="descriptor or matching")],
    reported: Reported = None,
    recall: Recall = None,
    note: Note = "",
) -> None:
    """Write down that a submission's file is handed in; phase 2 allows three a track."""
    from isckit.judge.ledger import record

    workspace, phase, name = Workspace.locate(folder)
    entry = record(workspace, phase=phase, name=name, track=track, reported=reported, recall=recall, note=note)
    typer.echo(f"entry {entry.number}: {entry.track} track of phase {entry.phase}, sha256 {entry.sha256}")


@guarded
def ledger_report(
    number: Annotated[int, typer.Argument(help="Number of the hand-in.")],
    reported: Reported = None,
    recall: Recall = None,
    note: Note = "",
    root: Root = HERE,
) -> None:
    """Write down what the leaderboard said of a hand-in, where that came later."""
    from isckit.judge.ledger import report

    entry = report(Workspace(root), number, reported=reported, recall=recall, note=note)
    typer.echo(f"entry {entry.number}: reports on entry {entry.of}")


@guarded
def ledger_show(root: Root = HERE) -> None:
    """Show all hand-ins, local scores beside reported ones. Exit code 1 where lines are missing or moved."""
    from isckit.judge.ledger import table, verify

    workspace = Workspace(root)
    if not root.is_dir():
        raise MissingInput(seen=f"no folder {root}", allowed="a folder with submissions/", remedy="correct --root")
    typer.echo(table(workspace))
    faults = verify(workspace.ledger)
    for fault in faults:
        typer.echo(f"FAULT: {fault}")
    if faults:
        raise typer.Exit(1)
