"""The breakdown by kind of edit as Markdown and as a heat map."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from isckit.data.containers import some
from isckit.data.ground_truth import phases_of, read_ground_truth
from isckit.data.layouts import open_disc
from isckit.judge.score.curve import trace
from isckit.judge.score.labels import label
from isckit.judge.score.score import descriptor_matches, true_rows
from isckit.runs.artifacts import atomic, write_json, write_text
from isckit.runs.workspace import DESCRIPTORS, MATCHES, query_set
from isckit.studies.tables import markdown
from isckit.submission import open_descriptors, read_matches
from isckit.types import BadInput, GroundTruth, Matches, MissingInput

FIGURES = ("recall_at_p90", "recall_at_1")
TITLES = {"recall_at_p90": "recall at the threshold of precision 0.9", "recall_at_1": "recall@1"}


def hardest_first(systems: Sequence[System]) -> list[str]:
    """Return the kinds of edit by the mean of both recalls over all systems."""
    cells = {kind: [system.kinds[kind] for system in systems] for kind in systems[0].kinds}
    mean = {kind: np.mean([getattr(cell, f) for cell in own for f in FIGURES]) for kind, own in cells.items()}
    return sorted(mean, key=lambda kind: (mean[kind], kind))


def page(systems: Sequence[System], *, picture: str, phase: int, labelled_queries: int, true_pairs: int) -> str:
    """Return the tables of systems by kind and by number of edits as a Markdown page."""
    kinds = hardest_first(systems)
    counts = list(systems[0].counts)
    lines = [
        "# Recall by kind of edit",
        "",
        f"Phase {phase}: {labelled_queries:,} labelled queries, {true_pairs:,} true pairs. A query has several edits "
        "and counts for each, so the recall of a kind is also that of the kinds it comes with. The threshold of "
        "precision 0.9 is that of a system over the whole set. The hardest kinds come first.",
        "",
        f"![{TITLES['recall_at_p90']}, and {TITLES['recall_at_1']}]({picture})",
        "",
        _summary(systems),
    ]
    for figure in FIGURES:
        lines += [f"## By kind: {TITLES[figure]}", "", _by(systems, kinds, lambda s: s.kinds, "edit", figure)]
    for figure in FIGURES:
        title = f"## By number of edits: {TITLES[figure]}"
        lines += [title, "", _by(systems, counts, lambda s: s.counts, "edits", figure)]
    return "\n".join(lines).removesuffix("\n")


def _summary(systems: Sequence[System]) -> str:
    figures = {
        "uAP": [system.average_precision for system in systems],
        "Recall@P90": [system.whole.recall_at_p90 for system in systems],
        "threshold": [math.nan if system.threshold is None else system.threshold for system in systems],
        "recall@1": [system.whole.recall_at_1 for system in systems],
    }
    table = pd.DataFrame({"system": [system.name for system in systems], **figures})
    formats = dict.fromkeys(figures, "{:.4f}") | {"threshold": "{:.6g}"}
    return markdown(table, formats, missing="never reached")


def _by(
    systems: Sequence[System],
    rows: Sequence[str],
    cells: Callable[[System], Mapping[str, Cell]],
    what: str,
    figure: str,
) -> str:
    """Return one figure: a row a kind or number, a column a system."""
    shares = {system.name: [getattr(cells(system)[row], figure) for row in rows] for system in systems}
    table = pd.DataFrame({what: rows, "pairs": [cells(systems[0])[row].pairs for row in rows], **shares})
    return markdown(table, {"pairs": "{:,}"} | dict.fromkeys(shares, "{:.3f}"))


def heat_map(systems: Sequence[System], path: Path) -> None:
    """Draw both recalls, a row a kind of edit, hardest first, and a column a system."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kinds = hardest_first(systems)
    labels = [f"{kind}  ({systems[0].kinds[kind].pairs:,})" for kind in kinds]
    longest = max(len(system.name) for system in systems)
    size = (3.6 + 1.2 * len(systems), 1.2 + 0.085 * longest + 0.3 * len(kinds))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    for panel, name in zip(panels, FIGURES, strict=True):
        values = np.array([[getattr(system.kinds[kind], name) for system in systems] for kind in kinds])
        drawn = panel.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            colour = "black" if value > 0.6 else "white"
            panel.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
        panel.set_title(TITLES[name].replace(" of ", "\nof "), fontsize=9)
        panel.set_xticks(range(len(systems)), [system.name for system in systems], rotation=90, fontsize=8)
        panel.set_yticks(range(len(kinds)), labels, fontsize=8)
        panel.tick_params(length=0)
    figure.colorbar(drawn, ax=panels, fraction=0.04)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


