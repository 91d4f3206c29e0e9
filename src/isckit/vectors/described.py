"""The vectors of a run as they lie on disk: members joined, ensembled, fitted on train; and what they are made from."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.runs import made_from
from isckit.runs.artifacts import file_digest
from isckit.runs.embeddings import mapped, read_embeddings, read_shards, write_embeddings
from isckit.runs.run import Run
from isckit.runs.steps import Output, make
from isckit.types import WHOLE, Embeddings, Role
from isckit.vectors.checks import l2
from isckit.vectors.normalise import Normaliser, fit_normaliser
from isckit.vectors.pca import Pca, combine, fit_projection, load_pca, project, save_pca
from isckit.views.overlays import boxes_digest

log = logging.getLogger(__name__)

How = Literal["pca", "shared"]
ViewNames = Sequence[str] | None


def set_made_from(run: Run, images: ImageSet, member: config.Member, views: Sequence[str]) -> made_from.MadeFrom:
    """Return what decides the freshness of one member's embeddings of an image set."""
    return made_from.embeddings(
        member=config.to_dict(member),
        weights=file_digest(run.weights),
        images=images.content_digest(),
        extract=config.to_dict(run.recipe.extract),
        views=views,
    ) | substituted_from(run.recipe.substitution, images.role)


def substituted_from(substitution: config.Substitution | None, role: Role) -> made_from.MadeFrom:
    """Return what decides the pictures put in place of queries; nothing for other images, which stay as they are."""
    if substitution is None or role is not Role.QUERY:
        return {}
    boxes = boxes_digest(Path(substitution.boxes)) if substitution.boxes else "the recipe's detector"
    return made_from.substituted(boxes=boxes, confidence=substitution.confidence)


def fit(run: Run) -> None:
    """Fit the ensemble's projection on train, and store the ensembled train vectors as the bank of normalisations."""
    settings = config.to_dict(run.recipe.ensemble)
    inputs = made_from.ensemble(settings=settings, train=described_from(run, "train"))
    pca_path, bank_path = run.workspace.ensemble(run.name), run.workspace.bank(run.name)

    def projection() -> dict[str, Any]:
        train = train_vectors(run)
        pca = fit_projection(train, run.recipe.ensemble)
        save_pca(pca_path, pca)
        log.info("ensemble (%s) %d -> %d", run.recipe.ensemble.how, *reversed(pca.components.shape))
        return {"fitted_on": train.role.value, "images": len(train.ids)}

    def background() -> dict[str, Any]:
        vectors = ensembled(run, "train")
        write_embeddings(bank_path, vectors)
        return {"fitted_on": vectors.role.value, "images": len(vectors.ids)}

    make(Output(pca_path, inputs), projection)
    make(Output(bank_path, inputs), background)


def bank(run: Run) -> Embeddings:
    """Return the ensembled train vectors.

    Raises:
        MissingInput: the run was not fitted.
    """
    return read_embeddings(run.fitted(run.workspace.bank(run.name)))


class FittedSpace(NamedTuple):
    """The Descriptor track's space: what is fitted on train, and what normalises against it."""

    pca: Pca
    normaliser: Normaliser


def space_of(run: Run) -> FittedSpace:
    """Return the fitted space of a run.

    Raises:
        MissingInput: the run was not fitted.
    """
    return FittedSpace(
        load_pca(run.fitted(run.workspace.ensemble(run.name))), fit_normaliser(bank(run), run.recipe.normalise)
    )


def ensembled(run: Run, image_set: str, *, views: ViewNames = (WHOLE,)) -> Embeddings:
    """Return the ensemble's vectors of an image set, projected shard by shard; of the whole images, or of other views
    too.
    """
    pca = load_pca(run.workspace.ensemble(run.name))
    settings = run.recipe.ensemble
    parts = combined(run, image_set, members=settings.members, views=views, how=settings.how)
    return mapped((project(part, pca) for part in parts), run.described.root)


