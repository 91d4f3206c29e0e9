"""The phase-2 freeze: what phase 1 recorded of weights, recipe, fitted parts and reference vectors must stand still."""

from __future__ import annotations

import hashlib
from pathlib import Path

import isckit
from isckit import config
from isckit.storage.artifacts import file_digest, read_json, read_receipt, write_json
from isckit.types import MissingInput, RuleViolation
from isckit.workspace import Workspace

FROZEN = ("recipe", "weights", "ensemble", "bank")


def state(workspace: Workspace, name: str) -> dict[str, str]:
    """Digests of everything of a run that phase 2 may not change, and of the code.

    Raises:
        MissingInput: the run lacks a part, e.g. it was not fitted.
    """
    parts = {
        "recipe": workspace.recipe(name),
        "weights": workspace.weights(name),
        "ensemble": workspace.ensemble(name),
        "bank": workspace.bank(name),
    }
    for part, path in parts.items():
        if not path.is_file():
            raise MissingInput(
                seen=f"run {name!r} has no {part} ({path})",
                allowed="a run that went through phase 1",
                remedy=f"run phase 1 first: ./run_phase1.sh --name {name}",
            )
    return {part: file_digest(path) for part, path in parts.items()} | {"code": code_digest()}


def freeze(workspace: Workspace, name: str) -> Path:
    """Record the state of a run after phase 1, with the order-free digest of its reference vectors."""
    receipt = read_receipt(workspace.descriptors(1, name))
    record = state(workspace, name) | {"reference_rows": receipt["facts"]["reference_rows"]}
    return write_json(workspace.freeze(name), record)


def require_frozen(
    workspace: Workspace, name: str, *, recipe: config.Recipe | None = None, checkpoint: Path | None = None
) -> None:
    """Refuse phase 2 unless everything is as phase 1 recorded it; `recipe` and `checkpoint` are what the user asks for.

    Raises:
        MissingInput: phase 1 was not finished.
        RuleViolation: something differs; all differences are named.
    """
    path = workspace.freeze(name)
    if not path.is_file():
        raise MissingInput(
            seen=f"no {path}",
            allowed="a run frozen at the end of phase 1",
            remedy=f"run phase 1 first: ./run_phase1.sh --name {name}",
        )
    frozen, now = read_json(path), state(workspace, name)
    changed = [part for part in FROZEN if frozen[part] != now[part]]
    if recipe is not None and hashlib.sha256(config.to_json(recipe).encode()).hexdigest() != frozen["recipe"]:
        changed.append("recipe asked for")
    if checkpoint is not None and file_digest(checkpoint) not in (frozen["weights"], _source(workspace, name)):
        changed.append("checkpoint asked for")
    if changed:
        raise RuleViolation(
            seen=f"run {name!r} differs from what phase 1 recorded: {', '.join(changed)}",
            allowed="phase 2 with the recipe, weights and fitted parts of phase 1 (competition rule: frozen models)",
            remedy=f"put {workspace.checkpoint(name)} back as it was, or run both phases under another --name",
        )


def refuse_other_references(path: Path, digest: str) -> None:
    """Refuse reference vectors other than those that phase 1 recorded in the freeze at `path`."""
    if not path.is_file():
        raise MissingInput(seen=f"no {path}", allowed="a run frozen at the end of phase 1", remedy="run phase 1 first")
    if read_json(path)["reference_rows"] != digest:
        raise RuleViolation(
            seen="the reference descriptors differ from those that phase 1 recorded",
            allowed="identical reference descriptors in both phases",
            remedy="use the reference images, device and package versions of phase 1",
        )


def code_digest() -> str:
    """sha256 over the package's source files, sorted by path."""
    root = Path(isckit.__path__[0])
    sha = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        sha.update(f"{path.relative_to(root).as_posix()} {file_digest(path)}\n".encode())
    return sha.hexdigest()


def _source(workspace: Workspace, name: str) -> str | None:
    return read_receipt(workspace.weights(name))["made_from"].get("checkpoint")
