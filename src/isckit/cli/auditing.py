"""Verbs of the audit: manifest, verify, diff."""

from pathlib import Path
from typing import Annotated

import typer

from isckit.cli.options import CPUS, HERE, MaybeData, Name, Phase, Root, Workers, guarded, written
from isckit.workspace import FINGERPRINTS, Workspace

Folder = Annotated[Path, typer.Argument(help="Submission folder.")]


@guarded
def manifest(name: Name, phase: Phase = 1, data: MaybeData = None, root: Root = HERE, workers: Workers = CPUS) -> None:
    """Write the manifest of a submission: recipe, code, machine, images, digests, costs, scores; and its seal."""
    from isckit.judge.audit.costs import table
    from isckit.judge.audit.manifest import read_manifest, write_manifest

    folder = Workspace(root).submission(phase, name)
    path = write_manifest(folder, data=data, workers=workers)
    values = read_manifest(folder)
    absent = [image_set for image_set, record in values["images"].items() if "digest" not in record]
    typer.echo(f"{written(path)}\n{written(folder / FINGERPRINTS)}\ncosts\n{table(values['costs'])}")
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
