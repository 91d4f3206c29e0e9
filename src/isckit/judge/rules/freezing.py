"""Rule 5.8, the freeze: phase 2 used the code, weights, recipe and fitted parts of phase 1."""

from __future__ import annotations

from isckit.judge.freeze import require_frozen, state
from isckit.judge.rules.finding import Case, Finding, judged
from isckit.storage.artifacts import read_json
from isckit.types import RuleViolation


def frozen(case: Case) -> Finding:
    """Phase 2 used the code, weights, recipe and fitted parts of phase 1."""
    if case.phase == 1:
        return Finding("passed", "proven", "not asked for in phase 1")
    problems = []
    try:
        require_frozen(case.workspace, case.name)
    except RuleViolation as error:
        problems.append(error.seen)
    if read_json(case.workspace.freeze(case.name))["code"] != state(case.workspace, case.name)["code"]:
        problems.append("the code differs from that of phase 1")
    return judged(problems, "proven", "digests against freeze.json")
