"""The manifest of a submission: everything that decided its bytes, in one file."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import isckit
from isckit import config
from isckit.judge.freeze import code_digest
from isckit.storage.artifacts import environment, file_digest, read_json, receipt_path, write_json
from isckit.workspace import MANIFEST, RULES, SCORE, Workspace


def write_manifest(folder: Path) -> Path:
    """Write manifest.json of a submission folder and return its path."""
    workspace, phase, name = Workspace.locate(folder)
    recipe = config.from_dict(read_json(workspace.recipe(name)))
    artifacts = [workspace.weights(name), workspace.ensemble(name), workspace.bank(name)]
    artifacts += sorted(path for path in folder.iterdir() if path.suffix in (".csv", ".h5"))
    manifest = {
        "name": name,
        "phase": phase,
        "recipe": config.to_dict(recipe),
        "recipe_digest": config.digest(recipe),
        "seed": recipe.seed,
        "code": {"digest": code_digest(), **_commit()},
        "packages": environment(),
        "artifacts": {path.name: _artifact(path) for path in artifacts if path.is_file()},
        "embeddings": _embeddings(workspace, name),
        "results": {path.stem: read_json(path) for path in (folder / SCORE, folder / RULES) if path.is_file()},
    }
    return write_json(folder / MANIFEST, manifest)


def _artifact(path: Path) -> dict[str, Any]:
    receipt = receipt_path(path)
    return {"sha256": file_digest(path), "bytes": path.stat().st_size} | (
        {"receipt": read_json(receipt)} if receipt.is_file() else {}
    )


def _embeddings(workspace: Workspace, name: str) -> dict[str, Any]:
    root = workspace.embeddings(name, "train", "x").parent.parent
    return {
        f"{path.parent.parent.name}/{path.parent.name}": read_json(path)
        for path in sorted(root.glob("*/*/receipt.json"))
    }


def _commit() -> dict[str, Any]:
    """Commit of the checkout that the code runs from, and whether it was dirty; empty outside of a checkout."""
    source = Path(isckit.__path__[0])
    answers = []
    for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", str(source)]):
        try:
            done = subprocess.run(["git", "-C", str(source), *arguments], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return {}
        answers.append(done.stdout.strip())
    return {"commit": answers[0], "dirty": bool(answers[1])}
