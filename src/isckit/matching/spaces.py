"""The spaces that branches compare embeddings in: the Descriptor track's, or one of their own, fitted on train."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from isckit import config
from isckit.matching.cut import threshold
from isckit.matching.inputs import references_of
from isckit.runs import made_from
from isckit.runs.artifacts import rows_digest, write_json
from isckit.runs.embeddings import mapped, read_embeddings, write_embeddings
from isckit.runs.records import Threshold, read_json
from isckit.runs.run import Run
from isckit.runs.steps import Output, make
from isckit.types import WHOLE, Embeddings, Role
from isckit.vectors.described import bank, combined, described_from, ensembled, train_vectors
from isckit.vectors.pca import Pca, fit_pca, identity, load_pca, project, save_pca

DYNAMIC = {"proposals": "proposal_*", "overlays": "overlay_*"}
"""View sets whose views differ from image to image, and what their views are called."""


def own_spaces(recipe: config.Recipe, branch: config.Branch) -> list[config.OwnSpace]:
    """Return the spaces that a branch of a recipe has of its own."""
    return list(branch.spaces(tuple(member.name for member in recipe.members)))


def fit_spaces(run: Run, branch: config.Branch) -> None:
    """Fit the projection of a branch's spaces on train, and store the train vectors in it: the bank to normalise by."""
    for own in own_spaces(run.recipe, branch):
        settings, train = config.to_dict(own.space), described_from(run, "train", own.members)
        folder = run.workspace.space(run.name, own.key)
        make(Output(folder, made_from.space(settings=settings, train=train)), partial(_fit_space, run, own, folder))


def _fit_space(run: Run, own: config.OwnSpace, folder: Path) -> dict[str, Any]:
    settings = own.space
    train = train_vectors(run, limit=settings.fit_images, members=own.members, how="pca")
    pca = fit_pca(train, dim=settings.dim, whiten=settings.whiten) if settings.dim else identity(train)
    save_pca(folder / "projection.npz", pca)
    vectors = _projected(run, own, pca, "train", (WHOLE,))
    write_embeddings(folder / "bank.h5", vectors)
    return {"fitted_on": train.role.value, "images": len(vectors.ids)}


def space_bank(run: Run, key: str | None) -> Embeddings:
    """Train vectors in a space; None for that of the Descriptor track.

    Raises:
        MissingInput: the run was not fitted.
    """
    return bank(run) if key is None else read_embeddings(run.fitted(run.workspace.space(run.name, key)) / "bank.h5")


def space_vectors(run: Run, key: str | None, image_set: str, *, view_sets: Sequence[str]) -> Embeddings:
    """Return the vectors of an image set in a space, of the whole images and of the views of some view sets.

    Raises:
        MissingInput: the run was not fitted, or the images were not extracted.
    """
    names = view_names(view_sets)
    if key is None:
        return ensembled(run, image_set, views=names)
    every = (own for branch in run.recipe.matching.branches for own in own_spaces(run.recipe, branch))
    found = next(own for own in every if own.key == key)
    return _projected(
        run, found, load_pca(run.fitted(run.workspace.space(run.name, key)) / "projection.npz"), image_set, names
    )


def view_names(view_sets: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the views of some sets, the whole image among them; those that differ from image to image
    end in "*".
    """
    from isckit.views.geometry import view_set  # imports torch

    fixed = view_set(tuple(name for name in view_sets if name not in DYNAMIC))
    return (*(view.name for view in fixed), *(DYNAMIC[name] for name in view_sets if name in DYNAMIC))


def _projected(run: Run, own: config.OwnSpace, pca: Pca, image_set: str, names: tuple[str, ...]) -> Embeddings:
    shards = combined(run, image_set, members=own.members, views=names)
    return mapped((project(part, pca) for part in shards), run.described.root)


Viewed = config.Views | config.Agreement


def fit_thresholds(run: Run, branch: Viewed) -> None:
    """Fit the thresholds of a branch, one a space, where it cuts by share.

    Raises:
        MissingInput: the spaces are not fitted.
        BadInput: too few train images for the share.
    """
    if branch.cut.by != "share":
        return
    share = _share(run, branch)
    for key, space in _spaces(branch).items():
        bank = space_bank(run, space)
        settings: dict[str, Any] = {
            "share": share,
            "norm_factor": branch.norm_factor,
            "norm_first": branch.norm_first,
            "norm_last": branch.norm_last,
        }
        path = run.workspace.threshold(run.name, key)
        output = Output(path, made_from.threshold(settings=settings, bank=rows_digest(bank.ids, bank.vectors)))
        make(output, partial(_fit_threshold, path, bank, settings))


def _share(run: Run, branch: Viewed) -> float:
    """Return the share of a branch's cut for the references that were described, which it is then fixed for."""
    views = [most_views(run.recipe, branch.view_sets(role)) for role in (Role.QUERY, Role.REFERENCE)]
    pairs = math.prod(views) * references_of(run)
    return min(branch.cut.amount, branch.cut.most / pairs) if pairs else branch.cut.amount


def most_views(recipe: config.Recipe, view_sets: Sequence[str]) -> int:
    """Return how many views of some sets an image has at most."""
    dynamic = {"proposals": recipe.proposals.most, "overlays": recipe.overlays.most}
    names = view_names(view_sets)
    return sum(not name.endswith("*") for name in names) + sum(dynamic[name] for name in view_sets if name in DYNAMIC)


def _fit_threshold(path: Path, bank: Embeddings, settings: dict[str, Any]) -> dict[str, Any]:
    write_json(path, {"threshold": threshold(bank, **settings), **settings})
    return {"fitted_on": bank.role.value, "images": len(bank.ids)}


def fitted_threshold(run: Run, branch: Viewed, member: str = "") -> float | None:
    """Return the threshold of a branch, of one of its members where each has its own; None for other cuts.

    Raises:
        MissingInput: the run was not fitted.
    """
    if branch.cut.by != "share":
        return None
    path = run.fitted(run.workspace.threshold(run.name, f"{branch.name}.{member}" if member else branch.name))
    return float(read_json(path, Threshold)["threshold"])


def _spaces(branch: Viewed) -> dict[str, str | None]:
    """Return the key of each threshold of a branch, and of the space that it holds in."""
    own = [space.key for space in branch.spaces(())]
    return {key: key for key in own} or {branch.name: None}