EDITS = Path("list_files") / "edits.csv"
"""Where `isckit data synthetic` writes down what it did to each query."""
HEADER = ["query_id", "phase", "step", "op", "reference_id"]
UNEDITED = "none"


@dataclass(frozen=True)
class Cell:
    """Of the true pairs whose query has an edit, how many there are and which share of them a system finds.

    Attributes:
        pairs: number of true pairs; 0 where none of the labelled queries has the edit.
        recall_at_p90: share with at least the score from which precision over the whole set is 0.9.
        recall_at_1: share that no other row of the query reaches.
    """

    pairs: int
    recall_at_p90: float
    recall_at_1: float


@dataclass(frozen=True)
class System:
    """A submission: its figures over the whole set, by kind of edit, and by number of edits.

    Attributes:
        threshold: score from which precision is 0.9; None where it never is, and all recalls at it are 0.
    """

    name: str
    average_precision: float
    threshold: float | None
    whole: Cell
    kinds: Mapping[str, Cell]
    counts: Mapping[str, Cell]


def break_down(paths: Sequence[Path], *, data: Path, out: Path) -> str:
    """Write the table of submissions and kinds of edit as Markdown, beside it JSON and a heat map; returns the text.

    Args:
        paths: submission folders, each with one or both tracks, or single files, all of one phase.
        data: a set that `isckit data synthetic` wrote.
        out: the Markdown file; the others have its name with .json and .png.

    Raises:
        MissingInput: no submission, no record of edits or no ground truth is there.
        BadInput: submissions of several phases, or edits of another set.
    """
    if out.suffix != ".md":
        raise BadInput(seen=f"--out {out}", allowed="a name that ends in .md", remedy="pass --out NAME.md")
    files = _named_files(paths)
    loaded = {name: _query_ids(path) for name, path in files.items()}
    phases = np.unique(np.concatenate([phases_of(ids) for ids in loaded.values()])).tolist()
    if len(phases) != 1 or phases[0] == 0:
        raise BadInput(
            seen=f"submissions of phases {', '.join(map(str, phases)) or 'unknown'} (0: other ids)",
            allowed="submissions of one phase",
            remedy="break each phase down by itself",
        )
    disc, phase = open_disc(data), int(phases[0])
    images = getattr(disc, query_set(phase))
    queries = None if images is None else images.ids
    if phase not in disc.ground_truth:
        raise MissingInput(
            seen=f"no ground truth of phase {phase} in {data}", allowed="a set with its truth", remedy="correct --data"
        )
    truth, edits = read_ground_truth(disc.ground_truth[phase]), read_edits(data / EDITS, phase=phase)
    _refuse_other_set(truth, edits)
    systems = [system(name, _matches(path, truth), truth, edits, queries=queries) for name, path in files.items()]
    values = {"phase": phase, "labelled_queries": len(truth.listed_queries), "true_pairs": len(truth.query_ids)}
    write_json(out.with_suffix(".json"), values | {"systems": [dataclasses.asdict(each) for each in systems]})
    heat_map(systems, out.with_suffix(".png"))
    text = page(systems, picture=out.with_suffix(".png").name, **values)
    write_text(out, text)
    return text


@dataclass(frozen=True)
class Edits:
    """The edits done to the queries of a phase: query -> kinds of edit, each once, number of edits, and reference."""

    kinds: Mapping[str, frozenset[str]]
    counts: Mapping[str, int]
    references: Mapping[str, str]


