"""The competition's rules as programs: one function a rule, each with the level of evidence that it reaches."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from isckit.judge.freeze import require_frozen, state
from isckit.storage.artifacts import file_digest, read_json, read_receipt
from isckit.types import KitError, Role
from isckit.vectors.pca import load_pca
from isckit.workspace import Workspace


@dataclass(frozen=True)
class Finding:
    """What a rule's check found. `level`: proven by a program, sampled, or only declared by records."""

    rule: str
    passed: bool
    level: Literal["proven", "sampled", "declared"]
    examined: str
    detail: str = ""


@dataclass(frozen=True)
class Submission:
    """The submission under examination."""

    workspace: Workspace
    phase: int
    name: str


def no_augmentation(submission: Submission) -> Finding:
    """No training on transformed queries or references: every epoch in the training logs drew from train images."""
    logs = sorted((submission.workspace.checkpoint(submission.name) / "training").glob("*/metrics.jsonl"))
    epochs = [json.loads(line) for log in logs for line in log.read_text(encoding="utf-8").splitlines()]
    wrong = [e for e in epochs if not Role(e["role"]).may_be_fitted_on]
    detail = (
        f"epochs on {sorted({e['role'] for e in wrong})} images: {[e['epoch'] for e in wrong][:5]}" if wrong else ""
    )
    return Finding(
        "no-augmentation", not wrong, "declared", f"{len(epochs)} epochs in {len(logs)} training logs", detail
    )


def fitted_on_train(submission: Submission) -> Finding:
    """PCA and the bank of normalisations were fitted on train images only, and are the files whose receipts say so."""
    workspace, name = submission.workspace, submission.name
    problems = []
    roles = {"PCA": load_pca(workspace.ensemble(name)).fitted_on.value}
    for what, path in (("PCA receipt", workspace.ensemble(name)), ("bank receipt", workspace.bank(name))):
        roles[what] = read_receipt(path)["facts"]["fitted_on"]
    problems += [f"{what} fitted on {role}" for what, role in roles.items() if not Role(role).may_be_fitted_on]
    for path in (workspace.descriptors(submission.phase, name), workspace.matches(submission.phase, name)):
        if path.is_file():
            used = read_receipt(path)["made_from"]
            for part, source in (("ensemble", workspace.ensemble(name)), ("bank", workspace.bank(name))):
                if used[part] != file_digest(source):
                    problems.append(f"{path.name} was made with another {part}")
    return Finding("fitted-on-train", not problems, "declared", "PCA, bank and their receipts", "; ".join(problems))


def frozen(submission: Submission) -> Finding:
    """Phase 2 used the code, weights, recipe and fitted parts of phase 1."""
    if submission.phase == 1:
        return Finding("phase-2-freeze", True, "proven", "not asked for in phase 1")
    try:
        require_frozen(submission.workspace, submission.name)
        recorded = read_json(submission.workspace.freeze(submission.name))["code"]
        same = recorded == state(submission.workspace, submission.name)["code"]
    except KitError as error:
        return Finding("phase-2-freeze", False, "proven", "digests against freeze.json", error.seen)
    detail = "" if same else "the code differs from that of phase 1"
    return Finding("phase-2-freeze", same, "proven", "digests against freeze.json", detail)


RULES: tuple[Callable[[Submission], Finding], ...] = (no_augmentation, fitted_on_train, frozen)


def examine(folder: Path) -> list[Finding]:
    """Run every rule on a submission folder; a rule that cannot be examined fails, and none stops the others."""
    submission = Submission(*Workspace.locate(folder))
    findings = []
    for rule in RULES:
        try:
            findings.append(rule(submission))
        except KitError as error:
            findings.append(Finding(rule.__name__.replace("_", "-"), False, "declared", "nothing", error.seen))
    return findings


def to_json(findings: list[Finding]) -> list[dict]:
    """Findings as plain values."""
    return [asdict(finding) for finding in findings]
