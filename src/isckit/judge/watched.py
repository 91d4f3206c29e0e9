"""The watched training (rule 5.1): the contestant's own training command, on a few images of each role.

The kernel tells which query and reference files it opens, a witness in the loader tells what it makes of them in two
passes, and the weights must be the same bytes when there are no queries and references at all.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from isckit import config
from isckit.data.layouts import ROLES, Disc
from isckit.data.witness import read_witness
from isckit.judge.contestant import AT_ONCE, THREADS, Drawn, start
from isckit.judge.rules.finding import Case
from isckit.judge.watch import Watch
from isckit.storage.artifacts import file_digest, write_text
from isckit.storage.meter import machine
from isckit.types import BadInput, Role
from isckit.workspace import Workspace

IMAGES = 48
"""Images of each role laid before the watched training, as far as there are."""
PASSES = 2
_BATCH = 16
_SHOWN = 5


def watched_training(case: Case, disc: Disc, template: str) -> tuple[list[str], str]:
    """Train twice on a few images, with and without queries and references.

    Args:
        case: with a recipe and a probe.
        disc: the images, train among them.
        template: the contestant's training command.

    Returns:
        What is wrong, and what was done.

    Raises:
        BadInput: the command failed, or there are no train images.
    """
    assert case.probe is not None
    with tempfile.TemporaryDirectory(prefix="isckit-") as name:
        folder = Path(name)
        write_text(folder / "recipe.json", config.to_json(short(case.recipe)))
        drawn = _draw(disc, np.random.default_rng(case.probe.seed))
        for image_set, images in drawn.items():
            images.lay_out(folder / "all" / "images" / image_set)
        drawn["train"].lay_out(folder / "train only" / "images" / "train")

        def run(data: str, root: str) -> Path:
            values: dict[str, object] = {"name": "watched", "root": folder / root, "data": folder / data}
            files = {"recipe": folder / "recipe.json", "witness": folder / root / "witness.jsonl"}
            start(template, values | files, threads=THREADS)
            return folder / root

        others = [folder / "all" / "images" / image_set for image_set in drawn if image_set != "train"]
        with Watch(others) as watch, ThreadPoolExecutor(AT_ONCE) as pool:
            roots = list(pool.map(run, ["all", "train only"], ["with", "without"]))
        items = read_witness(roots[0] / "witness.jsonl")
        opened = {path.stem for path in watch.opened}
        found, compared = _compared(roots, lambda: run("all", "again"))
        problems = [*_unaccounted(opened, items), *_unsteady(items), *found]
        count = sum(len(images.rows) for name, images in drawn.items() if name != "train")
    return problems, (
        f"watched training, {PASSES} passes: {len(items)} items witnessed, {len(opened)} of {count} queries and "
        f"references opened, {compared}"
    )


def _draw(disc: Disc, rng: np.random.Generator) -> dict[str, Drawn]:
    """A few images of each set."""
    drawn = {}
    for role_set in ROLES:
        images = getattr(disc, role_set)
        if images is not None:
            rows = np.sort(rng.permutation(len(images))[:IMAGES])
            drawn[role_set] = Drawn.as_they_are(images, rows)
    if "train" not in drawn:
        raise BadInput(
            seen=f"no train images in {disc.root}",
            allowed="train images, where a recipe that trains is to be checked",
            remedy="pass --data with train images, or --sample 0 to trust the records",
        )
    return drawn


def short(recipe: config.Recipe) -> config.Recipe:
    """The recipe's training at the length of an experiment: same networks, data paths, edits and losses."""
    members = tuple(
        replace(
            member,
            pretrained="none",
            train=replace(member.train, epochs=PASSES, images_per_epoch=IMAGES, batch_images=_BATCH),
        )
        if isinstance(member, config.Network) and member.train is not None
        else member
        for member in recipe.members
    )
    return replace(recipe, members=members)


def _unaccounted(opened: set[str], items: list[dict[str, Any]]) -> Iterator[str]:
    """Query and reference files that were opened without the loader's saying so."""
    told = {name for item in items for name in item["ids"]}
    hidden = sorted(opened - told)
    if hidden:
        yield f"training opened {len(hidden)} query and reference files: {', '.join(hidden[:_SHOWN])}"


def _unsteady(items: list[dict[str, Any]]) -> Iterator[str]:
    """Queries and references that the loader gave another form in another pass."""
    forms: dict[str, set[str]] = {}
    for item in items:
        if not Role(item["role"]).may_be_fitted_on:
            forms.setdefault(item["ids"][0], set()).add(item["sha256"])
    unsteady = sorted(name for name, digests in forms.items() if len(digests) > 1)
    if unsteady:
        yield f"the loader gave {len(unsteady)} of {len(forms)} queries and references another form each pass: " + (
            ", ".join(unsteady[:_SHOWN])
        )


def _compared(roots: list[Path], again: Callable[[], Path]) -> tuple[list[str], str]:
    """Whether the weights depend on queries and references.

    Where they differ, the first training is done once more: on a GPU, rounding may differ between equal trainings.
    """
    weights = [Workspace(root).weights("watched") for root in roots]
    missing = [path for path in weights if not path.is_file()]
    if missing:
        return [f"the training command left no {missing[0].name}"], "no weights to compare"
    digests = [file_digest(path) for path in weights]
    if digests[0] == digests[1]:
        return [], "same weights without them"
    steady = file_digest(Workspace(again()).weights("watched")) == digests[0]
    if steady:
        return ["training gives other weights when there are no queries and references"], "other weights without them"
    if machine().get("gpus"):
        return [], "weights not compared: two equal trainings differ on this GPU"
    return ["two equal trainings give other weights"], "weights that differ each time"
