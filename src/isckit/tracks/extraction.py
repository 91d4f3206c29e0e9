"""What is described of an image set, for all members and branches of a recipe."""

from __future__ import annotations

import hashlib
import json

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.engine.describe import Target, extract
from isckit.engine.distributed import Place
from isckit.matching.inputs import substitute_of, survey_set, table_folder, view_sets_of
from isckit.matching.match import describe_branches
from isckit.models.members import load
from isckit.runs.artifacts import read_receipt
from isckit.runs.checkpoints import read_weights
from isckit.runs.run import Run
from isckit.types import Role
from isckit.vectors.described import set_made_from
from isckit.views.table import Wanted, wanted


def views_of(recipe: config.Recipe, role: Role, member: str | None = None) -> Wanted:
    """The views described of an image set, by a member: what the branches that look at it compare; None: by any.

    Of train only the whole image.
    """
    substitution = recipe.substitution if role is Role.QUERY else None
    return wanted(tuple(view_sets_of(recipe, role, member)), recipe, substitution=substitution)


def extract_set(run: Run, images: ImageSet, *, place: Place, workers: int) -> None:
    """Describe one image set: what differs from image to image, embeddings by all members, then what branches need."""
    table = survey_set(run, images, place=place, workers=workers)
    described = load(run.recipe, read_weights(run.weights), device=place.device)
    targets = []
    for settings, member in zip(run.recipe.members, described, strict=True):
        views = views_of(run.recipe, images.role, settings.name)
        made_from = set_made_from(run, images, settings, _views_made_from(run, images, views))
        blur = settings.blur if isinstance(settings, config.Network) else 0.0
        targets.append(Target(member, run.folder(images.name, settings.name), made_from, views, blur))
    extract(
        targets,
        images,
        settings=run.recipe.extract,
        place=place,
        workers=workers,
        substitute=substitute_of(run, images),
        table=table,
    )
    describe_branches(run, images, place=place, workers=workers)


def _views_made_from(run: Run, images: ImageSet, views: Wanted) -> list[str]:
    """What decides the views of a member, in words for its receipt."""
    words = [f"{view.name}{view.box}{view.turns}{view.mirror}" for view in views.fixed]
    words += [view.name for view in views.fixed if view.square_first]
    substitution = run.recipe.substitution if images.role is Role.QUERY else None
    if views.finds or (substitution is not None and not substitution.boxes):
        found = read_receipt(table_folder(run, images.name))["made_from"]
        overlays = config.to_dict(views.overlays) if views.overlays else None
        words.append(hashlib.sha256(json.dumps([found, overlays], sort_keys=True).encode()).hexdigest())
    return words
