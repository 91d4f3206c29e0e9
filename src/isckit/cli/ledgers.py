"""Verbs of the ledger of submissions: add, report, show."""

from pathlib import Path
from typing import Annotated

import typer

from isckit.cli.options import HERE, Root, guarded
from isckit.workspace import Workspace

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
    """Show all hand-ins, local scores beside reported ones. Exit code 1 where the ledger was tampered with."""
    from isckit.judge.ledger import table, verify

    workspace = Workspace(root)
    typer.echo(table(workspace))
    faults = verify(workspace.ledger)
    for fault in faults:
        typer.echo(f"FAULT: {fault}")
    if faults:
        raise typer.Exit(1)
