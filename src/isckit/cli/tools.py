"""Verbs that use a run on other images, or compare runs: describe, detect, export, ablate, baselines, breakdown."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isckit.cli.options import (
    CPUS,
    HERE,
    DataFolder,
    Name,
    Phase,
    RecipeName,
    Root,
    Settings,
    Workers,
    echo_left_out,
    guarded,
    written,
)
from isckit.runs.artifacts import require_weights, require_writable, write_json
from isckit.runs.workspace import DEFAULT, Workspace
from isckit.types import BadInput, MissingInput, Role

if TYPE_CHECKING:
    from isckit import config
    from isckit.runs.run import Run


TOLERANT = ("extract.on_broken=replace",)
"""Setting for people's own folders, unless they say otherwise: broken images are left out and listed."""


class FileFormat(StrEnum):
    """Formats of exported networks."""

    onnx = "onnx"
    torchscript = "torchscript"


class Side(StrEnum):
    """The roles of described images in the recipe."""

    reference = "reference"
    query = "query"


@guarded
def detect(
    folder: Annotated[Path, typer.Argument(help="Folder of images.")],
    name: Name,
    out: Annotated[Path, typer.Option(help="CSV to write.")],
    batch: Annotated[int | None, typer.Option(help="Images a batch; else the recipe's.", min=1)] = None,
    root: Root = HERE,
    workers: Workers = CPUS,
) -> None:
    """Find pictures pasted on pictures, with the detector of a run."""
    from isckit.data.layouts import open_folder
    from isckit.engine.distributed import process
    from isckit.runs.run import resume
    from isckit.tracks.detect import detect as find
    from isckit.types import Role

    require_writable(out)
    with process() as here:
        images = open_folder(folder, Role.QUERY)
        broken = find(resume(Workspace(root), name), images, out, process=here, workers=workers, batch=batch)
        if here.first:
            echo_left_out(folder, broken)
            typer.echo(written(out))


@guarded
def export(
    name: Name,
    out: Annotated[Path, typer.Option(help="File to write.")],
    member: Annotated[str | None, typer.Option(help="Network of the recipe; needed where it has several.")] = None,
    form: Annotated[FileFormat, typer.Option("--format", help="ONNX, or TorchScript.")] = FileFormat.onnx,
    root: Root = HERE,
) -> None:
    """Write one network as a file for other programs, and compare it with the network before it stays."""
    from isckit.engine.export import export as write

    require_writable(out)
    run = _trained(root, name)
    difference = write(run.recipe, run.weights, out, member=member, form=form.value)
    typer.echo(f"{written(out)}\nlargest difference from the network: {difference:.3g}")


@guarded
def describe(
    folder: Annotated[Path, typer.Argument(help="Folder of images, subfolders included.")],
    out: Annotated[Path, typer.Option(help="File to write: .h5, .hdf5 or .npz.")],
    name: Annotated[str | None, typer.Option(help="A fitted run: its whole descriptor.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Weights: vectors of their members.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Recipe of --checkpoint; else the one in the file.")] = None,
    settings: Settings = None,
    normalised: Annotated[bool, typer.Option("--normalised", help="Apply the recipe's normalisation too.")] = False,
    side: Annotated[Side, typer.Option(help="Treat the images as references, or as queries.")] = Side.reference,
    root: Root = HERE,
    workers: Workers = CPUS,
) -> None:
    """Describe any folder of images with the default model, a run, or a weight file; goes on after an interruption."""
    from isckit.data.layouts import open_folder
    from isckit.engine.distributed import process
    from isckit.tracks import describe as describing

    if name is None and checkpoint is None:
        name = DEFAULT
    if (name and checkpoint) or (checkpoint is not None and normalised) or (name and recipe):
        raise BadInput(
            seen=f"--name {name}, --checkpoint {checkpoint}, --recipe {recipe}, --normalised {normalised}",
            allowed="nothing, --name RUN [--normalised], or --checkpoint FILE [--recipe NAME]",
            remedy="name a run or a weight file, or neither; only a run is fitted, and it has its own recipe",
        )
    describing.writer_of(out)
    require_writable(out)
    images = open_folder(folder, Role(side.value))
    with process() as here:
        if checkpoint is not None:
            chosen = _recipe_of(checkpoint, recipe, [*TOLERANT, *(settings or [])])
            facts = describing.describe_by_weights(chosen, checkpoint, images, out, process=here, workers=workers)
        else:
            assert name is not None
            run = _with_settings(_trained(root, name), [*TOLERANT, *(settings or [])])
            facts = describing.describe_by_run(run, images, out, normalised=normalised, process=here, workers=workers)
        if here.first:
            typer.echo(f"{facts['images']:,} images, {facts['dim']} values each")
            echo_left_out(folder, facts["replaced"])
            typer.echo(written(out))


@guarded
def ablate(
    name: Annotated[str, typer.Argument(help="Name of a trained run.")],
    data: DataFolder,
    phase: Phase = 1,
    out: Annotated[Path | None, typer.Option(help="Markdown file to write; all figures go beside it as .json.")] = None,
    matching: Annotated[bool, typer.Option("--matching", help="Score the Matching track too.")] = False,
    root: Root = HERE,
    workers: Workers = CPUS,
) -> None:
    """Score every row of the recipe's own ablation with a trained run, beside the published figures."""
    from isckit.data.layouts import open_disc
    from isckit.engine.distributed import process
    from isckit.studies import ablate as ablating
    from isckit.studies.ablations import rows_of

    run = _trained(root, name)
    if out is not None:
        require_writable(out)
        require_writable(ablating.figures_beside(out))
    with process() as here:
        scored = ablating.ablate(
            run, open_disc(data), rows_of(run.recipe), phase=phase, matching=matching, process=here, workers=workers
        )
        if here.first:
            typer.echo(ablating.table(scored))
            for path in ablating.write(out, run, scored, phase=phase) if out else ():
                typer.echo(written(path))