def read_edits(path: Path, *, phase: int) -> Edits:
    """Read edits.csv of a synthetic set.

    Raises:
        MissingInput: there is none.
        BadInput: it is another kind of file.
    """
    if not path.is_file():
        raise MissingInput(
            seen=f"no {path}", allowed="a set whose edits are known", remedy="make one with: isckit data synthetic"
        )
    with path.open(encoding="utf-8", newline="") as handle:
        header, *rows = csv.reader(handle)
    wrong = [number for number, row in enumerate(rows, start=2) if len(row) != len(HEADER)]
    if header != HEADER or wrong:
        where = f"header {','.join(header)}" if header != HEADER else f"line {wrong[0]}"
        raise BadInput(
            seen=f"{path}, {where}", allowed=",".join(HEADER), remedy="take the file as isckit data synthetic wrote it"
        )
    own = [row for row in rows if row[1] == str(phase)]
    ops: dict[str, list[str]] = {}
    for query, _, _, op, _ in own:
        ops.setdefault(query, []).append(op)
    kinds = {query: frozenset(done) for query, done in ops.items()}
    return Edits(kinds, {query: len(done) for query, done in ops.items()}, {row[0]: row[4] for row in own})


def system(
    name: str, matches: Matches, truth: GroundTruth, edits: Edits, *, queries: np.ndarray | None = None
) -> System:
    """Break one list of scored pairs down; `queries` are all of the phase. Raises BadInput as `score_matches` does."""
    rows = label(matches, truth, phase_queries=queries)
    curve, found = trace(rows.scores, rows.correct, n_pos=len(truth.query_ids)), true_rows(rows)
    threshold = curve.operating_point()[1]
    sure = found.scores >= (np.inf if threshold is None else threshold)
    listed = truth.listed_queries.tolist()

    def cell(chosen: np.ndarray) -> Cell:
        pairs, own = int(chosen[rows.true_queries].sum()), chosen[found.queries]
        shares = [float((own & mask).sum()) / max(1, pairs) for mask in (sure, found.ranks == 0)]
        return Cell(pairs, *shares)

    done = [edits.kinds.get(query, frozenset({UNEDITED})) for query in listed]
    counts = np.array([edits.counts.get(query, 0) for query in listed])
    of_pairs = sorted(set(rows.true_queries.tolist()))
    return System(
        name,
        curve.average_precision,
        threshold,
        cell(np.ones(len(listed), bool)),
        {
            kind: cell(np.array([kind in own for own in done]))
            for kind in sorted(set().union(*(done[k] for k in of_pairs)))
        },
        {str(count): cell(counts == count) for count in np.unique(counts[of_pairs]).tolist()},
    )


def _refuse_other_set(truth: GroundTruth, edits: Edits) -> None:
    """Edits of another set tell of other references."""
    pairs = zip(truth.query_ids.tolist(), truth.reference_ids.tolist(), strict=True)
    other = [query for query, reference in pairs if edits.references.get(query, reference) != reference]
    if other:
        raise BadInput(
            seen=f"{EDITS} tells of other references than the ground truth for {some(other)}",
            allowed="edits and ground truth of one set",
            remedy="take both as isckit data synthetic wrote them",
        )


def _named_files(paths: Iterable[Path]) -> dict[str, Path]:
    """Return the submission files by what to call them: folder and track, with the whole path where names repeat."""
    found: list[tuple[Path, Path]] = []
    for path in paths:
        files = [path / file for file in (MATCHES, DESCRIPTORS)] if path.is_dir() else [path]
        there = [(path, file) for file in files if file.is_file()]
        if not there:
            raise MissingInput(
                seen=f"{path} is no submission",
                allowed=f"a folder with {MATCHES} or {DESCRIPTORS}, or such a file",
                remedy="correct the path",
            )
        found += there
    short = [f"{place.stem if place == file else place.name} {_track(file)}" for place, file in found]
    return {
        name if short.count(name) == 1 else f"{place} {_track(file)}": file
        for name, (place, file) in zip(short, found, strict=True)
    }


def _track(file: Path) -> str:
    return "matching" if file.suffix == ".csv" else "descriptor"


def _query_ids(path: Path) -> np.ndarray:
    if path.suffix == ".csv":
        return np.unique(read_matches(path).query_ids)
    with open_descriptors(path) as (queries, _):
        return queries.ids


def _matches(path: Path, truth: GroundTruth) -> Matches:
    """Return the pairs of a file; those of descriptors are searched as the contest does."""
    if path.suffix == ".csv":
        return read_matches(path)
    with open_descriptors(path) as (queries, references):
        return descriptor_matches(queries, references, truth)[0]
