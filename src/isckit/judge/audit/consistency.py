"""Whether the records of a manifest fit one another: each artifact made from the very files that stand beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from isckit.workspace import query_set

Manifest = Mapping[str, Any]


def inconsistencies(manifest: Manifest) -> list[str]:
    """Receipts that name other inputs than the manifest records, in words.

    Digests stand for the files, which are compared with them elsewhere: a file that changed is not told here again.
    """
    weights = manifest["checkpoint"].get("weights.safetensors", {}).get("sha256")
    found = list(_fitted(manifest))
    for key, receipt in manifest["embeddings"].items():
        found += _other(f"embeddings {key}", receipt["made_from"], _described_from(manifest, key, weights))
    for name, record in manifest["artifacts"].items():
        if "receipt" in record:
            found += _other(name, record["receipt"]["made_from"], _made_from(manifest))
    return found


def _other(name: str, made_from: Manifest, wanted: Mapping[str, Any]) -> Iterator[str]:
    """Inputs that a receipt has otherwise; those unknown (None) or not in the receipt are passed over."""
    for key, digest in wanted.items():
        if digest is not None and key in made_from and made_from[key] != digest:
            yield f"{name} was made from another {key}: {_short(made_from[key])} by its receipt, {_short(digest)} beside it"


def _short(value: object) -> str:
    return str(value)[:12]


def _described_from(manifest: Manifest, key: str, weights: str | None) -> dict[str, Any]:
    """What the embeddings of a set by a member are to be made from."""
    image_set, _, name = key.partition("/")
    recipe = manifest["recipe"]
    member = next((member for member in recipe["members"] if member["name"] == name), None)
    return {
        "weights": weights,
        "images": manifest["images"].get(image_set, {}).get("listing"),
        "member": json.dumps(member, sort_keys=True),
        "extract": json.dumps(recipe["extract"], sort_keys=True),
    }


def _fitted(manifest: Manifest) -> Iterator[str]:
    wanted = {"recipe": _digest(manifest["recipe"]["ensemble"]), "train": _set_digest(manifest, "train")}
    for name in ("ensemble.npz", "bank.h5"):
        record = manifest["checkpoint"].get(name, {})
        if "receipt" in record:
            yield from _other(name, record["receipt"]["made_from"], wanted)


def _made_from(manifest: Manifest) -> dict[str, Any]:
    """What a submission file is to be made from."""
    fitted = {key: manifest["checkpoint"].get(name, {}).get("sha256") for key, name in FITTED.items()}
    sets = {name: _set_digest(manifest, name) for name in (query_set(manifest["phase"]), "references")}
    return {"recipe": manifest["recipe_digest"], **fitted, **sets}


def _set_digest(manifest: Manifest, image_set: str) -> str | None:
    """Digest over what the embeddings of a set were made from, by all members; None where a receipt is missing."""
    keys = [f"{image_set}/{member['name']}" for member in manifest["recipe"]["members"]]
    receipts = manifest["embeddings"]
    return _digest([receipts[key]["made_from"] for key in keys]) if all(key in receipts for key in keys) else None


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


FITTED = {"ensemble": "ensemble.npz", "bank": "bank.h5"}
