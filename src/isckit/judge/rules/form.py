"""Rule 5.7, limits on form: rows, floats, ids, values of both files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from isckit.data.layouts import Disc
from isckit.judge.form import Fault, check_descriptors_form, check_matches_form
from isckit.judge.rules.finding import Case, Finding, judged
from isckit.workspace import query_set


def limits_on_form(case: Case) -> Finding:
    """Both files keep to the official formats and limits."""
    faults = form_faults(case) if case.form is None else case.form
    problems = [f"{name}: {fault}" for name, found in faults.items() for fault in found]
    against = "the image sets at hand" if case.disc else "the ids of DISC21"
    return judged(problems, "proven", f"every row of {' and '.join(faults)}, against {against}")


def form_faults(case: Case) -> dict[str, list[Fault]]:
    """Faults of each submission file that is there."""
    paths = (case.workspace.descriptors(case.phase, case.name), case.workspace.matches(case.phase, case.name))
    return {path.name: file_faults(path, phase=case.phase, disc=case.disc) for path in paths if path.is_file()}


def file_faults(path: Path, *, phase: int | None, disc: Disc | None) -> list[Fault]:
    """Faults of one file: a CSV of matches, or anything else as descriptors."""
    check = check_matches_form if path.suffix == ".csv" else check_descriptors_form
    queries = ids_of(disc, query_set(phase)) if phase else None
    return check(path, query_ids=queries, reference_ids=ids_of(disc, "references"), phase=phase)


def ids_of(disc: Disc | None, image_set: str) -> np.ndarray | None:
    """Ids of an image set, where it is at hand."""
    images = getattr(disc, image_set) if disc else None
    return images.ids if images is not None else None
