"""The vectors of a run as they lie on disk: members joined, ensembled, fitted on train; and what they are made from."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.runs.artifacts import file_digest, is_fresh, read_receipt, write_receipt
from isckit.runs.embeddings import read_embeddings, read_shards, write_embeddings
from isckit.runs.meter import measured
from isckit.runs.run import Run
from isckit.types import WHOLE, Embeddings, MissingInput, Role
from isckit.vectors.pca import Pca, combine, fit_projection, load_pca, project, save_pca
from isckit.views.overlays import boxes_digest

log = logging.getLogger(__name__)

How = Literal["pca", "shared"]
ViewNames = Sequence[str] | None


def set_made_from(run: Run, images: ImageSet, member: config.Member, views: Sequence[str]) -> dict[str, str]:
    """What decides the freshness of one member's embeddings of an image set."""
    return {
        "member": json.dumps(config.to_dict(member), sort_keys=True),
        "weights": file_digest(run.weights),
        "images": images.listing_digest(),
        "views": " ".join(views),
        "extract": json.dumps(config.to_dict(run.recipe.extract), sort_keys=True),
    } | substituted_from(run.recipe.substitution, images.role)


def substituted_from(substitution: config.Substitution | None, role: Role) -> dict[str, str]:
    """What decides the pictures put in place of queries; nothing for other images, which stay as they are."""
    if substitution is None or role is not Role.QUERY:
        return {}
    boxes = boxes_digest(Path(substitution.boxes)) if substitution.boxes else "the recipe's detector"
    return {"boxes": boxes, "confidence": str(substitution.confidence)}


def fit(run: Run) -> None:
    """Fit the ensemble's projection on train, and store the ensembled train vectors as the bank of normalisations."""
    made_from = {"recipe": _digest(config.to_dict(run.recipe.ensemble)), "train": described_from(run, "train")}
    pca_path, bank_path = run.workspace.ensemble(run.name), run.workspace.bank(run.name)
    if is_fresh(pca_path, made_from) and is_fresh(bank_path, made_from):
        log.info("the ensemble is already fitted: %s", pca_path)
        return
    with measured() as cost:
        train = train_vectors(run)
        pca = fit_projection(train, run.recipe.ensemble)
        save_pca(pca_path, pca)
    facts = {"fitted_on": train.role.value, "images": len(train.ids), "cost": cost.record(images=len(train.ids))}
    write_receipt(pca_path, made_from=made_from, facts=facts)
    with measured() as cost:
        bank = ensembled(run, "train", pca=pca)
        write_embeddings(bank_path, bank)
    facts = {"fitted_on": bank.role.value, "images": len(bank.ids), "cost": cost.record(images=len(bank.ids))}
    write_receipt(bank_path, made_from=made_from, facts=facts)
    how, (dim, width) = run.recipe.ensemble.how, pca.components.shape
    log.info("fitted the ensemble (%s) %d -> %d on %d train images", how, width, dim, len(train.ids))


def bank(run: Run) -> Embeddings:
    """The ensembled train vectors.

    Raises:
        MissingInput: the run was not fitted.
    """
    path = run.workspace.bank(run.name)
    if not path.is_file():
        raise MissingInput(seen=f"no {path}", allowed="a fitted run", remedy=f"run: isckit fit --name {run.name}")
    return read_embeddings(path)


def ensembled(run: Run, image_set: str, *, views: ViewNames = (WHOLE,), pca: Pca | None = None) -> Embeddings:
    """The ensemble's vectors of an image set, projected shard by shard; of the whole images, or of other views too."""
    pca = pca or load_pca(run.workspace.ensemble(run.name))
    settings = run.recipe.ensemble
    parts = combined(run, image_set, members=settings.members, views=views, how=settings.how)
    return Embeddings.joined([project(part, pca) for part in parts])


def combined(
    run: Run, image_set: str, *, members: Sequence[str] = (), views: ViewNames = (WHOLE,), how: How = "pca"
) -> Iterator[Embeddings]:
    """The vectors of some members (() all) as one, shard by shard, of the views that are asked for (None: all).

    Raises:
        MissingInput: a member was not extracted.
        BadInput: the members do not have these views of the same images in common.
    """
    chosen = [member for member in run.recipe.members if not members or member.name in members]
    for member in chosen:
        _receipt(run, image_set, member.name)
    folders = [read_shards(run.folder(image_set, member.name)) for member in chosen]
    weights = [member.weight for member in chosen]
    for parts in zip(*folders, strict=True):
        yield combine([part.named(views) for part in parts], weights, how=how)


def train_vectors(
    run: Run, *, limit: int | None = None, members: Sequence[str] = (), how: How | None = None
) -> Embeddings:
    """What a space is fitted on: train images by its members, at most `limit`, drawn by the recipe's seed.

    Without arguments that of the Descriptor track's ensemble.
    """
    settings = run.recipe.ensemble
    limit, how, members = limit or settings.fit_images, how or settings.how, members or settings.members
    images = _receipt(run, "train", members[0] if members else run.recipe.members[0].name)["facts"]["images"]
    drawn = np.full(images, images <= limit)
    if images > limit:
        drawn[np.random.default_rng(run.recipe.seed).choice(images, limit, replace=False)] = True
    parts, start = [], 0
    for whole in combined(run, "train", members=members, how=how):  # not yet reduced, all of train may be too much
        parts.append(whole.take(drawn[start : start + len(whole.ids)]))
        start += len(whole.ids)
    return Embeddings.joined(parts)


def _receipt(run: Run, image_set: str, member: str) -> dict:
    folder = run.folder(image_set, member)
    receipt = read_receipt(folder) if folder.exists() else None
    if receipt is None or not receipt["facts"]["complete"]:
        raise MissingInput(
            seen=f"no complete embeddings of {image_set} by {member} in run {run.name!r}",
            allowed="a finished extraction",
            remedy=f"run: isckit extract --name {run.name} --sets {image_set} --data DIR",
        )
    return receipt


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def image_ids(run: Run, image_set: str) -> np.ndarray:
    """Sorted text ids of an image set that was extracted."""
    shards = read_shards(run.folder(image_set, run.recipe.members[0].name))
    return np.unique(np.concatenate([part.ids for part in shards]))


def described_from(run: Run, image_set: str, members: Sequence[str] = ()) -> str:
    """Digest of what the embeddings of an image set by some members (() all) are made from."""
    return _digest(
        [_receipt(run, image_set, m.name)["made_from"] for m in run.recipe.members if not members or m.name in members]
    )


def inputs(run: Run, image_set: str) -> dict[str, str]:
    """Digests of what an image set's ensembled vectors are made from, for receipts downstream."""
    return {
        "recipe": config.digest(run.recipe),
        "ensemble": file_digest(run.workspace.ensemble(run.name)),
        "bank": file_digest(run.workspace.bank(run.name)),
        image_set: described_from(run, image_set),
        "references": described_from(run, "references"),
    }
