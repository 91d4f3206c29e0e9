"""Scoring files and submission folders, and writing what was found beside them."""

from __future__ import annotations

import dataclasses
import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from isckit.data.ground_truth import read_ground_truth, read_query_list
from isckit.data.images import listed
from isckit.data.layouts import given_disc, ids_of
from isckit.judge.score.curve import PRECISION, Curve
from isckit.judge.score.curve import bootstrap as resample
from isckit.judge.score.score import ScoreReport, descriptor_matches, score_halves, score_matches
from isckit.runs.artifacts import atomic, broken_images, file_digest, write_json, write_text
from isckit.runs.workspace import DESCRIPTORS, MATCHES, SCORE, Workspace, query_set
from isckit.submission import open_descriptors, read_matches
from isckit.types import BadInput, MissingInput

if TYPE_CHECKING:
    from isckit import config

PLOTS = (".png", ".svg", ".pdf", ".jpg", ".jpeg", ".webp")
TRACKS = {"descriptor": DESCRIPTORS, "matching": MATCHES}


def score_folder(folder: Path, *, ground_truth: Path | None, data: Path | None, **options: Any) -> str:
    """Score both tracks of a submission folder; writes score.json and a picture each. Text for people.

    Raises:
        BadInput: it is no submission folder, or ground truth and submission do not fit.
    """
    from isckit import config
    from isckit.judge.rules.training import seen_queries
    from isckit.runs.records import read_json

    workspace, phase, name = Workspace.locate(folder)
    disc = given_disc(data)
    truth_path = ground_truth or (disc.ground_truth.get(phase) if disc else None)
    if truth_path is None:
        return f"not scored: no ground truth of phase {phase}" + (
            f" in {data}" if data else "; pass --ground-truth CSV"
        )
    lines, values = [], {}
    recipe = config.from_dict(read_json(workspace.recipe(name)))
    seen = seen_queries(workspace.checkpoint(name))
    known: dict[str, Any] = {"queries": ids_of(disc, query_set(phase)), "references": ids_of(disc, "references")}
    for track, file in TRACKS.items():
        path = folder / file
        if path.is_file():
            report = _with_recipe(score(path, truth_path, **known, **options), recipe, track=track, seen=seen)
            plot_curve(report.curve, path.with_suffix(".png"))
            broken = broken_images(path)
            values[track] = json_format.loads(report.to_json()) | {"replaced": broken}
            left = (f"{name}: {listed(found)}\n" for name, found in broken.items())
            lines.append(f"{track} track, {path}\n{report.summary()}\n{''.join(left)}")
    write_json(folder / SCORE, values)
    return "\n".join(lines)


def score_file(
    path: Path, *, ground_truth: Path | None, data: Path | None, json: Path | None, plot: Path | None, **options: Any
) -> str:
    """Score one file against ground truth; optionally write all figures and the picture. Text for people."""
    if ground_truth is None:
        raise MissingInput(
            seen=f"{path} without --ground-truth",
            allowed="a ground truth CSV",
            remedy="pass --ground-truth CSV, or a submission folder with --data DIR",
        )
    references = ids_of(given_disc(data), "references")
    report = score(path, ground_truth, references=references, **options)
    if json:
        write_text(json, report.to_json())
    if plot:
        plot_curve(report.curve, plot)
    return report.summary()


def _with_recipe(report: ScoreReport, recipe: config.Recipe, *, track: str, seen: np.ndarray) -> ScoreReport:
    """The report with what recipe and training logs say of its protocol; `seen` are the queries trained on."""
    kinds = " + ".join(step.kind for step in recipe.normalise)
    steps = kinds if track == "descriptor" else _branch_factors(recipe.matching)
    protocol = dataclasses.replace(
        report.protocol,
        normalisation=f"{steps} against train" if steps else "none",
        public_pairs=f"yes: scores of {len(seen)} queries are seen" if len(seen) else "no",
    )
    return dataclasses.replace(report, protocol=protocol)


def _branch_factors(matching: config.Matching) -> str:
    """Return how much of its train similarity each fused branch takes off a score; "" where none does."""
    factors = {branch.name: getattr(branch, "norm_factor", 0) for branch in matching.fused_branches}
    told = (f"{name}: {f'factor {factor:g}' if factor else 'none'}" for name, factor in factors.items())
    return "; ".join(told) if any(factors.values()) else ""


def score(
    path: Path,
    ground_truth: Path,
    *,
    queries: np.ndarray | None = None,
    references: np.ndarray | None = None,
    listed: Path | None = None,
    protocol: Literal["global", "knn"],
    k: int,
    bootstrap: int,
) -> ScoreReport:
    """Report on one submission file, with slices and, where asked for, an interval.

    Args:
        path: .csv of matches or .h5 of descriptors.
        ground_truth: the truth CSV.
        queries: ids of all queries of the phase, where known.
        references: ids of all references, where known.
        listed: a file of query ids, where the truth names positives only; the others among them are distractors.
        protocol: candidate rule for descriptors, "global" or "knn".
        k: neighbours of "knn".
        bootstrap: number of resamples, 0 for no interval.
    """
    if not path.is_file():
        raise MissingInput(
            seen=f"no file {path}", allowed="a .csv of matches or a .h5 of descriptors", remedy="correct the path"
        )
    truth = read_ground_truth(ground_truth, queries=read_query_list(listed) if listed else None)
    if path.suffix == ".csv":
        matches = read_matches(path)
        report = score_matches(matches, truth, phase_queries=queries, reference_ids=references)
    elif path.suffix in (".h5", ".hdf5"):
        with open_descriptors(path) as (described, collection):
            matches, made = descriptor_matches(described, collection, truth, protocol=protocol, k=k)
        report = score_matches(matches, truth, max_rows=len(matches), protocol=made)
    else:
        raise BadInput(seen=f"{path}", allowed="a .csv of matches or a .h5 of descriptors", remedy="correct the path")
    interval = resample(matches, truth, n=bootstrap, phase_queries=queries) if bootstrap else None
    return dataclasses.replace(
        report,
        interval=interval,
        slices=score_halves(matches, truth, max_rows=max(1, len(matches))),
        inputs={path.name: file_digest(path), ground_truth.name: file_digest(ground_truth)},
    )


def require_plot(path: Path | None) -> None:
    """Refuse a picture's file of no format that can be drawn. Raises BadInput."""
    if path is not None and path.suffix not in PLOTS:
        raise BadInput(seen=f"--plot {path}", allowed=f"a name that ends in {', '.join(PLOTS)}", remedy="rename it")


def plot_curve(curve: Curve, path: Path) -> None:
    """Draw precision over recall, the 90 % line and the operating point, as PNG or what the suffix names."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(curve.recall, curve.precision, color="tab:blue", linewidth=1.5)
    axes.axhline(PRECISION, color="grey", linestyle="--", linewidth=1, label="precision 0.9")
    recall, threshold = curve.operating_point()
    if threshold is not None:
        at = int(np.searchsorted(curve.recall, recall))
        axes.plot(
            recall, curve.precision[at], "o", color="tab:red", label=f"recall {recall:.4f} at score ≥ {threshold:.6g}"
        )
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1.02),
        xlabel="recall",
        ylabel="precision",
        title=f"µAP {curve.average_precision:.5f}, {curve.n_pos:,} true pairs",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=150, format=path.suffix.removeprefix("."))
