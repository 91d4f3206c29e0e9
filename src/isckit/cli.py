"""`isckit VERB`: thin doors. Each verb reads its arguments, calls one function, and prints what a person wants to know.

Heavy libraries are imported inside the verbs, so that help, checks and scores start at once.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from isckit.types import KitError, MissingInput
from isckit.workspace import PHASES, Workspace

app = typer.Typer(
    name="isckit",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Submission kit for the Image Similarity Challenge 2021 (DISC21): describe, match, score, check.",
)
data_app = typer.Typer(no_args_is_help=True, help="Make data sets.")
recipes_app = typer.Typer(no_args_is_help=True, help="List and show recipes.")
app.add_typer(data_app, name="data")
app.add_typer(recipes_app, name="recipes")

Name = Annotated[str, typer.Option(help="Name of the run.")]
Data = Annotated[Path, typer.Option(help="Folder with the images, in any layout of DISC21.")]
MaybeData = Annotated[Path | None, typer.Option(help="Folder with the images, in any layout of DISC21.")]
RecipeName = Annotated[str, typer.Option(help="A recipe's name, or a recipe.json file.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Override one value: key.path=value. Repeatable.")]
Phase = Annotated[int, typer.Option(help="1 or 2.", min=min(PHASES), max=max(PHASES))]
Root = Annotated[Path, typer.Option(help="Folder that holds checkpoints/, submissions/ and cache/.")]
Workers = Annotated[int, typer.Option(help="Image loading processes.", min=0)]
Checkpoint = Annotated[Path | None, typer.Option(help="Weights to use instead of training.")]
CPUS = min(8, os.cpu_count() or 1)
HERE = Path()


class Sets(StrEnum):
    """Image sets by name."""

    train = "train"
    references = "references"
    queries = "queries"
    final_queries = "final_queries"


def guarded(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the faults a user can cause into one message and exit code 2."""

    @functools.wraps(verb)
    def door(*args: Any, **kwargs: Any) -> Any:
        try:
            return verb(*args, **kwargs)
        except KitError as error:
            typer.echo(f"isckit {verb.__name__.replace('_', ' ')}: {type(error).__name__}\n{error}", err=True)
        except KeyboardInterrupt:
            typer.echo(
                "\nseen:       Ctrl-C\nallowed:    stopping at any time; finished work is kept\n"
                "what to do: run the same command again to go on",
                err=True,
            )
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
                raise
            typer.echo(
                f"seen:       {error}\nallowed:    a folder with free space that may be written to\n"
                "what to do: free space or choose another folder, then run the same command again",
                err=True,
            )
        raise typer.Exit(2)

    return door


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code: 0 well, 1 the judged thing failed, 2 wrong input."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        app(args=argv, prog_name="isckit")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@app.command()
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


@app.command()
@guarded
def train(
    name: Name,
    data: MaybeData = None,
    recipe: RecipeName = "baseline.mini",
    settings: Settings = None,
    checkpoint: Checkpoint = None,
    root: Root = HERE,
    workers: Workers = CPUS,
) -> None:
    """Train the members of a recipe, or install given weights; does nothing where the run has weights already."""
    from isckit.data.layouts import open_disc, require
    from isckit.engine.distributed import place
    from isckit.engine.scan import sound
    from isckit.recipes.catalogue import recipe as find
    from isckit.tracks import members
    from isckit.tracks.run import begin

    run = begin(Workspace(root), name, find(recipe, settings=settings))
    with place() as here:
        if checkpoint is not None:
            members.install(run, checkpoint, place=here)
        elif run.weights.is_file():
            logging.info("the run has weights already: %s", run.weights)
        else:
            images = None
            if members.needs_training(run.recipe):
                if data is None:
                    raise MissingInput(
                        seen="a recipe that trains, and no --data",
                        allowed="a folder with train images",
                        remedy="pass --data DIR",
                    )
                images = sound(
                    require(open_disc(data), "train"), on_broken=run.recipe.extract.on_broken, workers=workers
                )
            members.train_members(run, images, place=here, workers=workers)


@app.command()
@guarded
def extract(
    name: Name,
    data: Data,
    sets: Annotated[list[Sets], typer.Option(help="Image sets. Repeatable.")],
    root: Root = HERE,
    workers: Workers = CPUS,
) -> None:
    """Extract the embeddings of image sets; resumes after an interruption."""
    from isckit.data.layouts import open_disc, require
    from isckit.engine.distributed import place
    from isckit.tracks.members import extract_set
    from isckit.tracks.run import resume

    run, disc = resume(Workspace(root), name), open_disc(data)
    with place() as here:
        for image_set in sets:
            extract_set(run, require(disc, image_set.value), place=here, workers=workers)


@app.command()
@guarded
def fit(name: Name, root: Root = HERE) -> None:
    """Fit the ensemble (PCA to at most 256 dimensions, bank of train vectors) on the train embeddings."""
    from isckit.tracks import run as runs

    runs.fit(runs.resume(Workspace(root), name))


