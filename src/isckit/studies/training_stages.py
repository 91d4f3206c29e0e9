"""The cost of training at a size, and all stages of a recipe in order."""

from __future__ import annotations

from collections.abc import Iterator

from isckit import config
from isckit.engine.operations import pair_operations
from isckit.studies.plan import Size, Stage
from isckit.studies.rates import Rates
from isckit.studies.stages import DETECTOR, Planner

_BACKWARD = 3
"""Forward and backward pass, in forward passes."""
PUBLIC_PAIRS = 4_991
"""Queries with a reference in the half of phase 1 whose labels are public."""
_KEPT = 24
"""Float32 copies of a view's pixels that a network keeps for its backward pass: assumed, by ResNet-50's."""


def plan(recipe: config.Recipe, size: Size, rates: Rates) -> list[Stage]:
    """Return the stages of a recipe, in order."""
    planner = Planner(recipe, size, rates)
    return [*training(planner), *planner.describing(), *planner.fitting(), *planner.matching(), planner.evaluation()]


def training(planner: Planner) -> Iterator[Stage]:
    """Yield the training of each network."""
    for member in planner.recipe.trained:
        for stage in member.stages:
            side = stage.image_size or member.image_size
            pairs = stage.data.anchors == "pairs"
            views = (2 if pairs else len(stage.views)) + stage.data.negatives_per_anchor
            every = PUBLIC_PAIRS if pairs else planner.size.train
            images = (stage.stop_after or stage.epochs) * (stage.images_per_epoch or every)
            once = planner.passes[member.name] * (side / max(member.scales or (member.image_size,))) ** 2
            held = (stage.micro_batch or stage.batch_images) * views / max(1, planner.gpus)
            yield planner.stage(
                f"train {member.name} {stage.name}, views",
                images * views,
                network=_BACKWARD * once * images * views,
                cores=images * views / planner.rates.edits,
                memory=held * side * side * 3 * 4 * _KEPT,
                setting=f"set members.{member.name}.stages.{stage.name}.micro_batch",
            )
    if planner.recipe.detector:
        detector = planner.recipe.detector
        images = detector.epochs * (detector.images_per_epoch or planner.size.train)
        seconds = images / planner.rates.edits
        work = images * DETECTOR * _BACKWARD
        yield planner.stage(f"train {detector.name}, images", images, network=work, cores=seconds)
    for pair in planner.recipe.pair_networks:
        for part in pair.stages:
            compared = part.groups * part.group**2  # every reference of a group with every query
            yield planner.stage(
                f"train {pair.name} {part.name}, pairs",
                compared,
                network=_BACKWARD * pair_operations(pair) * compared,
                cores=2 * part.groups * part.group / planner.rates.edits,
            )
