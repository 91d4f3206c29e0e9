"""Rule 5.1, no augmentation of query or reference images: what trained the weights, by logs and by a watched training.

Logs are records. The watched training is an experiment with the contestant's own command, on a few images of each role:
the kernel tells which query and reference files it opens, a witness in the loader tells what it makes of them in two
passes, and the weights must be the same bytes when there are no queries and references at all.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from isckit import config
from isckit.data.changes import same_bytes
from isckit.data.digests import digest_images
from isckit.data.layouts import ROLES, Disc
from isckit.data.witness import read_witness
from isckit.judge.contestant import AT_ONCE, THREADS, Drawn, start
from isckit.judge.rules.finding import Case, Finding, judged
from isckit.judge.watch import Watch
from isckit.storage.artifacts import file_digest, read_receipt, write_text
from isckit.types import BadInput, Role
from isckit.workspace import Workspace, query_set

IMAGES = 48
"""Images of each role laid before the watched training, as far as there are."""
PASSES = 2
MOST_SAME = 1e-3
"""Part of the train files that may be, byte for byte, also a query or reference."""
_READERS = 4
_BATCH = 16
_SHOWN = 5


def no_augmentation(case: Case) -> Finding:
    """No image made from a query or reference trains anything."""
    logs = training_logs(case.checkpoint)
    epochs = sum(len(log) for log in logs.values())
    problems = [
        f"member {member}, epoch {epoch['epoch'] + 1}: augmented {role} images"
        for member, log in logs.items()
        for epoch in log
        for role, drawn in epoch["consumed"].items()
        if drawn["augmented"] and not Role(role).may_be_fitted_on
    ][:_SHOWN]
    examined = f"{epochs} epochs in {len(logs)} training logs"
    if not case.workspace.recipe(case.name).is_file():
        return Finding("unknown", "none", "no recipe and no training logs")
    if not logs and trained_members(case.recipe):
        source = read_receipt(case.workspace.weights(case.name))["facts"].get("source", "elsewhere")
        return Finding("unknown", "none", "no training logs", f"the weights were installed from {source}")
    if not trained_members(case.recipe):
        return judged(problems, "declared", f"{examined}; no member of the recipe is trained")
    if case.probe is None or case.probe.train is None or not case.probe.sample or case.disc is None:
        return judged(problems, "declared", examined, note="training not watched")
    found, watched = _watched(case, case.disc, case.probe.train)
    same, compared = _same_files(case, case.disc)
    return judged(problems + found + same, "sampled", f"{examined}; {watched}; {compared}")


def trained_members(recipe: config.Recipe) -> list[config.Network]:
    """Members that have a training plan."""
    return [m for m in recipe.members if isinstance(m, config.Network) and m.train is not None]


def _watched(case: Case, disc: Disc, template: str) -> tuple[list[str], str]:
    """Train twice on a few images, with and without queries and references: what is wrong, and what was done."""
    assert case.probe is not None
    with tempfile.TemporaryDirectory(prefix="isckit-") as name:
        folder = Path(name)
        recipe = folder / "recipe.json"
        write_text(recipe, config.to_json(short(case.recipe)))
        rng = np.random.default_rng(case.probe.seed)
        drawn = _draw(disc, rng)
        for role_set, images in drawn.items():
            images.lay_out(folder / "all" / "images" / role_set)
        drawn["train"].lay_out(folder / "train only" / "images" / "train")
        guarded = [folder / "all" / "images" / role_set for role_set in drawn if role_set != "train"]

        def run(data: str) -> Path:
            root = folder / f"root {data}"
            values: dict[str, object] = {"name": "watched", "root": root, "data": folder / data, "recipe": recipe}
            start(template, values | {"witness": root / "witness.jsonl"}, threads=THREADS)
            return root

        with Watch(guarded) as watch, ThreadPoolExecutor(AT_ONCE) as pool:
            roots = list(pool.map(run, ["all", "train only"]))
        items = read_witness(roots[0] / "witness.jsonl")
        opened = {path.stem for path in watch.opened}
        weights = [Workspace(root).weights("watched") for root in roots]
        problems = [*_unaccounted(opened, items), *_unsteady(items)]
        problems += _different(weights)
        count = sum(len(images.rows) for images in drawn.values()) - len(drawn["train"].rows)
    examined = (
        f"watched training, {PASSES} passes: {len(items)} items witnessed, {len(opened)} of {count} queries and "
        "references opened" + ("" if problems else ", same weights without them")
    )
    return problems, examined


def _same_files(case: Case, disc: Disc) -> tuple[list[str], str]:
    """Train images that are queries or references, byte for byte; a few may stand in the data set itself."""
    sets = {name: getattr(disc, name) for name in ("train", "references", query_set(case.phase))}
    digests = {
        name: digest_images(images, case.workspace.images(case.name, name), workers=_READERS)
        for name, images in sets.items()
        if images is not None
    }
    train = digests.pop("train")
    pairs = [pair for other in digests.values() for pair in same_bytes(train, other)]
    problems = []
    if len(pairs) > MOST_SAME * len(train.ids):
        named = ", ".join(f"{own} is {other}" for own, other in pairs[:_SHOWN])
        problems = [f"{len(pairs)} train files are files of queries or references: {named}"]
    return problems, f"{len(pairs)} of {len(train.ids)} train files are those of a query or reference"


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


def _different(weights: list[Path]) -> Iterator[str]:
    """Whether the weights depend on queries and references."""
    missing = [path for path in weights if not path.is_file()]
    if missing:
        yield f"the training command left no {missing[0].name}"
    elif file_digest(weights[0]) != file_digest(weights[1]):
        yield "training gives other weights when there are no queries and references"


def training_logs(checkpoint: Path) -> dict[str, list[dict[str, Any]]]:
    """Epoch records of each trained member: "epoch", and "consumed" as {role: {"augmented", "draws", "images", "ids"}}.

    `ids` is the digest of the distinct ids drawn. Records of queries and references also have them as "listed".

    Raises:
        BadInput: a log is not made of such records.
    """
    logs = {}
    for path in sorted((checkpoint / "training").glob("*/metrics.jsonl")):
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            faults: list[Any] = [number for number, line in enumerate(lines, start=1) if not _is_record(line)]
        except ValueError as error:
            lines, faults = [], [f"unknown ({error})"]
        if faults:
            raise BadInput(
                seen=f"{path} is not a training log of this kit: line {faults[0]}",
                allowed="one record an epoch, with the images consumed by role",
                remedy="train again, under another --name",
            )
        logs[path.parent.name] = lines
    return logs


def _is_record(line: Any) -> bool:
    return (
        isinstance(line, dict)
        and isinstance(line.get("epoch"), int)
        and isinstance(line.get("consumed"), dict)
        and all(
            role in list(Role) and isinstance(drawn, dict) and {"augmented", "draws", "images", "ids"} <= drawn.keys()
            for role, drawn in line["consumed"].items()
        )
    )
