"""What is described of an image set, for all members and branches of a recipe."""

from __future__ import annotations

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.engine.distributed import Place
from isckit.engine.extract import Target, extract
from isckit.models.members import load
from isckit.storage.checkpoints import read_weights
from isckit.tracks.run import Run, set_made_from
from isckit.types import Role
from isckit.views.geometry import View, view_set


def views_of(recipe: config.Recipe, role: Role) -> tuple[View, ...]:
    """The views described of an image set: of train only the whole image, as nothing is matched against crops of it."""
    sets: list[str] = []
    for branch in recipe.matching.viewed:
        sets += {Role.QUERY: branch.query_views, Role.REFERENCE: branch.reference_views}.get(role, ())
    return view_set(tuple(dict.fromkeys(sets)))


def extract_set(run: Run, images: ImageSet, *, place: Place, workers: int) -> None:
    """Extract the embeddings of one image set by all members, with the views of its role."""
    views = views_of(run.recipe, images.role)
    names = [f"{view.name}{view.box}{view.turns}{view.mirror}" for view in views]
    described = load(run.recipe, read_weights(run.weights), device=place.device)
    targets = [
        Target(member, run.folder(images.name, settings.name), set_made_from(run, images, settings, names))
        for settings, member in zip(run.recipe.members, described, strict=True)
    ]
    extract(
        targets,
        images,
        views=views,
        settings=run.recipe.extract,
        place=place,
        workers=workers,
        substitution=run.recipe.substitution,
    )