def combined(
    run: Run,
    image_set: str,
    *,
    members: Sequence[str] = (),
    views: ViewNames = (WHOLE,),
    how: How = "pca",
    weights: Sequence[float] = (),
) -> Iterator[Embeddings]:
    """Yield the vectors of some members (() all) as one, shard by shard, of the views that are asked for (None: all).

    Members have the weights of the recipe, or those given. Images that do not decode have no vector: grey, which was
    described in their place, would resemble grey.

    Raises:
        MissingInput: a member was not extracted.
        BadInput: the members do not have these views of the same images in common.
    """
    chosen = [member for member in run.recipe.members if not members or member.name in members]
    for member in chosen:
        run.finished(run.folder(image_set, member.name))
    folders = [read_shards(run.folder(image_set, member.name)) for member in chosen]
    weights = weights or [member.weight for member in chosen]
    broken = list(replaced(run, image_set))
    for parts in zip(*folders, strict=True):
        joined = combine([part.named(views) for part in parts], weights, how=how)
        yield joined.take(~np.isin(joined.ids, broken)) if broken else joined


def replaced(run: Run, image_set: str) -> dict[str, str]:
    """Return the images of a set that do not decode, each with its reason; of a run whose policy replaces them.

    Raises:
        MissingInput: the images were not extracted.
    """
    return run.finished(run.folder(image_set, run.recipe.members[0].name))["facts"].get("replaced", {})


FAR = 100.0
"""Length of the descriptors of images that do not decode; all others are of unit length, or a few times that."""


def with_broken(described: Embeddings, broken: Collection[str]) -> Embeddings:
    """Return descriptors with a further row for each image that does not decode, far from everything.

    Each lies in a direction of its own, drawn by its id: far from the others, too, and the same in any company.
    """
    if not broken:
        return described
    rows = np.empty((len(broken), described.vectors.shape[1]), np.float32)
    for row, name in zip(rows, broken, strict=True):
        seed = int.from_bytes(hashlib.sha256(f"{described.role} {name}".encode()).digest()[:8])
        row[:] = np.random.default_rng(seed).normal(size=len(row))
    whole = np.full(len(broken), described.view_names.index(WHOLE), np.int16)
    ids = np.array([*broken], str)
    far = Embeddings(described.role, ids, np.float32(FAR) * l2(rows), described.view_names, whole)
    return Embeddings.joined([described, far])


def train_vectors(
    run: Run, *, limit: int | None = None, members: Sequence[str] = (), how: How | None = None
) -> Embeddings:
    """Return what a space is fitted on: train images by its members, at most `limit`, drawn by the recipe's seed.

    Without arguments that of the Descriptor track's ensemble.
    """
    settings = run.recipe.ensemble
    limit, how, members = limit or settings.fit_images, how or settings.how, members or settings.members
    facts = run.finished(run.folder("train", members[0] if members else run.recipe.members[0].name))["facts"]
    images = facts["images"] - len(facts.get("replaced", {}))
    drawn = np.full(images, images <= limit)
    if images > limit:
        drawn[np.random.default_rng(run.recipe.seed).choice(images, limit, replace=False)] = True
    parts, start = [], 0
    for whole in combined(run, "train", members=members, how=how):  # not yet reduced, all of train may be too much
        parts.append(whole.take(drawn[start : start + len(whole.ids)]))
        start += len(whole.ids)
    return Embeddings.joined(parts)


def image_ids(run: Run, image_set: str) -> np.ndarray:
    """Return sorted text ids of the images of a set that were described."""
    shards = read_shards(run.folder(image_set, run.recipe.members[0].name))
    return np.setdiff1d(np.concatenate([part.ids for part in shards]), np.array([*replaced(run, image_set)], str))


def described_from(run: Run, image_set: str, members: Sequence[str] = ()) -> str:
    """Return the digest of what the embeddings of an image set by some members (() all) are made from."""
    chosen = [member.name for member in run.recipe.members if not members or member.name in members]
    return made_from.described([run.finished(run.folder(image_set, name))["made_from"] for name in chosen])


def submitted_from(run: Run, query_set: str, parts: Mapping[str, Path]) -> made_from.MadeFrom:
    """Return what a submission's file is made from; `parts` are fitted files, by name."""
    return made_from.submission(
        recipe=config.digest(run.recipe),
        parts={part: file_digest(run.fitted(path)) for part, path in parts.items()},
        sets={name: described_from(run, name) for name in (query_set, "references")},
    )
