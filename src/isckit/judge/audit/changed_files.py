"""Which files and images are not those that a manifest tells of, in words that name the rows, value or id."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isckit import config
from isckit.config.differences import recipe_differences
from isckit.data.layouts import require
from isckit.judge.audit.images import ImageDigests, changed, digest_images, read_digests
from isckit.judge.audit.manifest import image_sets
from isckit.judge.audit.records import changed_parts, receipt_changes
from isckit.judge.rules.finding import Case
from isckit.runs.artifacts import file_digest, read_json, receipt_path
from isckit.runs.workspace import PHASES
from isckit.types import BadInput, MissingInput

Manifest = dict[str, Any]
MOST = 5
"""Images named of each kind of change."""
SAME = "other bytes, the same content"


def changed_files(case: Case, manifest: Manifest) -> Iterator[str]:
    """Files of checkpoint and submission, and receipts of embeddings, that changed or are gone."""
    for folder, section in ((case.checkpoint, "checkpoint"), (case.folder, "artifacts")):
        for name, record in manifest[section].items():
            path = folder / name
            for words in _changed_file(case, path, record, manifest):
                yield f"{name}: {words}"
    for key, receipt in manifest["embeddings"].items():
        path = case.workspace.embeddings(case.name, *key.split("/", 1))
        if receipt_path(path).is_file():
            yield from (f"embeddings {key}: {words}" for words in receipt_changes(path, receipt))


def _changed_file(case: Case, path: Path, record: Manifest, manifest: Manifest) -> list[str]:
    if not path.is_file():
        return ["is gone"]
    words = [] if file_digest(path) == record["sha256"] else _named(case, path, record, manifest)
    return words + (receipt_changes(path, record["receipt"]) if "receipt" in record else [])


def _named(case: Case, path: Path, record: Manifest, manifest: Manifest) -> list[str]:
    """Return what changed within a file whose digest did."""
    if path == case.workspace.recipe(case.name):
        try:
            now = config.to_dict(config.from_dict(read_json(path)))
        except BadInput as error:
            return [f"changed, and cannot be read: {error.seen.removeprefix(f'{path} ')}"]
        return [f"recipe value {difference}" for difference in recipe_differences(manifest["recipe"], now)] or [SAME]
    parts = record.get("parts")
    return [changed_parts(path, parts) or SAME] if parts else ["changed"]


def changed_images(case: Case, manifest: Manifest, *, workers: int) -> tuple[list[str], list[str], int]:
    """Images that changed, changed places, came or went; all are read again, whatever their times say.

    Returns:
        Changes in words; what could not be looked at; images looked at.
    """
    changes, unseen, count = [], [], 0
    for name in image_sets(case):
        record = manifest["images"].get(name, {})
        if "digest" not in record:
            unseen.append(f"images: nothing is recorded of {name} ({record.get('absent', 'no record')})")
        elif case.disc is None:
            unseen.append(f"images: {name} not looked at, no --data")
        else:
            try:
                with tempfile.TemporaryDirectory(prefix="isckit-") as folder:
                    now = digest_images(require(case.disc, name), Path(folder), workers=workers, trust=False)
            except (MissingInput, BadInput) as error:
                changes.append(f"images: {error.seen}")
                continue
            count += len(now.ids)
            if now.digest != record["digest"]:
                changes += _changed_images(kept_digests(case, name, record["digest"]), now)
    return changes, unseen, count


def kept_digests(case: Case, name: str, digest: str) -> ImageDigests | None:
    """The digests of all images of a recorded set, where they were kept with either phase, and are those."""
    for phase in (case.phase, *PHASES):
        try:
            kept = read_digests(case.workspace.image_digests(phase, case.name, name))
        except (MissingInput, BadInput):
            continue  # without them, the set as a whole is named
        if kept.digest == digest:
            return kept
    return None


def _changed_images(before: ImageDigests | None, now: ImageDigests) -> list[str]:
    if before is None:
        return [f"images: {now.name} changed; no digests were kept that tell which"]
    found = changed(before, now)
    swapped = {name for pair in found.swapped for name in pair}
    kinds = {
        "are swapped": [" and ".join(pair) for pair in found.swapped],
        "changed": [name for name in found.changed if name not in swapped],
        "is gone": found.missing,
        "is new": found.added,
    }
    return [
        f"images: {names} {kind}"
        for kind, of_kind in kinds.items()
        for names in [*of_kind[:MOST], *([f"and {len(of_kind) - MOST:,} more"] if of_kind[MOST:] else [])]
    ]
