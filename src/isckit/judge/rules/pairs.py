"""Rule 5.2, training on references and public pairs without augmentation: tolerated if told, never on hidden labels.

Source: competition forum, answers on training with references and with ground-truth pairs. They leave it ambiguous; two
prize winners fine-tuned on the public pairs. Scores on such queries are training scores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from isckit.data.ground_truth import PHASE_QUERIES, PUBLIC_QUERIES, disc_numbers, read_ground_truth
from isckit.judge.rules.finding import Case, Finding, judged
from isckit.judge.rules.training import trained_parts, training_logs
from isckit.runs.artifacts import ids_digest
from isckit.types import Role

_SHOWN = 5
_PLAIN = (Role.QUERY.value, Role.REFERENCE.value)


def public_pairs(case: Case) -> Finding:
    """Queries that trained anything are of the public half of phase 1, and every one of them is listed."""
    if not case.workspace.recipe(case.name).is_file():
        return Finding("unknown", "none", "no recipe and no training logs")
    logs = training_logs(case.checkpoint)
    if not logs and trained_parts(case.recipe):
        return Finding("unknown", "none", "no training logs", "the training of installed weights is not recorded here")
    problems, notes = [], []
    for member, log in logs.items():
        for epoch in log:
            for role, drawn in epoch["consumed"].items():
                # Augmented ones are rule 5.1's.
                if role in _PLAIN and not drawn.get("augmented"):
                    problems += [f"member {member}, epoch {epoch['epoch'] + 1}: {p}" for p in _problems(role, drawn)]
                    notes.append(f"member {member} trained on {role} images, which is tolerated and risks overfitting")
    epochs = sum(len(log) for log in logs.values())
    examined = f"{epochs} epochs in {len(logs)} training logs"
    note = [*dict.fromkeys(notes), *_overlap(case)]
    more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    return judged(problems[:_SHOWN] + more, "declared", examined, note="; ".join(note))


def seen_queries(checkpoint: Path) -> np.ndarray:
    """Sorted ids of the queries that trained anything, as far as the training logs list them.

    Raises:
        BadInput: a training log is not one of this kit.
    """
    epochs = [epoch for log in training_logs(checkpoint).values() for epoch in log]
    listed = [
        drawn.get("listed", []) for epoch in epochs for role, drawn in epoch["consumed"].items() if role == "query"
    ]
    return np.unique(np.array([name for names in listed for name in names], str))


def _problems(role: str, drawn: dict[str, Any]) -> list[str]:
    """What is wrong with the record of one epoch's unaugmented queries or references."""
    if "listed" not in drawn:
        return [f"{drawn.get('images')} {role} images without a list of their ids"]
    ids = np.unique(np.array(drawn["listed"], str))
    problems = []
    if len(ids) != drawn.get("images") or ids_digest(ids) != drawn.get("ids"):
        problems.append(f"the {len(ids)} {role} ids listed are not the {drawn.get('images')} that were drawn")
    if role == Role.QUERY.value:
        numbers = disc_numbers(ids, "Q")
        for what, hidden in (
            ("the half of phase 1 without public labels", (numbers >= PUBLIC_QUERIES) & (numbers < PHASE_QUERIES)),
            ("phase 2", numbers >= PHASE_QUERIES),
        ):
            if hidden.any():
                problems.append(f"{hidden.sum()} queries of {what}: {', '.join(ids[hidden][:_SHOWN])}")
    return problems


def _overlap(case: Case) -> list[str]:
    """How many of the queries that are scored were trained on."""
    seen = seen_queries(case.checkpoint)
    if not len(seen):
        return []
    truth = case.disc.ground_truth.get(case.phase) if case.disc else None
    if truth is None:
        return [f"scores on {len(seen)} queries are training scores (seen); no ground truth at hand to count them in"]
    scored = read_ground_truth(truth).listed_queries
    both = np.isin(scored, seen).sum()
    return [f"{both} of {len(scored)} scored queries were trained on: their scores are labelled seen"]
