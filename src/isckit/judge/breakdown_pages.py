"""The breakdown by kind of edit as Markdown and as a heat map."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from isckit.storage.artifacts import atomic

if TYPE_CHECKING:
    from isckit.judge.breakdown import Cell, System

FIGURES = ("recall_at_p90", "recall_at_1")
TITLES = {"recall_at_p90": "recall at the threshold of precision 0.9", "recall_at_1": "recall@1"}


def hardest_first(systems: Sequence[System]) -> list[str]:
    """Kinds of edit by the mean of both recalls over all systems."""
    cells = {kind: [system.kinds[kind] for system in systems] for kind in systems[0].kinds}
    mean = {kind: np.mean([getattr(cell, f) for cell in own for f in FIGURES]) for kind, own in cells.items()}
    return sorted(mean, key=lambda kind: (mean[kind], kind))


def markdown(systems: Sequence[System], *, picture: str, phase: int, labelled_queries: int, true_pairs: int) -> str:
    """Tables of systems by kind and by number of edits."""
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
        *_table(["system", "uAP", "Recall@P90", "threshold", "recall@1"], (_summary(system) for system in systems)),
    ]
    for figure in FIGURES:
        lines += ["", f"## By kind: {TITLES[figure]}", "", *_by(systems, kinds, lambda s: s.kinds, "edit", figure)]
    for figure in FIGURES:
        title = f"## By number of edits: {TITLES[figure]}"
        lines += ["", title, "", *_by(systems, counts, lambda s: s.counts, "edits", figure)]
    return "\n".join(lines) + "\n"


def _summary(system: System) -> list[str]:
    threshold = "never reached" if system.threshold is None else f"{system.threshold:.6g}"
    whole = system.whole
    return [
        system.name,
        f"{system.average_precision:.4f}",
        f"{whole.recall_at_p90:.4f}",
        threshold,
        f"{whole.recall_at_1:.4f}",
    ]


def _by(
    systems: Sequence[System],
    rows: Iterable[str],
    cells: Callable[[System], Mapping[str, Cell]],
    what: str,
    figure: str,
) -> list[str]:
    """One figure: a row a kind or number, a column a system."""
    body = (
        [row, f"{cells(systems[0])[row].pairs:,}", *(f"{getattr(cells(s)[row], figure):.3f}" for s in systems)]
        for row in rows
    )
    return _table([what, "pairs", *(system.name for system in systems)], body)


def _table(header: list[str], rows: Iterable[list[str]]) -> list[str]:
    marks = ["---", *("---:" for _ in header[1:])]
    return [f"| {' | '.join(cells)} |" for cells in (header, marks, *rows)]


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
