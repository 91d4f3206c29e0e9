"""A system's own ablation on a trained run: every row extracted, fitted, normalised and scored as a submission is."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from isckit import config
from isckit.data.ground_truth import read_ground_truth
from isckit.data.layouts import Disc, require
from isckit.judge.score.score import ScoreReport, score_descriptors, score_matches
from isckit.matching.match import fit_all, scored_pairs
from isckit.runs.artifacts import write_json, write_text
from isckit.runs.run import Run
from isckit.runs.workspace import query_set
from isckit.studies.ablations import AblationRow
from isckit.studies.tables import markdown
from isckit.studies.variants import Variant, Variants, row_recipe, weights_after
from isckit.tracks.matching import scene_of
from isckit.types import BadInput, GroundTruth, MissingInput
from isckit.vectors.described import bank, ensembled, fit
from isckit.vectors.normalise import fit_normaliser, normalise

if TYPE_CHECKING:
    from isckit.engine.distributed import Process

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """A row with its scores; `matching` where the Matching track was asked for."""

    row: AblationRow
    descriptor: ScoreReport
    matching: ScoreReport | None = None


def ablate(
    run: Run, disc: Disc, rows: Sequence[AblationRow], *, phase: int, matching: bool, process: Process, workers: int
) -> list[Scored]:
    """Score every row of an ablation of a trained run; nothing of the run itself is written.

    Embeddings that rows share with the run or with each other are not extracted again, nor after an interruption.

    Args:
        run: with weights.
        disc: train images, references, queries of the phase and their ground truth.
        rows: what differs from the run's recipe, each.
        phase: 1 or 2.
        matching: score the Matching track too.

    Returns:
        The rows with their scores, in their order; none in any process but the first.

    Raises:
        BadInput: there are no rows, the settings of one touch training, or the Matching track of one needs more than
            embeddings.
        MissingInput: images, ground truth, or weights that a stage left are not there.
    """
    if not rows:
        raise BadInput(
            seen=f"no rows for recipe {run.recipe.name!r}",
            allowed="a recipe with rows in isckit.studies.ablations",
            remedy="ablate a run of another recipe",
        )
    for row in rows:  # refused now, and not after hours
        recipe = row_recipe(run, row)
        if matching:
            _refuse_other_branches(row, recipe)
        for member in recipe.members:
            weights_after(run, member.name, row.stages)
    truth = _truth(disc, phase)
    sets = [require(disc, name) for name in ("train", "references", query_set(phase))]
    variants = Variants(run, sets, views=matching, process=process, workers=workers)
    described = []
    for number, row in enumerate(rows, start=1):
        log.info("row %d of %d: %s", number, len(rows), row.label)
        described.append(variants.of(row))
    if not process.first:
        return []
    pairs = zip(rows, described, strict=True)
    return [_scored(row, variant, truth, phase=phase, matching=matching) for row, variant in pairs]


def _refuse_other_branches(row: AblationRow, recipe: config.Recipe) -> None:
    for branch in recipe.matching.branches:
        if not branch.embeddings_only:
            raise BadInput(
                seen=f"row {row.label!r}: branch {branch.name} of the Matching track needs more than embeddings",
                allowed="rows whose branches compare views, and nothing else of an image",
                remedy="leave --matching out, or run the row: ./run_phase1.sh --recipe ... --set ...",
            )


def _truth(disc: Disc, phase: int) -> GroundTruth:
    if phase not in disc.ground_truth:
        raise MissingInput(
            seen=f"no ground truth of phase {phase} in {disc.root}",
            allowed="a ground truth CSV beside the images",
            remedy="put it there, or see what is found with: isckit doctor --data DIR",
        )
    return read_ground_truth(disc.ground_truth[phase])


def _scored(row: AblationRow, variant: Variant, truth: GroundTruth, *, phase: int, matching: bool) -> Scored:
    """Fit, normalise and score one row."""
    log.info("score: %s", row.label)
    fit(variant)
    background = bank(variant)
    normaliser = fit_normaliser(background, variant.recipe.normalise)
    names = (query_set(phase), "references")
    queries, references = (normalise(ensembled(variant, name), normaliser) for name in names)
    report = score_descriptors(queries, references, truth)
    if matching:
        fit_all(variant)
    return Scored(row, report, _matching(variant, truth, phase=phase) if matching else None)


def _matching(variant: Variant, truth: GroundTruth, *, phase: int) -> ScoreReport:
    scene = scene_of(variant, query_set(phase), "references", images={}, process=None, workers=0)
    return score_matches(scored_pairs(scene), truth, phase_queries=scene.query_ids, reference_ids=scene.reference_ids)


def table(scored: Sequence[Scored]) -> str:
    """Return the rows as a Markdown table."""
    tracks = ["descriptor", *(["matching"] if any(row.matching for row in scored) else [])]
    columns: dict[str, list[str] | list[float]] = {"row": [one.row.label for one in scored]}
    for track in tracks:
        reports = [getattr(one, track) for one in scored]
        prefix = f"{track} " if len(tracks) > 1 else ""
        columns[f"{prefix}uAP"] = [report.average_precision for report in reports]
        columns[f"{prefix}R@P90"] = [report.recall_at_p90 for report in reports]
    formats = dict.fromkeys(list(columns)[1:], "{:.4f}")
    columns["published"] = [one.row.published for one in scored]
    return markdown(pd.DataFrame(columns), formats)


def values(run: Run, scored: Sequence[Scored], *, phase: int) -> dict[str, Any]:
    """Return all figures of all rows as plain values."""
    return {
        "run": run.name,
        "recipe": config.digest(run.recipe),
        "phase": phase,
        "rows": [
            {
                "label": one.row.label,
                "settings": list(one.row.settings),
                "stages": one.row.stages,
                "published": one.row.published,
                "descriptor": json.loads(one.descriptor.to_json()),
                "matching": json.loads(one.matching.to_json()) if one.matching else None,
            }
            for one in scored
        ],
    }


def figures_beside(out: Path) -> Path:
    """Return where the figures of a table go.

    Raises:
        BadInput: the table is itself named .json.
    """
    if out.suffix == ".json":
        raise BadInput(
            seen=f"--out {out}",
            allowed="a .md file; the figures go beside it as .json",
            remedy=f"pass --out {out.with_suffix('.md')}",
        )
    return out.with_suffix(".json")


def write(out: Path, run: Run, scored: Sequence[Scored], *, phase: int) -> tuple[Path, Path]:
    """Write the table, and all figures as JSON beside it. Raises as `figures_beside`."""
    return write_text(out, table(scored)), write_json(figures_beside(out), values(run, scored, phase=phase))
