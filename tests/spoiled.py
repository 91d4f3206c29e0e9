"""Submissions to spoil: which rules catch them, and how to change what a run recorded."""

import json

from isckit.judge.rules.examine import RULES, guarded
from isckit.judge.rules.finding import Case
from isckit.runs.artifacts import ids_digest, write_json, write_text
from isckit.runs.records import read_json
from isckit.runs.workspace import Workspace


def case_of(root, *, phase=1, **more):
    return Case(Workspace(root), phase, "run", **more)


def caught_by(case):
    """Names of the programs that fail a case."""
    return {rule.program.__name__ for rule in RULES if guarded(rule.program, case).status == "failed"}


def consume(root, role, names, **changes):
    """Let the first epoch of the training log say that it drew images of a role, unaugmented."""
    import numpy as np

    path = root / "checkpoints/run/training/network/metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    record = {"augmented": False, "draws": len(names), "images": len(names), "listed": list(names)}
    record |= {"ids": ids_digest(np.array(sorted(names)))} | changes
    lines[0]["consumed"][role] = {key: value for key, value in record.items() if value is not None}
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))


def fit_further(root):
    """Give the run's branch of views a space and a threshold of its own, and fit both."""
    from isckit.cli.main import main

    def change(values):
        space = {"dim": 8, "whiten": 0.0, "fit_images": 40}
        values["matching"]["branches"][0] |= {"space": space, "cut": {"by": "share", "amount": 0.01}}

    change_recipe(root, change)
    assert main(["fit", "--name", "run", "--root", str(root)]) == 0


def change_recipe(root, change):
    """Rewrite the recipe of a run."""
    path = root / "checkpoints/run/recipe.json"
    values = read_json(path)
    change(values)
    write_json(path, values)
