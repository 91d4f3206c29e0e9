"""Rule 5.8, the freeze: phase 2 used the code, weights, recipe, environment and reference vectors of phase 1."""

from __future__ import annotations

from isckit.judge.freeze import edits, read_freeze
from isckit.judge.rules.finding import Case, Finding, judged
from isckit.judge.state import WORDS, compare, state


def frozen(case: Case) -> Finding:
    """Everything that phase 1 deposited is still as it was: every file and value that changed is named.

    The deposited file counts where one is given, else the freeze beside the weights, which proves no time.
    """
    if case.phase == 1:
        return Finding("passed", "proven", "not asked for in phase 1")
    path = case.against or case.workspace.freeze(case.name)
    if not path.is_file():
        return Finding("failed", "none", f"no {path}", "nothing says what phase 1 deposited")
    record, descriptors = read_freeze(path), case.workspace.descriptors(2, case.name)
    now = state(case.workspace, case.name, descriptors=descriptors)
    references = (
        f"and the reference descriptors recomputed from {descriptors.name}"
        if now["reference_rows"]
        else f"but no reference descriptors, as there is no {descriptors.name}"
    )
    further = len(now["artifacts"].keys() - WORDS.keys())
    more = f"{further} more fitted files, " if further else ""
    examined = (
        f"weights, PCA, bank, {more}recipe, {len(now['code'])} code files, {len(now['environment'])} versions "
        f"{references}, against {path.name} of {record['time']}"
    )
    note = f"seal {record['seal']}" if case.against else "the freeze beside the weights, which nobody else holds"
    return judged(edits(path, record) + compare(record, now), "proven", examined, note=note)
