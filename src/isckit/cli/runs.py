"""Verbs that make a run and its submissions: train, extract, fit, descriptor, matching, infer, freeze, frozen."""

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from isckit.cli.options import (
    CPUS,
    HERE,
    Address,
    Checkpoint,
    DataFolder,
    Engine,
    Engines,
    EngineWorkers,
    MaybeData,
    Name,
    Phase,
    RecipeName,
    Root,
    Sets,
    Settings,
    Workers,
    echo_left_out,
    echo_submitted,
    guarded,
    on_cluster,
    written,
)
from isckit.runs.artifacts import require_writable
from isckit.runs.workspace import DEFAULT, DESCRIPTORS, MATCHES, Workspace, query_set
from isckit.types import MissingInput

log = logging.getLogger(__name__)


@guarded
def train(
    name: Name,
    data: MaybeData = None,
    recipe: RecipeName = "ours_matching",
    settings: Settings = None,
    checkpoint: Checkpoint = None,
    witness: Annotated[Path | None, typer.Option(help="Write down here what the training loader yields.")] = None,
    root: Root = HERE,
    workers: Workers = CPUS,
) -> None:
    """Train the members of a recipe, or install given weights; does nothing where the run has weights already."""
    from isckit.data.layouts import open_disc
    from isckit.engine.distributed import process
    from isckit.recipes.catalogue import recipe as find
    from isckit.runs.run import begin, planned
    from isckit.tracks import train as members

    require_writable(root / "checkpoints", folder=True)
    require_writable(witness)
    run = planned(Workspace(root), name, find(recipe, settings=settings))
    with process() as here:
        if checkpoint is not None:
            members.install(run, checkpoint, process=here)
        elif run.weights.is_file():
            log.info("the run has weights already: %s", run.weights)
        else:
            if run.recipe.learns and data is None:
                raise MissingInput(
                    seen="a recipe that trains, and no --data",
                    allowed="a folder with train images",
                    remedy="pass --data DIR",
                )
            images = members.training_images(run, open_disc(data), workers=workers) if data else None
            begin(run.workspace, name, run.recipe)
            members.train_members(run, images, process=here, workers=workers, witness=witness)


@guarded
def extract(
    name: Name,
    data: DataFolder,
    sets: Annotated[list[Sets], typer.Option(help="Image sets. Repeatable.")],
    root: Root = HERE,
    workers: Workers = CPUS,
    engine: Engine = Engines.local,
    address: Address = None,
    engine_workers: EngineWorkers = None,
) -> None:
    """Extract the embeddings of image sets; resumes after an interruption."""
    on_cluster(engine, address, engine_workers)
    from isckit.data.layouts import open_disc, require
    from isckit.engine.distributed import process
    from isckit.runs.run import resume
    from isckit.tracks.extraction import extract_set
    from isckit.vectors.described import replaced

    run, disc = resume(Workspace(root), name), open_disc(data)
    with process() as here:
        for image_set in sets:
            extract_set(run, require(disc, image_set.value), process=here, workers=workers)
            if here.first:
                echo_left_out(image_set.value, replaced(run, image_set.value))


@guarded
def fit(name: Name, root: Root = HERE) -> None:
    """Fit on train: the ensemble (PCA to at most 256 dimensions, bank of train vectors), and what branches need."""
    from isckit.matching.match import fit_all
    from isckit.runs.run import resume

    fit_all(resume(Workspace(root), name))


@guarded
def descriptor(name: Name, phase: Phase = 1, root: Root = HERE) -> None:
    """Write the Descriptor track's HDF5."""
    from isckit.runs.run import resume
    from isckit.tracks.descriptor import descriptor_track

    echo_submitted(descriptor_track(resume(Workspace(root), name), phase=phase))


@guarded
def matching(
    name: Name,
    phase: Phase = 1,
    data: MaybeData = None,
    root: Root = HERE,
    workers: Workers = CPUS,
    engine: Engine = Engines.local,
    address: Address = None,
    engine_workers: EngineWorkers = None,
) -> None:
    """Write the Matching track's CSV; recipes with networks that see pairs of images need --data."""
    on_cluster(engine, address, engine_workers)
    from isckit.data.layouts import open_disc, require
    from isckit.runs.run import resume
    from isckit.tracks.matching import matching_track

    run = resume(Workspace(root), name)
    if data is not None and not data.is_dir():
        raise MissingInput(seen=f"no folder {data}", allowed="a folder with the images", remedy="correct --data")
    images = {}
    if data is not None and run.recipe.pair_networks:
        disc = open_disc(data)
        images = {image_set: require(disc, image_set) for image_set in ("references", query_set(phase))}
    if not images and "WORLD_SIZE" not in os.environ:  # one process that needs no network: torch is not imported
        echo_submitted(matching_track(run, phase=phase, workers=workers))
        return
    from isckit.engine.distributed import process

    with process() as here:
        made = matching_track(run, phase=phase, images=images, process=here, workers=workers)
        if here.first:
            echo_submitted(made)


@guarded
def infer(
    queries: Annotated[Path, typer.Option(help="Folder of query images.")],
    references: Annotated[Path, typer.Option(help="Folder of reference images.")],
    out: Annotated[Path, typer.Option(help="Folder to write descriptors.h5 and matching.csv to.")],
    name: Annotated[str, typer.Option(help="A fitted run; else the default model.")] = DEFAULT,
    batch: Annotated[int | None, typer.Option(help="Images a batch; else the recipe's.", min=1)] = None,
    root: Root = HERE,
    workers: Workers = CPUS,
) -> None:
    """Describe and match any two folders of images with the default model, or with a finished run."""
    from isckit.data.layouts import open_folder
    from isckit.engine.distributed import process
    from isckit.runs.run import resume
    from isckit.tracks.find import infer as describe_and_match
    from isckit.types import Role

    require_writable(out, folder=True)
    require_writable(out / DESCRIPTORS, out / MATCHES)
    run = resume(Workspace.of(root, name), name).intact()
    sets = open_folder(queries, Role.QUERY), open_folder(references, Role.REFERENCE)
    with process() as here:
        found = describe_and_match(run, *sets, out, batch=batch, process=here, workers=workers)
        if here.first:
            for folder, broken in zip((queries, references), found.broken.values(), strict=True):
                echo_left_out(folder, broken)
            for path in (out / DESCRIPTORS, out / MATCHES):
                typer.echo(written(path))


@guarded
def freeze(name: Name, root: Root = HERE) -> None:
    """Record the state of a run at the end of phase 1."""
    from isckit.judge import freeze as freezer

    typer.echo(written(freezer.freeze(Workspace(root), name)))


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

    asked = None if recipe is None else find(recipe, settings=settings)
    warnings = require_frozen(Workspace(root), name, recipe=asked, checkpoint=checkpoint)
    but = f", but for: {'; '.join(warnings)}" if warnings else ""
    typer.echo(f"run {name!r} is as phase 1 recorded it{but}")
