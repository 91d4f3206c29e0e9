"""The torch half of a run: train its members, or install given weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isckit import config
from isckit.data.doctor import broken_images
from isckit.data.image_sets import ImageSet, open_folder
from isckit.data.images import listed, stop_message
from isckit.data.layouts import Disc, require
from isckit.data.training import TrainingData, training_data
from isckit.engine.distributed import Process, deterministic
from isckit.judge.rules.training import training_logs
from isckit.models.members import Built, build, load, prefixed, read
from isckit.runs import made_from
from isckit.runs.artifacts import is_fresh, weights_digest, write_receipt, write_text
from isckit.runs.checkpoints import write_weights
from isckit.runs.meter import measured
from isckit.runs.run import Run, begin
from isckit.runs.workspace import METRICS
from isckit.types import BadInput, Role
from isckit.views.faces import with_faces

log = logging.getLogger(__name__)


def install(run: Run, checkpoint: Path, *, process: Process) -> None:
    """Take weights from a file, or from a folder with a file for each member, instead of training.

    The training logs come along where it is the file of a run.

    Raises:
        BadInput: the file does not fit the recipe, or is not safe to read.
        StaleArtifact: the run already has other weights.
    """
    weights = read(run.recipe, checkpoint)
    load(run.recipe, weights, device=process.device)
    begin(run.workspace, run.name, run.recipe)
    inputs = made_from.weights(checkpoint=weights_digest(checkpoint))
    if not is_fresh(run.weights, inputs) and process.first:
        write_weights(run.weights, weights, recipe=config.to_json(run.recipe))
        beside = checkpoint if checkpoint.is_dir() else checkpoint.parent
        for path in sorted((beside / "training").glob(f"*/{METRICS}")):
            log_of = run.workspace.training(run.name, path.parent.name)
            log_of.mkdir(parents=True, exist_ok=True)
            write_text(log_of / METRICS, path.read_text(encoding="utf-8"))
        write_receipt(run.weights, made_from=inputs, facts={"source": checkpoint.name})


@dataclass(frozen=True)
class Session:
    """The inputs that every training of a run needs."""

    run: Run
    training_data: TrainingData | None
    process: Process
    workers: int
    witness: Path | None

    def common(self, name: str) -> dict[str, Any]:
        """Return the arguments that all kinds of training share, for the part of that name."""
        return {
            "seed": seed_of(self.run.recipe, name),
            "folder": self.run.workspace.training(self.run.name, name),
            "process": self.process,
            "workers": self.workers,
            "witness": self.witness,
        }


_SEEDS = 1_000_000_007
"""Between the seeds of two parts of a recipe: more than all stages of one are apart."""


def seed_of(recipe: config.Recipe, name: str) -> int:
    """Return the seed of a part that is trained: networks of an ensemble draw different pictures in different orders.

    The first part has the recipe's own.
    """
    detector = [recipe.detector.name] if recipe.detector is not None else []
    names = [*(part.name for part in recipe.trained), *detector, *(part.name for part in recipe.pair_networks)]
    return recipe.seed + _SEEDS * names.index(name)


def train_members(
    run: Run, images: TrainingData | None, *, process: Process, workers: int, witness: Path | None = None
) -> None:
    """Train whatever the recipe trains: ensemble members in their order, its detector, its pair networks.

    What is not trained keeps its initial weights. What the training loaders yield is written down in the file
    `witness`, where one is given.
    """
    session = Session(run, images, process, workers, witness)
    weights: dict[str, torch.Tensor] = {}
    drawn = _draws(run)
    with measured() as cost:
        for member in run.recipe.members:
            if not (isinstance(member, config.Network) and member.weights_of):
                weights |= prefixed(member.name, _member(session, member, weights))
        if run.recipe.detector is not None:
            weights |= prefixed(run.recipe.detector.name, _detector(session, run.recipe.detector))
        for network in run.recipe.pair_networks:
            weights |= prefixed(network.name, _pair_network(session, network, weights))
    if process.first:
        write_weights(run.weights, weights, recipe=config.to_json(run.recipe))
        write_receipt(
            run.weights,
            made_from=made_from.weights(images=images.digest() if images else None),
            facts={
                "trained_on": (images.train.role if images else Role.TRAIN).value,
                "device": str(process.device),
                "threads": torch.get_num_threads(),
                "cost": cost.record(images=_draws(run) - drawn),
            },
        )


def training_images(run: Run, disc: Disc, *, workers: int) -> TrainingData | None:
    """Return the images that a recipe trains on, each of them looked at first; None where it trains nothing.

    Raises:
        MissingInput: images that a stage needs are not there.
        BadInput: broken images under the policy "stop", all of them listed.
    """
    if not run.recipe.learns:
        return None
    # What is trained without labels takes any images: a folder without DISC21's is one of external data.
    anything = run.recipe.pretrains and disc.train is None
    found = open_folder(disc.root, Role.EXTERNAL) if anything else require(disc, "train")
    train = sound(found, on_broken=run.recipe.extract.on_broken, workers=workers)
    images = training_data(disc, train, run.recipe.stages)
    return with_faces(images, run.recipe.stages, path=run.workspace.faces(run.name), workers=workers)


def _member(session: Session, member: config.Member, weights: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    recipe = session.run.recipe
    if isinstance(member, config.Fisher):
        from isckit.engine.fisher import fit_fisher

        assert session.training_data is not None
        folder = session.run.workspace.training(session.run.name, member.name)
        return fit_fisher(
            member,
            session.training_data.train,
            seed=recipe.seed,
            folder=folder,
            process=session.process,
            workers=session.workers,
        )
    if not isinstance(member, config.Network) or not member.stages:
        deterministic(recipe.seed)
        return build(member).state_dict()
    from isckit.engine.train import train  # heavy, and inference goes without

    assert session.training_data is not None
    anchor = _anchor(recipe, member, weights, device=session.process.device)
    return train(member, session.training_data, anchor=anchor, **session.common(member.name))


def _detector(session: Session, settings: config.Detector) -> Mapping[str, torch.Tensor]:
    from isckit.engine.detector_training import train_detector

    assert session.training_data is not None
    return train_detector(settings, session.training_data, **session.common(settings.name))


def _pair_network(
    session: Session, network: config.PairNetwork, weights: Mapping[str, torch.Tensor]
) -> Mapping[str, torch.Tensor]:
    from isckit.engine.look_alikes import neighbours_of, start_of
    from isckit.engine.pair_training import train_pairs

    assert session.training_data is not None
    neighbours = neighbours_of(
        session.run, network, weights, session.training_data, process=session.process, workers=session.workers
    )
    start = start_of(session.run.recipe, network, weights)
    return train_pairs(
        network, session.training_data, neighbours=neighbours, start=start, **session.common(network.name)
    )


def _anchor(
    recipe: config.Recipe, member: config.Network, weights: Mapping[str, torch.Tensor], *, device: torch.device
) -> Built | None:
    """Return the member whose features this one learns, with its weights, where a stage of this one does.

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
    """Return the images drawn by the epochs that the training logs hold so far."""
    epochs = [epoch for log in training_logs(run.workspace.checkpoint(run.name)).values() for epoch in log]
    return sum(drawn["draws"] for epoch in epochs for drawn in epoch["consumed"].values())


def sound(images: ImageSet, *, on_broken: str, workers: int) -> ImageSet:
    """Return the images that decode.

    Raises:
        BadInput: some do not, and the policy is "stop"; the message has the full list.
    """
    broken = dict(broken_images(images, workers=max(1, workers)))
    if broken and (on_broken == "stop" or len(broken) == len(images)):
        raise stop_message(broken)
    if broken:
        log.warning("left out of training: %s", listed(broken))
        return images.subset(np.flatnonzero(~np.isin(images.ids, list(broken))))
    return images
