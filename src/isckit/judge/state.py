"""The state of a run that phase 2 may not change: as it stands, and what changed since another state, in words."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import isckit
from isckit import config
from isckit.config.differences import recipe_differences
from isckit.runs.artifacts import environment, file_digest, receipt_path, rows_digest
from isckit.runs.records import read_json
from isckit.runs.workspace import Workspace
from isckit.submission import open_descriptors

PACKAGE = Path(isckit.__path__[0])


def code_files(package: Path = PACKAGE) -> dict[str, str]:
    """Return the sha256 of every source file of a package, by its path in the package, in the order of these paths."""
    paths = {path.relative_to(package).as_posix(): path for path in package.rglob("*.py")}
    return {name: file_digest(paths[name]) for name in sorted(paths)}


def code_digest(package: Path = PACKAGE) -> str:
    """Return the sha256 over the sorted list of `code_files`, one "path digest" a line."""
    lines = (f"{name} {digest}\n" for name, digest in code_files(package).items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def commit(package: Path = PACKAGE) -> dict[str, Any]:
    """Return the commit of the checkout that a package lies in, and whether the package differs from it; empty outside
    of one.
    """
    answers = []
    for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", str(package)]):
        try:
            done = subprocess.run(["git", "-C", str(package), *arguments], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return {}
        answers.append(done.stdout.strip())
    return {"commit": answers[0], "dirty": bool(answers[1])}


WORDS = {"weights": "weights", "ensemble": "PCA", "bank": "bank"}
"""Parts of every run that phase 2 may load and never change, and what people call them."""
KEPT_IN = frozenset({".npz", ".npy", ".h5", ".json", ".safetensors", ".pt", ".index", ".faiss", ".bin"})
"""Kinds of files that fitted parts are kept in; nothing reads others, such as notes."""
_RECEIPT = "receipt.json"


def parts(workspace: Workspace, name: str) -> dict[str, Path]:
    """Return the files of a run that phase 2 may load and never change, recipe aside: those of WORDS, there or not,
    then whatever else was fitted, by its path in the checkpoint folder.
    """
    known = {"weights": workspace.weights(name), "ensemble": workspace.ensemble(name), "bank": workspace.bank(name)}
    own = workspace.checkpoint(name)
    files = {path.relative_to(own).as_posix(): path for path in sorted(own.rglob("*")) if path.is_file()}
    return known | {file: path for file, path in files.items() if is_further_part(workspace, name, file)}


def is_further_part(workspace: Workspace, name: str, file: str) -> bool:
    """Return True if a path in the checkpoint folder is that of a part beside those of WORDS.

    No parts are the state of trainings, receipts, the recipe, the freeze, hidden files, and those that are not KEPT_IN.
    """
    path, own = workspace.checkpoint(name) / file, workspace.checkpoint(name)
    if path.suffix not in KEPT_IN or path.name.endswith(_RECEIPT):
        return False
    apart = {workspace.weights(name), workspace.ensemble(name), workspace.bank(name), workspace.recipe(name)}
    hidden = any(word.startswith(".") for word in path.relative_to(own).parts)
    training = path.is_relative_to(workspace.training(name, "member").parent)
    return not (path in apart | {workspace.freeze(name)} or hidden or training)


def receipted(folder: Path) -> Iterator[Path]:
    """Return the files and folders below a folder that have a receipt, sorted."""
    for receipt in sorted(folder.rglob(f"*{_RECEIPT}")):
        own = (
            receipt.parent if receipt.name == _RECEIPT else receipt.with_name(receipt.name.removesuffix(f".{_RECEIPT}"))
        )
        if receipt_path(own) == receipt:
            yield own


def receipt_of(path: Path) -> Path:
    """Return the receipt of a folder or file: its own, or where it has none, that of the folder it was made with."""
    own = receipt_path(path)
    return own if own.is_file() or path.is_dir() else receipt_path(path.parent)


def described(workspace: Workspace, name: str, image_set: str, *, first: Iterable[str] = ()) -> dict[str, Path]:
    """Return what was described of an image set and has a receipt: the embeddings of members `first`, then all else."""
    place = workspace.embeddings(name, image_set, "member").parent
    found = {path.relative_to(place).as_posix(): path for path in receipted(place)}
    return {what: found[what] for what in [*first, *found] if what in found}


def state(workspace: Workspace, name: str, *, descriptors: Path | None = None) -> dict[str, Any]:
    """Return everything that phase 2 may not change, as it stands now; None for a part that is not there.

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
    """Return everything that changed since a freeze, in words: each code file, fitted part, recipe value and package.

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
    """Return of weights, fitted parts and recipe, what changed since a freeze."""
    there, here = frozen["artifacts"], now["artifacts"]
    changes = [
        f"{WORDS.get(part, part)} {_fate(part, there, here)}"
        for part in [*WORDS, *sorted((there.keys() | here.keys()) - WORDS.keys())]
        if there.get(part) != here.get(part)
    ]
    values = [f"recipe value {difference}" for difference in recipe_differences(frozen["recipe"], now["recipe"])]
    if not values and frozen["recipe_digest"] != now["recipe_digest"]:
        values = ["recipe file changed, its values did not"]
    return changes + values


def _fate(part: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    if here.get(part) is None:
        return "gone"
    return "changed" if part in WORDS or part in there else "is new"


def code_changes(frozen: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return of code files and packages, what changed since a freeze."""
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
