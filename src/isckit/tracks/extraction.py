"""The description of an image set, for all members and branches of a recipe."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.data.images import listed, stop_message
from isckit.engine.describe import Target, describe, extract
from isckit.engine.distributed import Process
from isckit.matching.inputs import substitute_of, survey_set, table_folder, view_sets_of
from isckit.matching.match import describe_branches
from isckit.models.members import Built, load
from isckit.runs import made_from
from isckit.runs.artifacts import read_receipt
from isckit.runs.checkpoints import read_weights
from isckit.runs.run import Run
from isckit.runs.steps import Output
from isckit.types import WHOLE, Embeddings, Role
from isckit.vectors.described import set_made_from
from isckit.vectors.pca import combine
from isckit.views.table import Wanted, wanted

log = logging.getLogger(__name__)


def views_of(recipe: config.Recipe, role: Role, member: str | None = None) -> Wanted:
    """Return the views described of an image set, by a member: what the branches that look at it compare; None: by any.

    Of train only the whole image.
    """
    substitution = recipe.substitution if role is Role.QUERY else None
    return wanted(tuple(view_sets_of(recipe, role, member)), recipe, substitution=substitution)


def extract_set(
    run: Run, images: ImageSet, *, process: Process, workers: int, members: Sequence[Built] | None = None
) -> None:
    """Write what is described of an image set: what differs from image to image, embeddings, then what branches need.

    Args:
        members: of the run's recipe, with their weights; None to read them.
    """
    table = survey_set(run, images, process=process, workers=workers)
    members = members or read_members(run, process=process)
    targets, outputs = targets_of(run.recipe, members, images.role), []
    for settings, target in zip(run.recipe.members, targets, strict=True):
        inputs = set_made_from(run, images, settings, _views_made_from(run, images, target.wanted))
        outputs.append(Output(run.folder(images.name, settings.name), inputs, ".h5"))
    extract(
        targets,
        outputs,
        images,
        settings=run.recipe.extract,
        process=process,
        workers=workers,
        substitute=substitute_of(run, images),
        table=table,
    )
    describe_branches(run, images, process=process, workers=workers)


def describe_set(
    run: Run, images: ImageSet, *, process: Process, workers: int, members: Sequence[Built] | None = None
) -> Iterator[Embeddings]:
    """Yield the ensemble's vectors of whole images, not yet reduced, some images at a time; embeddings are not written.

    Images that do not decode are left out, with a warning.

    Raises:
        BadInput: none decodes.
    """
    run = replace(run, recipe=run.recipe.whole_only).extracting(on_broken="replace")
    table = survey_set(run, images, process=process, workers=workers)
    targets = targets_of(run.recipe, members or read_members(run, process=process), images.role)
    settings, ensemble = run.recipe.extract, run.recipe.ensemble
    chosen = [k for k, m in enumerate(run.recipe.members) if not ensemble.members or m.name in ensemble.members]
    weights = [run.recipe.members[k].weight for k in chosen]
    described = describe(
        targets,
        images,
        settings=settings,
        process=process,
        workers=workers,
        substitute=substitute_of(run, images),
        table=table,
    )
    left: dict[str, str] = {}
    for parts, broken in described:
        left |= broken
        joined = combine([parts[k].only(WHOLE) for k in chosen], weights, how=ensemble.how)
        yield joined.take(~np.isin(joined.ids, list(broken))) if broken else joined
    if len(left) == len(images):
        raise stop_message(left, otherwise="name a folder with images that do")
    if left:
        log.warning("left out: %s", listed(left))


def read_members(run: Run, *, process: Process) -> list[Built]:
    """Return the members of a run with their weights, on the device."""
    return load(run.recipe, read_weights(run.weights), device=process.device)


def targets_of(recipe: config.Recipe, members: Sequence[Built], role: Role) -> list[Target]:
    """Return what each member describes of images of a role."""
    blurs = [settings.blur if isinstance(settings, config.Network) else 0.0 for settings in recipe.members]
    wanted = [views_of(recipe, role, settings.name) for settings in recipe.members]
    return [Target(*target) for target in zip(members, wanted, blurs, strict=True)]


def _views_made_from(run: Run, images: ImageSet, views: Wanted) -> list[str]:
    """Return what decides the views of a member, in words for its receipt."""
    words = [f"{view.name}{view.box}{view.turns}{view.mirror}" for view in views.fixed]
    words += [view.name for view in views.fixed if view.square_first]
    substitution = run.recipe.substitution if images.role is Role.QUERY else None
    if views.finds or (substitution is not None and not substitution.boxes):
        found = read_receipt(table_folder(run, images.name))["made_from"]
        overlays = config.to_dict(views.overlays) if views.overlays else None
        words.append(made_from.digest([found, overlays]))
    return words
