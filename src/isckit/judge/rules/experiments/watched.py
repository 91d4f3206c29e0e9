"""The files of a folder that any process opens, as the Linux kernel tells: no co-operation of the watched is needed."""

from __future__ import annotations

import ctypes
import os
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from isckit import config
from isckit.data.layouts import GROUND_TRUTH, ROLES, Disc
from isckit.data.training import read_witness, training_data
from isckit.judge.rules.experiments.contestant import AT_ONCE, THREADS, Drawn, Sees, start
from isckit.judge.rules.experiments.isolate import told
from isckit.judge.rules.finding import Case
from isckit.runs.artifacts import file_digest, write_text
from isckit.runs.meter import machine
from isckit.runs.workspace import Workspace
from isckit.types import BadInput, Role

_OPEN, _IS_FOLDER, _OVERFLOW = 0x20, 0x40000000, 0x4000
_EVENT = struct.Struct("iIII")
_BUFFER = 1 << 20


class Watch:
    """inotify(7) on some folders, between entering and leaving the block."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        self.opened: set[Path] = set()
        """Files opened for reading or writing; complete after the block."""

    def __enter__(self) -> Watch:
        libc = ctypes.CDLL(None, use_errno=True)
        self._handle = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._handle < 0:
            raise _refused()
        self._places = {}
        for folder in self.folders:
            number = libc.inotify_add_watch(self._handle, os.fsencode(folder), _OPEN)
            if number < 0:
                os.close(self._handle)
                raise _refused()
            self._places[number] = folder
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # The kernel keeps up to fs.inotify.max_queued_events, 16,384 by default: far more than the few files watched.
        try:
            while True:
                self._read(os.read(self._handle, _BUFFER))
        except BlockingIOError:
            return
        finally:
            os.close(self._handle)

    def _read(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, at)
            name = data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
            at += _EVENT.size + length
            if mask & _OVERFLOW:
                raise BadInput(
                    seen="more files opened than the kernel keeps in mind",
                    allowed="at most fs.inotify.max_queued_events in one experiment",
                    remedy="take a smaller sample",
                )
            if name and not mask & _IS_FOLDER:
                self.opened.add(self._places[number] / os.fsdecode(name))


def _refused() -> BadInput:
    return BadInput(
        seen=f"inotify: {os.strerror(ctypes.get_errno())}",
        allowed="a Linux kernel that lets files be watched (fs.inotify limits)",
        remedy="raise fs.inotify.max_user_watches, or check with --sample 0",
    )


IMAGES = 48
"""Images of each role laid before the watched training, as far as there are."""
PAIRS = 16
"""True pairs among them, where the recipe trains on such."""
PASSES = 2
_BATCH = 16
_WORDS = 8
"""Gaussians and dimensions of a Fisher vector."""
_GROUP, _GROUPS = 4, 4
"""Images of a group, and groups of a pass, where a network that sees pairs is trained."""
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
        drawn, truth = _draw(disc, case.recipe, np.random.default_rng(case.probe.seed))
        for image_set, images in drawn.items():
            images.lay_out(folder / "all" / "images" / image_set)
        write_text(folder / "all" / "list_files" / GROUND_TRUTH[1][-1], truth)
        drawn["train"].lay_out(folder / "train only" / "images" / "train")

        def run(data: str, root: str) -> Path:
            values: dict[str, object] = {"name": "watched", "root": folder / root, "data": folder / data}
            files = {"recipe": folder / "recipe.json", "witness": folder / root / "witness.jsonl"}
            (folder / root).mkdir()
            sees = Sees((folder / data, folder / "recipe.json"), (folder / root,), folder / f"{root}-home")
            start(template, values | files, threads=THREADS, sees=sees)
            return folder / root

        others = [folder / "all" / "images" / image_set for image_set in drawn if image_set != "train"]
        with Watch(others) as watch, ThreadPoolExecutor(AT_ONCE) as pool:
            # A recipe that uses queries or references openly cannot do without them.
            other = "all" if _uses_others(case.recipe) else "train only"
            roots = list(pool.map(run, ["all", other], ["with", "other"]))
        items = read_witness(roots[0] / "witness.jsonl")
        opened = {path.stem for path in watch.opened}
        found, compared = _compared(roots, lambda: run("all", "again"), alone=other == "train only")
        problems = [*_unaccounted(opened, items), *_unsteady(items), *found]
        count = sum(len(images.rows) for name, images in drawn.items() if name != "train")
    return problems, (
        f"watched training, {told()}, {PASSES} passes: {len(items)} items witnessed, {len(opened)} of {count} queries "
        f"and references opened, {compared}"
    )


def _uses_others(recipe: config.Recipe) -> bool:
    """Return True if a stage says that it trains on queries or references."""
    return any(stage.data.anchors == "pairs" or stage.data.negatives == "references" for stage in recipe.stages)


def _draw(disc: Disc, recipe: config.Recipe, rng: np.random.Generator) -> tuple[dict[str, Drawn], str]:
    """A few images of each set, and the ground truth of those: pairs where the recipe trains on them."""
    if disc.train is None:
        raise BadInput(
            seen=f"no train images in {disc.root}",
            allowed="train images, where a recipe that trains is to be checked",
            remedy="pass --data with train images, or --sample 0 to trust the records",
        )
    pairs = training_data(disc, disc.train, recipe.stages).pairs
    chosen = np.zeros((0, 2), np.int64) if pairs is None else rng.permutation(pairs)[:PAIRS]
    wanted = {"queries": chosen[:, 0], "references": chosen[:, 1]}
    drawn = {}
    for role_set in ROLES:
        images = getattr(disc, role_set)
        if images is not None:
            first = wanted.get(role_set, np.zeros(0, np.int64))
            rows = np.unique(np.concatenate([first, rng.permutation(len(images))[: IMAGES - len(first)]]))
            drawn[role_set] = Drawn.as_they_are(images, rows)
    lines = ["query_id,reference_id"]
    if disc.queries is not None and disc.references is not None:
        lines += [f"{disc.queries.ids[query]},{disc.references.ids[reference]}" for query, reference in chosen]
    return drawn, "\n".join(lines) + "\n"


def short(recipe: config.Recipe) -> config.Recipe:
    """Return the recipe's training at the length of an experiment: same networks, data paths, edits and losses.

    Parts that begin with published weights begin at random: where weights come from is the business of rule 5.6.
    """
    members = tuple(_short_member(member) for member in recipe.members)
    branches = tuple(branch.with_trained(_short_pairs) for branch in recipe.matching.branches)
    return replace(
        recipe,
        members=members,
        detector=_short_detector(recipe.detector),
        matching=replace(recipe.matching, branches=branches),
    )


def _short_member(member: config.Member) -> config.Member:
    if isinstance(member, config.Fisher):
        return replace(member, words=_WORDS, reduced=_WORDS, dim=_WORDS)
    if not isinstance(member, config.Network) or not member.stages:
        return member
    stages = tuple(_short(stage) for stage in member.stages)
    return replace(member, backbone=replace(member.backbone, pretrained="none"), stages=stages)


def _short_detector(detector: config.Detector | None) -> config.Detector | None:
    if detector is None:
        return None
    return replace(
        detector,
        pretrained="none",
        epochs=PASSES,
        images_per_epoch=IMAGES,
        batch_images=min(_BATCH, detector.batch_images),
    )


def _short_pairs(network: config.PairNetwork) -> config.PairNetwork:
    """Groups of a few images, as every reference of a group meets every query of it."""
    stages = tuple(
        replace(stage, groups=PASSES * _GROUPS, log_groups=_GROUPS, group=min(_GROUP, stage.group), start=0)
        for stage in network.stages
    )
    return replace(network, backbone=replace(network.backbone, pretrained="none"), stages=stages)


def _short(stage: config.Stage) -> config.Stage:
    classes = IMAGES // 2 if stage.data.ids else 0
    return replace(
        stage,
        epochs=PASSES,
        stop_after=0,
        images_per_epoch=IMAGES,
        batch_images=_BATCH,
        data=replace(stage.data, every=1, ids=classes),
    )


def _unaccounted(opened: set[str], items: list[dict[str, Any]]) -> Iterator[str]:
    """Query and reference files that were opened without the loader's saying so."""
    told = {name for item in items for name in item["ids"]}
    hidden = sorted(opened - told)
    if hidden:
        yield f"training opened {len(hidden)} query and reference files: {', '.join(hidden[:_SHOWN])}"


