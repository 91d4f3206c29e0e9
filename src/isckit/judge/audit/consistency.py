"""Whether the records of a manifest fit one another: each artifact made from the very files that stand beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from isckit.judge.rules.finding import Case
from isckit.judge.state import WORDS, is_further_part, parts
from isckit.workspace import query_set

Manifest = Mapping[str, Any]


def inconsistencies(case: Case, manifest: Manifest) -> list[str]:
    """Receipts that name other inputs than the manifest records, in words.

    Digests stand for the files, which are compared with them elsewhere: a file that changed is not told here again.
    """
    recorded, workspace, name = manifest["checkpoint"], case.workspace, case.name
    files = {part: path.name for part, path in parts(workspace, name).items() if part in WORDS}
    files |= {file: file for file in recorded if is_further_part(workspace, name, file)}
    records = {part: recorded.get(file, {}) for part, file in files.items()}
    digests = {part: record.get("sha256") for part, record in records.items()}
    fitted_from = {"recipe": _digest(manifest["recipe"]["ensemble"]), "train": _set_digest(manifest, "train")}
    sets = {name: _set_digest(manifest, name) for name in (query_set(case.phase), "references")}
    submitted_from = {"recipe": manifest["recipe_digest"], **digests, **sets}
    wanted = [
        *(
            (f"embeddings {key}", receipt, _described_from(manifest, key, digests["weights"]))
            for key, receipt in manifest["embeddings"].items()
        ),
        *((files[part], records[part].get("receipt"), fitted_from) for part in ("ensemble", "bank")),
        *((part, records[part].get("receipt"), _further_from(manifest, part)) for part in files if part not in WORDS),
        *((name, record.get("receipt"), submitted_from) for name, record in manifest["artifacts"].items()),
    ]
    return [
        words for name, receipt, inputs in wanted if receipt for words in _other(name, receipt["made_from"], inputs)
    ]


def _other(name: str, made_from: Manifest, wanted: Mapping[str, Any]) -> Iterator[str]:
    """Inputs that a receipt has otherwise; those unknown (None) or not in the receipt are passed over."""
    for key, digest in wanted.items():
        if digest is not None and key in made_from and made_from[key] != digest:
            yield f"{name}: by its receipt made from another {key} than the one recorded"


def _described_from(manifest: Manifest, key: str, weights: str | None) -> dict[str, Any]:
    """What the embeddings of a set by a member, or whatever else was described of it, are to be made from."""
    image_set, _, name = key.partition("/")
    recipe = manifest["recipe"]
    images = {"images": manifest["images"].get(image_set, {}).get("listing")}
    member = next((member for member in recipe["members"] if member["name"] == name), None)
    if member is None:
        # What a branch is fitted on may be a part of the train images, with a listing of its own.
        return {} if image_set == "train" else images
    return images | {
        "weights": weights,
        "member": json.dumps(member, sort_keys=True),
        "extract": json.dumps(recipe["extract"], sort_keys=True),
    }


def _further_from(manifest: Manifest, part: str) -> dict[str, Any]:
    """What a further fitted part is to be made from; known of spaces, in folders BRANCH or BRANCH.MEMBER."""
    kind, _, file = part.partition("/")
    name, _, member = file.partition("/")[0].partition(".")
    branch = next((b for b in manifest["recipe"]["matching"]["branches"] if b["name"] == name), None)
    if kind != "spaces" or branch is None:
        return {}
    members = [member] if member else branch["members"]
    return {
        "space": json.dumps(branch["space"], sort_keys=True),
        "train": _set_digest(manifest, "train", members),
    }


def _set_digest(manifest: Manifest, image_set: str, members: Sequence[str] = ()) -> str | None:
    """Digest over what a set's embeddings by some members (() all) were made from; None where a receipt is missing."""
    names = [member["name"] for member in manifest["recipe"]["members"] if not members or member["name"] in members]
    keys = [f"{image_set}/{name}" for name in names]
    receipts = manifest["embeddings"]
    return _digest([receipts[key]["made_from"] for key in keys]) if all(key in receipts for key in keys) else None


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
