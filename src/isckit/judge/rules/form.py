"""Rule 5.7, limits on form: rows, floats, ids, values of both files."""

from __future__ import annotations

import numpy as np

from isckit.data.layouts import Disc
from isckit.judge.form import Fault, check_descriptors_form, check_matches_form
from isckit.judge.rules.finding import Case, Finding, judged
from isckit.workspace import query_set


def limits_on_form(case: Case) -> Finding:
    """Both files keep to the official formats and limits."""
    faults = form_faults(case)
    problems = [f"{name}: {fault}" for name, found in faults.items() for fault in found]
    against = "the image sets at hand" if case.disc else "the ids of DISC21"
    return judged(problems, "proven", f"every row of {' and '.join(faults)}, against {against}")


def form_faults(case: Case) -> dict[str, list[Fault]]:
    """Faults of each submission file that is there."""
    found = {}
    ids = {"query_ids": ids_of(case.disc, query_set(case.phase)), "reference_ids": ids_of(case.disc, "references")}
    for path, check in (
        (case.workspace.descriptors(case.phase, case.name), check_descriptors_form),
        (case.workspace.matches(case.phase, case.name), check_matches_form),
    ):
        if path.is_file():
            found[path.name] = check(path, phase=case.phase, **ids)
    return found


def ids_of(disc: Disc | None, image_set: str) -> np.ndarray | None:
    """Ids of an image set, where it is at hand."""
    images = getattr(disc, image_set) if disc else None
    return images.ids if images is not None else None