def _trained(root: Path, name: str) -> Run:
    from isckit.runs.run import resume

    run = resume(Workspace.of(root, name), name).intact()
    if not run.weights.is_file():
        raise MissingInput(
            seen=f"no {run.weights}: run {name!r} has no weights",
            allowed="a trained run, or one with weights installed",
            remedy=f"run: isckit train --name {name}",
        )
    return run


def _recipe_of(checkpoint: Path, recipe: str | None, settings: list[str] | None) -> config.Recipe:
    from isckit.recipes.catalogue import recipe as find

    require_weights(checkpoint)
    if recipe is None and checkpoint.suffix != ".safetensors":
        raise BadInput(
            seen=f"{checkpoint} without --recipe",
            allowed="weights written by this kit, which carry their recipe, or any weights with --recipe",
            remedy="pass --recipe NAME",
        )
    return find(str(checkpoint) if recipe is None else recipe, settings=settings)


def _with_settings(run: Run, settings: list[str]) -> Run:
    """The run with other settings of extraction: batch size, policy on broken images."""
    from isckit.config import override, replace

    recipe = override(run.recipe, settings)
    if replace(recipe, extract=run.recipe.extract) != run.recipe:
        raise BadInput(
            seen=f"--set {' --set '.join(settings)}",
            allowed="extract.batch_images, extract.on_broken and other settings of extract",
            remedy="leave out the others: a run keeps the recipe it was trained and fitted with",
        )
    return replace(run, recipe=recipe)


@guarded
def baselines(
    data: DataFolder,
    recipes: Annotated[list[str] | None, typer.Option("--recipe", help="Only these. Repeatable.")] = None,
    settings: Settings = None,
    phase: Phase = 1,
    out: Annotated[Path | None, typer.Option(help="Write the table here, too.")] = None,
    root: Root = HERE,
    workers: Workers = CPUS,
) -> None:
    """Run every baseline, each as a run baseline.RECIPE, and print one table; goes on after an interruption."""
    from isckit.data.layouts import given_disc
    from isckit.recipes.catalogue import recipe as find
    from isckit.runs.artifacts import write_text
    from isckit.studies import baselines as track

    require_writable(root, folder=True)
    require_writable(out)
    given_disc(data)
    chosen = [find(name, settings=settings) for name in recipes or track.BASELINES]
    text = track.table(list(track.baselines(data, chosen, root=root, phase=phase, workers=workers)))
    typer.echo(text)
    if out is not None:
        write_text(out, text + "\n")


@guarded
def plan(
    recipe: RecipeName = "ours_default",
    references: Annotated[int, typer.Option(help="Reference images.", min=1)] = 1_000_000,
    queries: Annotated[int, typer.Option(help="Query images.", min=1)] = 50_000,
    train: Annotated[int, typer.Option(help="Train images.", min=1)] = 1_000_000,
    cores: Annotated[int, typer.Option(help="Cores of a machine.", min=1)] = os.cpu_count() or 1,
    gpus: Annotated[int, typer.Option(help="GPUs of a machine.", min=0)] = 0,
    machines: Annotated[int, typer.Option(help="Machines, all alike.", min=1)] = 1,
    memory: Annotated[float | None, typer.Option(help="GB of a machine; else this one's.", min=0.1)] = None,
    measured: Annotated[bool, typer.Option("--measure", help="Measure this machine's rates, in a minute.")] = False,
    json: Annotated[Path | None, typer.Option(help="File for the stages.")] = None,
    settings: Settings = None,
) -> None:
    """Tell what a recipe costs at a size: rows, disk, memory, operations and time of every stage."""
    from isckit import config
    from isckit.recipes.catalogue import recipe as find_recipe
    from isckit.runs.meter import machine
    from isckit.studies.plan import Size, record, table
    from isckit.studies.rates import Rates, measure
    from isckit.studies.training_stages import plan as planned

    require_writable(json)
    found = config.override(find_recipe(recipe), settings or [])
    held = round(memory * 1e9) if memory is not None else machine()["memory_bytes"]
    size = Size(train, references, queries, cores, gpus, held, machines)
    stages = planned(found, size, measure() if measured else Rates())
    typer.echo(table(stages, size))
    if json is not None:
        typer.echo(written(write_json(json, record(stages))))


@guarded
def breakdown(
    targets: Annotated[list[Path], typer.Argument(help="Submission folders, or single .csv and .h5 files.")],
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="Markdown file to write; .json and .png go beside it.")],
) -> None:
    """Say which kinds of edit a system finds: recall by edit, on a set of `isckit data synthetic`."""
    from isckit.studies.breakdown import break_down

    require_writable(out)
    paths = out, out.with_suffix(".json"), out.with_suffix(".png")
    require_writable(*paths)
    typer.echo(break_down(targets, data=data, out=out))
    for path in paths:
        typer.echo(written(path))
