"""The torch half of a run: train its members, or install given weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import torch

from isckit import config
from isckit.data.material import Material
from isckit.engine.distributed import Place, deterministic
from isckit.judge.rules.training import training_logs
from isckit.models.members import Built, build, load, prefixed, read
from isckit.storage.artifacts import file_digest, is_fresh, write_receipt
from isckit.storage.checkpoints import write_weights
from isckit.storage.meter import measured
from isckit.tracks.run import Run
from isckit.types import BadInput, Role

log = logging.getLogger(__name__)


def install(run: Run, checkpoint: Path, *, place: Place) -> None:
    """Take weights from a file instead of training.

    Raises:
        BadInput: the file does not fit the recipe, or is not safe to read.
        StaleArtifact: the run already has other weights.
    """
    weights = read(run.recipe, checkpoint)
    load(run.recipe, weights, device=place.device)
    made_from = {"checkpoint": file_digest(checkpoint)}
    if not is_fresh(run.weights, made_from) and place.first:
        write_weights(run.weights, weights, recipe=config.to_json(run.recipe))
        write_receipt(run.weights, made_from=made_from, facts={"source": checkpoint.name})


def train_members(
    run: Run, material: Material | None, *, place: Place, workers: int, witness: Path | None = None
) -> None:
    """Train every network of the recipe that has stages, in their order; the others keep their initial weights.

    What the training loaders yield is written down in the file `witness`, where one is given.
    """
    from isckit.engine.train import train  # heavy, and inference goes without

    weights: dict[str, torch.Tensor] = {}
    drawn = _draws(run)
    with measured() as cost:
        for member in run.recipe.members:
            if isinstance(member, config.Network) and member.stages:
                assert material is not None
                state = train(
                    member,
                    material,
                    seed=run.recipe.seed,
                    folder=run.workspace.training(run.name, member.name),
                    place=place,
                    workers=workers,
                    witness=witness,
                    anchor=_anchor(run.recipe, member, weights, device=place.device),
                )
            else:
                deterministic(run.recipe.seed)
                state = build(member).state_dict()
            weights |= prefixed(member.name, state)
    if place.first:
        write_weights(run.weights, weights, recipe=config.to_json(run.recipe))
        write_receipt(
            run.weights,
            made_from={"images": material.digest() if material else ""},
            facts={
                "trained_on": Role.TRAIN.value,
                "device": str(place.device),
                "threads": torch.get_num_threads(),
                "cost": cost.record(images=_draws(run) - drawn),
            },
        )


def _anchor(
    recipe: config.Recipe, member: config.Network, weights: Mapping[str, torch.Tensor], *, device: torch.device
) -> Built | None:
    """The member whose features this one learns, with its weights, where a stage of this one does.

    Raises:
        BadInput: no member of that name stands before it.
    """
    names = {stage.loss.anchor for stage in member.stages if isinstance(stage.loss, config.Compatibility)}
    if not names:
        return None
    earlier = recipe.members[: recipe.members.index(member)]
    found = [other for other in earlier if {other.name} == names]
    if not found:
        raise BadInput(
            seen=f"member {member.name} learns the features of {', '.join(sorted(names))}",
            allowed=f"one member that stands before it: {', '.join(m.name for m in earlier) or 'there is none'}",
            remedy="correct loss.anchor, or the order of the members",
        )
    own = {key: value for key, value in weights.items() if key.startswith(f"{found[0].name}.")}
    return load(config.replace(recipe, members=tuple(found)), own, device=device)[0]


def _draws(run: Run) -> int:
    """Images drawn by the epochs that the training logs hold so far."""
    epochs = [epoch for log in training_logs(run.workspace.checkpoint(run.name)).values() for epoch in log]
    return sum(drawn["draws"] for epoch in epochs for drawn in epoch["consumed"].values())
