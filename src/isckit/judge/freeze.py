"""The phase-2 freeze: what phase 1 deposits of code, weights, recipe, environment and reference vectors stands still.

Source: rule 5.8 of the competition: code, weights and parameters as deposited, reference descriptors identical.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from isckit import config
from isckit.config.differences import recipe_differences
from isckit.judge.state import code_changes, code_digest, commit, compare, model_changes, parts, state
from isckit.runs.artifacts import read_receipt, weights_digest, write_json
from isckit.runs.records import Freeze, read_json
from isckit.runs.workspace import Workspace
from isckit.types import BadInput, MissingInput, RuleViolation

log = logging.getLogger(__name__)

SECTIONS = ("code", "artifacts", "recipe", "environment")
NOTICE = (
    "The clock of the machine that wrote this file proves nothing. Deposit the file, or at least its seal, with a "
    "third party before the queries of phase 2 are published."
)


def freeze(workspace: Workspace, name: str) -> Path:
    """Record the state of a run after phase 1 and return the file; an equal record stays as it is, its time included.

    Raises:
        MissingInput: the run did not go through phase 1.
        BadInput: the reference descriptors are not those that were written.
        RuleViolation: a phase-2 submission stands already that was made under another record.
    """
    path, now = workspace.freeze(name), _finished(workspace, name)
    if path.is_file():
        stands = read_freeze(path)
        changes = edits(path, stands) + compare(stands, now)
        if not changes:
            log.info("already frozen: %s, seal %s", path, stands["seal"])
            return path
        if workspace.descriptors(2, name).is_file() or workspace.matches(2, name).is_file():
            raise RuleViolation(
                seen=f"run {name!r} has a phase-2 submission and differs from its freeze: {_few(changes)}",
                allowed="one freeze, before phase 2",
                remedy="put everything back as it was, or run both phases under another --name",
            )
        log.warning("replaced %s: %s", path, _few(changes))
    time = datetime.now(UTC).isoformat(timespec="seconds")
    record = now | {"name": name, "time": time, "code_digest": code_digest(), "commit": commit(), "notice": NOTICE}
    record["seal"] = seal(record)
    write_json(path, record)
    log.info("frozen: %s, seal %s\n%s", path, record["seal"], NOTICE)
    return path


def _finished(workspace: Workspace, name: str) -> dict[str, Any]:
    """State of a run that went through phase 1."""
    files = {"recipe": workspace.recipe(name)} | parts(workspace, name)
    missing = [part for part, path in files.items() if not path.is_file()]
    descriptors = workspace.descriptors(1, name)
    if not descriptors.is_file() and not workspace.matches(1, name).is_file():
        missing.append("phase-1 submission")
    if missing:
        raise MissingInput(
            seen=f"run {name!r} has no {', no '.join(missing)}",
            allowed="a run that went through phase 1",
            remedy=f"run phase 1 first: ./run_phase1.sh --name {name}",
        )
    now = state(workspace, name, descriptors=descriptors)
    if descriptors.is_file() and read_receipt(descriptors)["facts"].get("reference_rows") != now["reference_rows"]:
        raise BadInput(
            seen=f"{descriptors} holds other reference vectors than those that its receipt records",
            allowed="the file as the descriptor track wrote it",
            remedy=f"remove it and write it again: isckit descriptor --name {name} --phase 1",
        )
    return now


def read_freeze(path: Path) -> dict[str, Any]:
    """Read a freeze file; whether its seal fits is for the caller to ask.

    Raises:
        MissingInput: there is none.
        BadInput: it is none.
    """
    if not path.is_file():
        raise MissingInput(
            seen=f"no {path}",
            allowed="a run frozen at the end of phase 1",
            remedy="run phase 1 first: ./run_phase1.sh",
        )
    return read_json(path, Freeze)


def seal(record: Mapping[str, Any]) -> str:
    """Return the sha256 over the canonical JSON of a freeze without its seal: an edited file no longer fits its own."""
    rest = {key: value for key, value in record.items() if key != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def edits(path: Path, record: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the seal of the freeze read from `path`, in words."""
    return [] if record["seal"] == seal(record) else [f"{path.name} was edited: its seal does not fit its content"]


def require_frozen(
    workspace: Workspace, name: str, *, recipe: config.Recipe | None = None, checkpoint: Path | None = None
) -> list[str]:
    """Refuse phase 2 unless weights, fitted parts and recipe are as phase 1 recorded them, before anything is computed.

    Args:
        workspace, name: the run.
        recipe, checkpoint: what the user asks for, if anything.

    Returns:
        Changed code files and packages, logged as a warning: phase 2 can run, but its submission fails the check.

    Raises:
        MissingInput: phase 1 was not finished.
        RuleViolation: something differs; all differences are named.
    """
    path = workspace.freeze(name)
    frozen = _sealed(path)
    now = state(workspace, name)
    changes = model_changes(frozen, now)
    if recipe is not None:
        asked = recipe_differences(frozen["recipe"], config.to_dict(recipe))
        changes += [f"recipe asked for, {difference}" for difference in asked]
    if checkpoint is not None:
        own = frozen["artifacts"]["weights"], _source(workspace, name)
        if weights_digest(checkpoint) not in own:
            changes.append("checkpoint asked for")
    if changes:
        raise RuleViolation(
            seen=f"run {name!r} differs from what phase 1 recorded: {_few(changes)}",
            allowed="phase 2 with the recipe, weights and fitted parts of phase 1 (competition rule: frozen models)",
            remedy=f"put {workspace.checkpoint(name)} back as it was, or run both phases under another --name",
        )
    warnings = code_changes(frozen, now)
    if warnings:
        log.warning(
            "changed since phase 1: %s. Phase 2 can run, but isckit check will fail its submission by rule 5.8: "
            "put code and packages back first",
            _few(warnings),
        )
    return warnings


def refuse_other_references(path: Path, digest: str) -> None:
    """Refuse reference vectors other than those that phase 1 recorded in the freeze at `path`."""
    if _sealed(path)["reference_rows"] != digest:
        raise RuleViolation(
            seen="the reference descriptors differ from those that phase 1 recorded",
            allowed="identical reference descriptors in both phases",
            remedy="use the reference images, device and package versions of phase 1",
        )


def _sealed(path: Path) -> dict[str, Any]:
    record = read_freeze(path)
    if edited := edits(path, record):
        raise RuleViolation(
            seen=edited[0], allowed="the freeze as phase 1 wrote it", remedy="put the deposited file back"
        )
    return record


def _few(changes: list[str], n: int = 8) -> str:
    return "; ".join(changes[:n]) + (f"; and {len(changes) - n} more" if changes[n:] else "")


def _source(workspace: Workspace, name: str) -> str | None:
    return read_receipt(workspace.weights(name))["made_from"].get("checkpoint")