def _unsteady(items: list[dict[str, Any]]) -> Iterator[str]:
    """Queries and references that the loader gave another form in another pass."""
    forms: dict[tuple[str, int], set[str]] = {}
    for item in items:
        if not Role(item["role"]).may_be_fitted_on:
            forms.setdefault((item["ids"][0], item["side"]), set()).add(item["sha256"])
    unsteady = sorted(name for (name, _), digests in forms.items() if len(digests) > 1)
    if unsteady:
        yield f"the loader gave {len(unsteady)} of {len(forms)} queries and references another form each pass: " + (
            ", ".join(unsteady[:_SHOWN])
        )


def _compared(roots: list[Path], again: Callable[[], Path], *, alone: bool) -> tuple[list[str], str]:
    """Judge whether weights depend on queries and references; where they openly do (not `alone`), on anything unsaid.

    Where they differ, the first training is done once more: on a GPU, rounding may differ between equal trainings.
    """
    weights = [Workspace(root).weights("watched") for root in roots]
    missing = [path for path in weights if not path.is_file()]
    if missing:
        return [f"the training command left no {missing[0].name}"], "no weights to compare"
    digests = [file_digest(path) for path in weights]
    if digests[0] == digests[1]:
        return [], "same weights without them" if alone else "trained on openly, twice to the same weights"
    steady = file_digest(Workspace(again()).weights("watched")) == digests[0]
    if steady and alone:
        return ["training gives other weights when there are no queries and references"], "other weights without them"
    if machine().get("gpus"):
        return [], "weights not compared: two equal trainings differ on this GPU"
    return ["two equal trainings give other weights"], "weights that differ each time"
