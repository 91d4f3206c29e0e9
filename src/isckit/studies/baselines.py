"""All baselines on one data set, each an ordinary run, and one table of what they reach and what they cost."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from isckit import config
from isckit.data.layouts import open_disc, require
from isckit.judge.score.report import score_folder
from isckit.runs.artifacts import read_receipt
from isckit.runs.records import Scores, read_json
from isckit.runs.run import Run, begin
from isckit.runs.workspace import SCORE, Workspace, query_set
from isckit.studies.tables import markdown

log = logging.getLogger(__name__)

BASELINES = ("phash", "pdq", "gist", "orb", "multigrain.mini", "triplet.mini", "deeprank.mini")
"""The baselines that run without weights from outside; those of the full recipes are the user's to fetch."""
COLUMNS = ("system", "descriptor uAP", "R@P90", "matching uAP", "R@P90", "s / query", "s / reference", "peak memory")
FORMATS = dict.fromkeys(COLUMNS[1:-1], "{:.4f}") | {"peak memory": "{:,.0f} MiB"}


@dataclass(frozen=True)
class SystemRow:
    """One baseline's figures.

    Attributes:
        system: its recipe.
        descriptor, matching: (uAP, Recall@P90) of each track; None without ground truth.
        query_seconds: to describe a query, and to match it against all references.
        reference_seconds: to describe a reference.
        peak_bytes: largest resident set of any step, of one process.
    """

    system: str
    descriptor: tuple[float, float] | None
    matching: tuple[float, float] | None
    query_seconds: float
    reference_seconds: float
    peak_bytes: int


def run_name(recipe: config.Recipe) -> str:
    """Name of a baseline's run."""
    return f"baseline.{recipe.name}"


def baselines(
    data: Path, recipes: Sequence[config.Recipe], *, root: Path, phase: int = 1, workers: int = 0
) -> Iterator[SystemRow]:
    """Train, describe, fit, match and score each recipe, in a process of its own, whose peak memory is its own.

    Runs that both tracks were written of are not repeated; others go on from where they are.

    Raises:
        MissingInput: image sets are not there.
        StaleArtifact: there is a run of that name with another recipe.
    """
    workspace = Workspace(root)
    for recipe in recipes:
        run = begin(workspace, run_name(recipe), recipe)
        written = workspace.descriptors(phase, run.name), workspace.matches(phase, run.name)
        if not all(path.is_file() for path in written):
            # Spawned, as threads of torch do not survive a fork.
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                pool.submit(complete, run, data, phase=phase, workers=workers).result()
        folder = workspace.submission(phase, run.name)
        log.info(
            "%s\n%s",
            run.name,
            score_folder(folder, ground_truth=None, data=data, listed=None, protocol="global", k=10, bootstrap=0),
        )
        yield figures(run, phase=phase)


def complete(run: Run, data: Path, *, phase: int, workers: int) -> None:
    """All that a run does in a phase, as the verbs train, extract, fit, descriptor and matching do."""
    from isckit.engine.distributed import process
    from isckit.matching.match import fit_all
    from isckit.tracks.descriptor import descriptor_track
    from isckit.tracks.extraction import extract_set
    from isckit.tracks.matching import matching_track
    from isckit.tracks.train import train_members, training_images

    disc = open_disc(data)
    images = {name: require(disc, name) for name in ("train", "references", query_set(phase))}
    with process() as here:
        if not run.weights.is_file():
            wanted = training_images(run, disc, workers=workers)
            train_members(run, wanted, process=here, workers=workers)
        for image_set in images.values():
            extract_set(run, image_set, process=here, workers=workers)
        fit_all(run)
        descriptor_track(run, phase=phase)
        matching_track(run, phase=phase, images=images, process=here, workers=workers)


def figures(run: Run, *, phase: int) -> SystemRow:
    """Return a row from the scores and receipts of a finished run."""
    folder = run.workspace.submission(phase, run.name)
    scores = read_json(folder / SCORE, Scores) if (folder / SCORE).is_file() else {}
    matched = _cost(run.workspace.matches(phase, run.name))
    sides = {name: _described(run, name) for name in ("train", "references", query_set(phase))}
    queries = sides[query_set(phase)]
    costs = [matched, _cost(run.workspace.descriptors(phase, run.name)), _cost(run.workspace.ensemble(run.name))]
    costs += [_cost(run.weights), *(cost for side in sides.values() for cost in side)]
    return SystemRow(
        run.recipe.name,
        _figures(scores.get("descriptor")),
        _figures(scores.get("matching")),
        _seconds(queries) + matched["seconds"] / max(1, _images(queries)),
        _seconds(sides["references"]),
        max(cost["peak_memory_bytes"] for cost in costs),
    )


def table(rows: Sequence[SystemRow]) -> str:
    """Return the rows as one Markdown table."""
    absent = (float("nan"), float("nan"))
    cells = [
        (
            row.system,
            *(row.descriptor or absent),
            *(row.matching or absent),
            row.query_seconds,
            row.reference_seconds,
            row.peak_bytes / 2**20,
        )
        for row in rows
    ]
    return markdown(pd.DataFrame(cells, columns=COLUMNS), FORMATS).removesuffix("\n")


def _figures(report: dict[str, Any] | None) -> tuple[float, float] | None:
    return None if report is None else (report["average_precision"], report["recall_at_p90"])


def _cost(path: Path) -> dict[str, Any]:
    return read_receipt(path)["facts"]["cost"]


def _described(run: Run, image_set: str) -> list[dict[str, Any]]:
    """Return the costs of what was described of an image set; all members are described in one pass."""
    members = {member.name for member in run.recipe.members}
    parts = sorted(path.parent for path in run.folder(image_set, "").glob("*/receipt.json"))
    facts = {part.name: read_receipt(part)["facts"] for part in parts}
    costs = {name: fact["cost"] for name, fact in facts.items() if "cost" in fact}
    once = [cost for name, cost in costs.items() if name in members][:1]
    return once + [cost for name, cost in costs.items() if name not in members]


def _seconds(costs: Sequence[dict[str, Any]]) -> float:
    """Return the seconds an image, of all parts together."""
    return sum(cost["seconds"] / max(1, cost["images"]) for cost in costs)


def _images(costs: Sequence[dict[str, Any]]) -> int:
    return max((cost["images"] for cost in costs), default=0)
