"""What phase 2 may not change of a run: its state as it stands, and what changed since another state, in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from isckit import config
from isckit.judge.code import code_files
from isckit.storage.artifacts import environment, file_digest, read_json, rows_digest
from isckit.storage.recipe_diff import recipe_differences
from isckit.submission import open_descriptors
from isckit.workspace import Workspace

WORDS = {"weights": "weights", "ensemble": "PCA", "bank": "bank"}
"""Parts of a run that phase 2 may load and never change, and what people call them."""


def parts(workspace: Workspace, name: str) -> dict[str, Path]:
    """Files of a run that phase 2 may load and never change, recipe aside."""
    return {"weights": workspace.weights(name), "ensemble": workspace.ensemble(name), "bank": workspace.bank(name)}


def state(workspace: Workspace, name: str, *, descriptors: Path | None = None) -> dict[str, Any]:
    """Everything that phase 2 may not change, as it stands now; None for a part that is not there.

    Args:
        workspace, name: the run.
        descriptors: the Descriptor file whose references count, if any.
    """
    recipe = workspace.recipe(name)
    return {
        "code": code_files(),
        "artifacts": {
            part: file_digest(path) if path.is_file() else None for part, path in parts(workspace, name).items()
        },
        "recipe": config.to_dict(config.from_dict(read_json(recipe))),
        "recipe_digest": file_digest(recipe),
        "environment": environment(),
        "reference_rows": reference_rows(descriptors) if descriptors and descriptors.is_file() else None,
    }


def reference_rows(descriptors: Path) -> str:
    """Order-free digest of the reference matrix of a Descriptor file, recomputed from its rows.

    Raises:
        BadInput: it is no Descriptor file.
    """
    with open_descriptors(descriptors) as (_, references):
        dataset: Any = references.vectors
        offset = dataset.id.get_offset()
        # Only a contiguous dataset, as the kit writes it, has an offset: it is mapped and never in memory as a whole.
        rows = dataset[:] if offset is None else np.memmap(descriptors, dataset.dtype, "r", offset, dataset.shape)
        return rows_digest(references.ids, rows)


def compare(frozen: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Everything that changed since a freeze, in words: each code file, fitted part, recipe value and package.

    Args:
        frozen: a freeze.
        now: a `state`; where it has no reference descriptors, these are not compared.
    """
    references = now["reference_rows"] is not None and now["reference_rows"] != frozen["reference_rows"]
    return [
        *model_changes(frozen, now),
        *(["reference descriptors differ"] if references else []),
        *code_changes(frozen, now),
    ]


def model_changes(frozen: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Of weights, fitted parts and recipe, what changed since a freeze."""
    there, here = frozen["artifacts"], now["artifacts"]
    changes = [
        f"{word} {'gone' if here[part] is None else 'changed'}"
        for part, word in WORDS.items()
        if there.get(part) != here[part]
    ]
    values = [f"recipe value {difference}" for difference in recipe_differences(frozen["recipe"], now["recipe"])]
    if not values and frozen["recipe_digest"] != now["recipe_digest"]:
        values = ["recipe file changed, its values did not"]
    return changes + values


def code_changes(frozen: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Of code files and packages, what changed since a freeze."""
    before, after = frozen["code"], now["code"]
    changes = [
        f"code file {name} {'is new' if name not in before else 'is gone' if name not in after else 'changed'}"
        for name in _differing(before, after)
    ]
    before, after = frozen["environment"], now["environment"]
    for name in _differing(before, after):
        kind = "" if name in ("python", "machine") else "package "
        changes.append(f"{kind}{name} {before.get(name, 'none')} there, {after.get(name, 'none')} now")
    return changes


def _differing(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
