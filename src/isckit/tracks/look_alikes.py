"""What a pair network is trained on: the look-alikes of the train images by a member of the same run."""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch

from isckit import config
from isckit.data.groups import LookAlikes
from isckit.data.material import Material
from isckit.engine.distributed import Place
from isckit.engine.look_alikes import look_alikes, tensors_digest
from isckit.models.members import load
from isckit.tracks.run import Run
from isckit.types import BadInput


def neighbours_of(
    run: Run,
    network: config.PairNetwork,
    weights: Mapping[str, torch.Tensor],
    material: Material,
    *,
    place: Place,
    workers: int,
) -> LookAlikes:
    """Look-alikes by the member that `network.neighbours` names, long enough for all stages; resumable.

    Args:
        run: that trains.
        network: settings of the pair network.
        weights: of the members trained so far, "<member>.<parameter>".
        material: the train images.
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
        "images": material.train.listing_digest(),
        "extract": json.dumps(config.to_dict(run.recipe.extract), sort_keys=True),
    }
    return look_alikes(
        built,
        material.train,
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
