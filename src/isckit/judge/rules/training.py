"""Rules 5.1 and 5.2, what trained the weights: by logs, which are records, and by a watched training, an experiment.

5.1: no image made from a query or reference trains anything; no train file may be one, byte for byte.
5.2: training on references and public pairs without augmentation is tolerated if it is recorded, never on hidden
labels. Source: competition forum, answers on training with references and with ground-truth pairs. They leave it
ambiguous; two prize winners fine-tuned on the public pairs. Scores on such queries are training scores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from isckit import config
from isckit.data.ground_truth import PHASE_QUERIES, PUBLIC_QUERIES, disc_numbers, read_ground_truth
from isckit.data.layouts import Disc
from isckit.judge.audit.images import digest_images, same_bytes
from isckit.judge.rules.experiments.watched import watched_training
from isckit.judge.rules.finding import Case, Finding, judged
from isckit.runs.artifacts import ids_digest, read_receipt
from isckit.runs.records import Epoch, read_lines
from isckit.runs.workspace import METRICS, query_set
from isckit.types import Role

MOST_SAME = 1e-3
"""Part of the train files that may be, byte for byte, also a query or reference."""
_READERS = 4
_SHOWN = 5
_PLAIN = (Role.QUERY.value, Role.REFERENCE.value)


def no_augmentation(case: Case) -> Finding:
    """Judge rule 5.1: no image made from a query or reference trains anything."""
    logs = training_logs(case.checkpoint)
    epochs = sum(len(log) for log in logs.values())
    problems = [
        f"member {member}, epoch {epoch['epoch'] + 1}: augmented {role} images"
        for member, log in logs.items()
        for epoch in log
        for role, drawn in epoch["consumed"].items()
        if drawn["augmented"] and not Role(role).may_be_fitted_on
    ][:_SHOWN]
    examined = f"{epochs} epochs in {len(logs)} training logs"
    if not case.workspace.recipe(case.name).is_file():
        return Finding("unknown", "none", "no recipe and no training logs")
    if not problems and (unlogged := [name for name in trained_parts(case.recipe) if name not in logs]):
        source = read_receipt(case.workspace.weights(case.name))["facts"].get("source", "elsewhere")
        what = "no training logs" + (f" of {', '.join(unlogged)}" if logs else "")
        return Finding("unknown", "none", what, f"the weights were installed from {source}")
    if not trained_parts(case.recipe):
        return judged(problems, "declared", f"{examined}; nothing of the recipe is trained")
    if case.probe is None or case.probe.train is None or case.probe.sample == 0 or case.disc is None:
        return judged(problems, "declared", examined, note="training not watched")
    found, watched = watched_training(case, case.disc, case.probe.train)
    same, compared = _same_files(case, case.disc)
    return judged(problems + found + same, "sampled", f"{examined}; {watched}; {compared}")


def _same_files(case: Case, disc: Disc) -> tuple[list[str], str]:
    """Train images that are queries or references, byte for byte; a few may stand in the data set itself."""
    sets = {name: getattr(disc, name) for name in ("train", "references", query_set(case.phase))}
    digests = {
        name: digest_images(images, case.workspace.images(case.name, name), workers=_READERS)
        for name, images in sets.items()
        if images is not None
    }
    train = digests.pop("train")
    pairs = [pair for other in digests.values() for pair in same_bytes(train, other)]
    problems = []
    if len(pairs) > MOST_SAME * len(train.ids):
        named = ", ".join(f"{own} is {other}" for own, other in pairs[:_SHOWN])
        problems = [f"{len(pairs)} train files are files of queries or references: {named}"]
    return problems, f"{len(pairs)} of {len(train.ids)} train files are those of a query or reference"


def public_pairs(case: Case) -> Finding:
    """Judge rule 5.2: queries that trained anything are of the public half of phase 1, and all are listed."""
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
    """Return the sorted ids of the queries that trained anything, as far as the training logs list them.

    Raises:
        BadInput: a training log is not one of this kit.
    """
    epochs = [epoch for log in training_logs(checkpoint).values() for epoch in log]
    listed = [
        drawn.get("listed", []) for epoch in epochs for role, drawn in epoch["consumed"].items() if role == "query"
    ]
    return np.unique(np.array([name for names in listed for name in names], str))


def _problems(role: str, drawn: dict[str, Any]) -> list[str]:
    """Return what is wrong with the record of one epoch's unaugmented queries or references."""
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
    """Return, in words, how many of the queries that are scored were trained on."""
    seen = seen_queries(case.checkpoint)
    if not len(seen):
        return []
    truth = case.disc.ground_truth.get(case.phase) if case.disc else None
    if truth is None:
        return [f"scores on {len(seen)} queries are training scores (seen); no ground truth at hand to count them in"]
    scored = read_ground_truth(truth).listed_queries
    both = np.isin(scored, seen).sum()
    return [f"{both} of {len(scored)} scored queries were trained on: their scores are labelled seen"]


def trained_parts(recipe: config.Recipe) -> tuple[str, ...]:
    """Return the names of all that is trained, each with a log of its own: members, networks that see pairs, the
    detector.
    """
    detectors = [recipe.detector] if recipe.detector is not None else []
    return (
        *(member.name for member in recipe.trained),
        *(member.name for member in recipe.fitted),
        *(network.name for network in recipe.pair_networks),
        *(detector.name for detector in detectors),
    )


def training_logs(checkpoint: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the epoch records of each trained part: "epoch", and "consumed" as {role: {"augmented", "draws", "images",
    "ids"}}.

    `ids` is the digest of the distinct ids drawn. Records of queries and references also have them as "listed".

    Raises:
        BadInput: a log is not made of such records.
    """
    paths = sorted((checkpoint / "training").glob(f"*/{METRICS}"))
    return {path.parent.name: read_lines(path, Epoch, remedy="train again, under another --name") for path in paths}
