"""The nearest train images of every train image, by the embeddings of a trained member; in blocks, resumable."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.data.items import LookAlikes
from isckit.data.training import TrainingData
from isckit.engine.describe import Describer, Target, extract
from isckit.engine.distributed import Process
from isckit.models.members import load
from isckit.runs import made_from
from isckit.runs.artifacts import write_array
from isckit.runs.embeddings import read_shards
from isckit.runs.run import Run
from isckit.runs.steps import Advance, Output, Writer, make_shards, shards
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
    process: Process,
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
        process: this one.
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
        [Target(member)],
        [Output(described, made_from, ".h5")],
        train,
        settings=settings,
        process=process,
        workers=workers,
    )
    vectors = np.concatenate([part.vectors for part in read_shards(described)])
    lists = folder / f"nearest-{count}"
    output, parts = Output(lists, made_from, ".npy"), shards(len(vectors), BLOCK)
    bank = torch.from_numpy(vectors).to(process.device)

    def work(rows: range, advance: Advance) -> tuple[list[Writer], None]:
        found = nearest_rows(bank, rows, count)
        advance(len(rows))
        return [lambda path: write_array(path, found)], None

    facts = {"images": len(vectors), "count": count}
    make_shards([output], parts, work, title="look-alikes", facts=lambda _: facts, executor=process.executor)
    rows = np.concatenate([np.load(output.shard(number), allow_pickle=False) for number in range(len(parts))])
    return LookAlikes(rows, vectors)


def tensors_digest(weights: Mapping[str, torch.Tensor]) -> str:
    """Return the sha256 of a table of tensors, for `made_from`."""
    sha = hashlib.sha256()
    for key in sorted(weights):
        sha.update(key.encode())
        sha.update(weights[key].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return sha.hexdigest()


def nearest_rows(bank: torch.Tensor, rows: range, count: int) -> np.ndarray:
    """Return (rows, count) int32: of each of these rows of the bank (n, d) those of largest product, itself in
    front.
    """
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
    process: Process,
    workers: int,
) -> LookAlikes:
    """Look-alikes by the member that `network.neighbours` names, long enough for all stages; resumable.

    Args:
        run: that trains.
        network: settings of the pair network.
        weights: of the members trained so far, "<member>.<parameter>".
        training_data: the train images.
        process: this one.
        workers: image loading processes.

    Raises:
        BadInput: no such member, or fewer train images than a group.
    """
    member = _member(run.recipe, network.neighbours, "neighbours")
    own = {key: value for key, value in weights.items() if key.startswith(f"{member.name}.")}
    built = load(config.replace(run.recipe, **_alone(member)), own, device=process.device)[0]
    inputs = made_from.embeddings(
        member=config.to_dict(member),
        weights=tensors_digest(own),
        images=training_data.train.content_digest(),
        extract=config.to_dict(run.recipe.extract),
    )
    return look_alikes(
        built,
        training_data.train,
        count=max(stage.group for stage in network.stages),
        folder=run.workspace.neighbours(run.name, member.name),
        made_from=inputs,
        settings=run.recipe.extract,
        process=process,
        workers=workers,
    )


def start_of(
    recipe: config.Recipe, network: config.PairNetwork, weights: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor] | None:
    """Return the weights that a pair network begins with, where it names a member to take them from.

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
    """Return a recipe's fields with this member alone, whose branches ask for no other."""
    return {"members": (member,), "matching": config.Matching()}
