"""The nearest train images of every train image, by the embeddings of a trained member; in blocks, resumable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.data.items import LookAlikes
from isckit.data.training import TrainingData
from isckit.engine.describe import Describer, Target, extract
from isckit.engine.distributed import Place
from isckit.models.members import load
from isckit.runs.artifacts import atomic, is_fresh, write_receipt
from isckit.runs.embeddings import read_shards
from isckit.runs.run import Run
from isckit.types import BadInput

BLOCK = 65_536
"""Images whose lists are found, and written, at once."""
_TILE = 1_024


def look_alikes(
    member: Describer,
    train: ImageSet,
    *,
    count: int,
    folder: Path,
    made_from: Mapping[str, Any],
    settings: config.Extract,
    place: Place,
    workers: int,
) -> LookAlikes:
    """Describe the train images by a built member, unless that was done, and list for each the `count` nearest.

    Args:
        member: in evaluation mode, on the device.
        train: role train or external.
        count: length of a list; the image itself comes first.
        folder: of the embeddings and lists; what is there is taken up.
        made_from: what decides the freshness of the embeddings, with that of the member's weights.
        settings: of the extraction.
        place: of this process.
        workers: image loading processes.

    Raises:
        BadInput: fewer images than `count`, or broken ones.
        StaleArtifact: the folder holds what was made from something else.
    """
    if count > len(train):
        raise BadInput(
            seen=f"lists of {count} look-alikes of {len(train)} train images",
            allowed="no more look-alikes than images",
            remedy="lower the stages' group, or train on more images",
        )
    described = folder / "embeddings"
    extract(
        [Target(member, described, made_from)],
        train,
        settings=settings,
        place=place,
        workers=workers,
    )
    vectors = np.concatenate([part.vectors for part in read_shards(described)])
    lists = folder / f"nearest-{count}"
    if not is_fresh(lists, made_from):
        _write_lists(vectors, count, lists, place=place)
        if place.first:
            write_receipt(lists, made_from=made_from, facts={"images": len(vectors), "count": count})
        place.barrier()
    rows = np.concatenate([np.load(path, allow_pickle=False) for path in sorted(lists.glob("rows-*.npy"))])
    return LookAlikes(rows, vectors)


def tensors_digest(weights: Mapping[str, torch.Tensor]) -> str:
    """sha256 of a table of tensors, for `made_from`."""
    sha = hashlib.sha256()
    for key in sorted(weights):
        sha.update(key.encode())
        sha.update(weights[key].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _write_lists(vectors: np.ndarray, count: int, folder: Path, *, place: Place) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    bank = torch.from_numpy(vectors).to(place.device)
    starts = range(0, len(vectors), BLOCK)
    for number, start in enumerate(tqdm(starts, "look-alikes", unit="block", disable=not place.first)):
        path = folder / f"rows-{number:05d}.npy"
        if number % place.world == place.rank and not path.is_file():
            rows = nearest_rows(bank, range(start, min(start + BLOCK, len(vectors))), count)
            with atomic(path) as temporary, temporary.open("wb") as file:
                np.save(file, rows)
    place.barrier()


def nearest_rows(bank: torch.Tensor, rows: range, count: int) -> np.ndarray:
    """(rows, count) int32: of each of these rows of the bank (n, d) those of largest product, itself in front."""
    found = []
    for start in range(rows.start, rows.stop, _TILE):
        tile = torch.arange(start, min(start + _TILE, rows.stop), device=bank.device)
        scores = bank[tile] @ bank.T
        scores[torch.arange(len(tile), device=bank.device), tile] = torch.inf  # before copies of it
        found.append(scores.topk(count, dim=1).indices.to(torch.int32).cpu().numpy())
    return np.concatenate(found)


def neighbours_of(
    run: Run,
    network: config.PairNetwork,
    weights: Mapping[str, torch.Tensor],
    training_data: TrainingData,
    *,
    place: Place,
    workers: int,
) -> LookAlikes:
    """Look-alikes by the member that `network.neighbours` names, long enough for all stages; resumable.

    Args:
        run: that trains.
        network: settings of the pair network.
        weights: of the members trained so far, "<member>.<parameter>".
        training_data: the train images.
        place: of this process.
        workers: image loading processes.

    Raises:
        BadInput: no such member, or fewer train images than a group.
    """
    member = _member(run.recipe, network.neighbours, "neighbours")
    own = {key: value for key, value in weights.items() if key.startswith(f"{member.name}.")}
    built = load(config.replace(run.recipe, **_alone(member)), own, device=place.device)[0]
    made_from = {
        "member": json.dumps(config.to_dict(member), sort_keys=True),
        "weights": tensors_digest(own),
        "images": training_data.train.listing_digest(),
        "extract": json.dumps(config.to_dict(run.recipe.extract), sort_keys=True),
    }
    return look_alikes(
        built,
        training_data.train,
        count=max(stage.group for stage in network.stages),
        folder=run.workspace.neighbours(run.name, member.name),
        made_from=made_from,
        settings=run.recipe.extract,
        place=place,
        workers=workers,
    )


def start_of(
    recipe: config.Recipe, network: config.PairNetwork, weights: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor] | None:
    """The weights that a pair network begins with, where it names a member to take them from.

    Raises:
        BadInput: no such member.
    """
    if not network.weights_of:
        return None
    prefix = f"{_member(recipe, network.weights_of, 'weights_of').name}."
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


def _member(recipe: config.Recipe, name: str, what: str) -> config.Member:
    for member in recipe.members:
        if member.name == name:
            return member
    raise BadInput(
        seen=f"a pair network with {what}={name!r}",
        allowed=f"a member of the recipe: {', '.join(member.name for member in recipe.members)}",
        remedy=f"correct {what} of the pair network",
    )


def _alone(member: config.Member) -> dict:
    """A recipe's fields with this member alone, whose branches ask for no other."""
    return {"members": (member,), "matching": config.Matching()}