@app.command()
@guarded
def descriptor(name: Name, phase: Phase = 1, root: Root = HERE) -> None:
    """Write the Descriptor track's HDF5."""
    from isckit.tracks.descriptor import descriptor_track
    from isckit.tracks.run import resume

    typer.echo(_written(descriptor_track(resume(Workspace(root), name), phase=phase)))


@app.command()
@guarded
def matching(name: Name, phase: Phase = 1, root: Root = HERE) -> None:
    """Write the Matching track's CSV."""
    from isckit.tracks.matching import matching_track
    from isckit.tracks.run import resume

    typer.echo(_written(matching_track(resume(Workspace(root), name), phase=phase)))


@app.command()
@guarded
def freeze(name: Name, root: Root = HERE) -> None:
    """Record the state of a run at the end of phase 1."""
    from isckit.judge import freeze as freezer

    typer.echo(_written(freezer.freeze(Workspace(root), name)))


@app.command()
@guarded
def frozen(
    name: Name,
    recipe: Annotated[str | None, typer.Option(help="Refuse unless the run has this recipe.")] = None,
    settings: Settings = None,
    checkpoint: Checkpoint = None,
    root: Root = HERE,
) -> None:
    """Refuse (exit code 2) unless a run is as phase 1 recorded it."""
    from isckit.judge.freeze import require_frozen
    from isckit.recipes.catalogue import recipe as find

    asked = find(recipe, settings=settings) if recipe else None
    require_frozen(Workspace(root), name, recipe=asked, checkpoint=checkpoint)
    typer.echo(f"run {name!r} is as phase 1 recorded it")


@app.command()
@guarded
def score(
    target: Annotated[Path, typer.Argument(help="matching .csv, descriptor .h5, or a submission folder")],
    ground_truth: Annotated[Path | None, typer.Option(help="Ground truth CSV.")] = None,
    data: MaybeData = None,
    json: Annotated[Path | None, typer.Option(help="Write all figures here.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write the precision-recall picture here.")] = None,
    protocol: Annotated[str, typer.Option(help="descriptors: global (official) or knn")] = "global",
    k: Annotated[int, typer.Option(help="Neighbours of the knn protocol.")] = 10,
    bootstrap: Annotated[int, typer.Option(help="Resamples for the interval; 0 for none.")] = 200,
) -> None:
    """Score a submission against ground truth: uAP, Recall@P90, recall@1 and @10, with an interval and a picture."""
    from isckit.judge.report import score_file, score_folder

    options = {"protocol": protocol, "k": k, "bootstrap": bootstrap}
    if target.is_dir():
        typer.echo(score_folder(target, ground_truth=ground_truth, data=data, **options))
    else:
        typer.echo(score_file(target, ground_truth=ground_truth, data=data, json=json, plot=plot, **options))


@app.command()
@guarded
def check(
    target: Annotated[Path, typer.Argument(help="matching .csv, descriptor .h5, or a submission folder")],
    phase: Annotated[int | None, typer.Option(help="1 or 2; a folder knows its own.")] = None,
    data: MaybeData = None,
) -> None:
    """Check form and rules; every fault is listed. Exit code 1 when there is one."""
    from isckit.judge.report import check_target

    text, clean = check_target(target, phase=phase, data=data)
    typer.echo(text)
    if not clean:
        raise typer.Exit(1)


@app.command()
@guarded
def manifest(name: Name, phase: Phase = 1, root: Root = HERE) -> None:
    """Write the manifest of a submission: recipe, digests, versions, scores."""
    from isckit.judge.audit import write_manifest

    typer.echo(_written(write_manifest(Workspace(root).submission(phase, name))))


@data_app.command("synthetic")
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


@data_app.command("sheet")
@guarded
def sheet(data: Data, out: Annotated[Path, typer.Option(help="PNG to write.")]) -> None:
    """Draw references beside their edited copies, and distractors, of a synthetic set."""
    from isckit.augment.mini_sheet import write_sheet

    write_sheet(data, out)
    typer.echo(_written(out))


@recipes_app.command("list")
@guarded
def recipes_list() -> None:
    """Names and first lines of all recipes."""
    from isckit.recipes.catalogue import RECIPES

    for name, function in RECIPES.items():
        typer.echo(f"{name:18} {(function.__doc__ or '').splitlines()[0]}")


@recipes_app.command("show")
@guarded
def recipes_show(name: str, settings: Settings = None) -> None:
    """The resolved values of a recipe."""
    from isckit.config import to_json
    from isckit.recipes.catalogue import recipe as find

    typer.echo(to_json(find(name, settings=settings)), nl=False)


def _written(path: Path) -> str:
    return f"{path}  ({path.stat().st_size:,} bytes)"
