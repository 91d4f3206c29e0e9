"""Verifying a submission: every digest of its manifest computed again, and whatever differs named.

A file, image, recipe value or record that differs speaks against the submission. Code and packages of another version,
another machine, scores computed anew and files added later do not: they are told as notes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isckit import config
from isckit.config.differences import recipe_differences
from isckit.data.containers import some
from isckit.data.layouts import given_disc, require
from isckit.judge.audit.images import ImageDigests, changed, digest_images
from isckit.judge.audit.manifest import (
    SECTIONS,
    artifact_files,
    checkpoint_files,
    image_sets,
    kept_digests,
    read_manifest,
)
from isckit.judge.audit.records import changed_parts, inconsistencies, receipt_changes
from isckit.judge.freeze import seal as seal_of
from isckit.judge.rules.finding import Case
from isckit.judge.state import code_changes, code_files
from isckit.runs.artifacts import environment, file_digest, receipt_path
from isckit.runs.meter import machine
from isckit.runs.records import read_json
from isckit.runs.workspace import MANIFEST, Workspace
from isckit.types import BadInput, KitError, MissingInput

Manifest = dict[str, Any]
_SHOWN = 5
"""Images of one kind of change that are named; the others are counted."""


@dataclass(frozen=True)
class Verification:
    """The outcome of verifying.

    Attributes:
        seal: of the manifest.
        examined: what was looked at.
        changes: what is not as recorded, each in words that name it.
        notes: in what the place differs from that of the run, and what could not be looked at.
    """

    seal: str
    examined: str
    changes: list[str]
    notes: list[str]

    @property
    def passed(self) -> bool:
        """Return True if nothing speaks against the submission."""
        return not self.changes

    def __str__(self) -> str:
        notes = ["notes, which are no change of the submission:", *(f"  note     {note}" for note in self.notes)]
        return "\n".join(
            [
                f"looked at {self.examined}",
                f"seal {self.seal}",
                *(f"  CHANGED  {change}" for change in self.changes),
                *(notes if self.notes else []),
                "VERIFIED" if self.passed else f"NOT VERIFIED: {len(self.changes)} changes",
            ]
        )


def verify(folder: Path, *, data: Path | None = None, seal: str | None = None, workers: int = 1) -> Verification:
    """Compare a submission, its run and its images with its manifest. Nothing is written.

    Args:
        folder: submissions/phaseN/NAME.
        data: the images; without them, they are not looked at.
        seal: the manifest's seal as it was deposited elsewhere.
        workers: threads that read images.

    Raises:
        MissingInput: there is no manifest, or no folder `data`.
        BadInput: it is no manifest of this format.
    """
    case = Case(*Workspace.locate(folder), disc=given_disc(data))
    read = read_manifest(folder)
    manifest, changes = _unsealed(case, read)
    if seal is not None and seal != read["seal"]:
        changes.append(f"{MANIFEST}: seal {seal} was deposited, this one has {read['seal']}")
    try:
        changes += _changed_files(case, manifest)
        changes += inconsistencies(case, manifest)
        found, unseen, images = _images(case, manifest, workers=workers)
        notes = unseen + list(_notes(case, manifest))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if not changes:
            raise  # a manifest with its seal intact has all its parts
        return Verification(read["seal"], MANIFEST, [*changes, f"{MANIFEST}: cannot be followed ({error!r})"], [])
    files = len(manifest["checkpoint"]) + len(manifest["artifacts"])
    examined = (
        f"{files} files of checkpoint and submission, {len(manifest['embeddings'])} receipts of embeddings, "
        f"{images:,} images, {len(manifest['code']['files'])} code files, {len(manifest['packages'])} versions"
    )
    return Verification(read["seal"], examined, changes + found, notes)


def _unsealed(case: Case, manifest: Manifest) -> tuple[Manifest, list[str]]:
    """The manifest as it was sealed, and what was edited since.

    Where the seal does not fit, the section is looked for that, made again from what lies there, lets it fit.
    """
    if manifest["seal"] == seal_of(manifest):
        return manifest, []
    for key in SECTIONS:
        now = _made_again(case, key)
        if seal_of(mended := manifest | {key: now}) == manifest["seal"]:
            edits = recipe_differences({key: manifest[key]}, {key: now})
            return mended, [f"{MANIFEST}: was edited: {'; '.join(edits[:4])}"]
    return manifest, [f"{MANIFEST}: was edited: its seal does not fit its content"]


def _made_again(case: Case, section: str) -> Any:
    """A section as it would be written now; None where what it is made from is damaged: that is told with the files."""
    try:
        return SECTIONS[section](case)
    except (KitError, OSError, KeyError, TypeError, AttributeError):
        return None


def _changed_files(case: Case, manifest: Manifest) -> Iterator[str]:
    """Files of checkpoint and submission, and receipts of embeddings, that changed or are gone."""
    for folder, section in ((case.checkpoint, "checkpoint"), (case.folder, "artifacts")):
        for name, record in manifest[section].items():
            yield from (f"{name}: {words}" for words in _changed_file(case, folder / name, record, manifest["recipe"]))
    for key, receipt in manifest["embeddings"].items():
        path = case.workspace.embeddings(case.name, *key.split("/", 1))
        if receipt_path(path).is_file():
            yield from (f"embeddings {key}: {words}" for words in receipt_changes(path, receipt))


def _changed_file(case: Case, path: Path, record: Manifest, recipe: Manifest) -> Iterator[str]:
    """Values of a recipe that changed; of another file the parts, or where it has none the digest; and its receipt."""
    if not path.is_file():
        yield "is gone"
        return
    if (digest := file_digest(path)) != record["sha256"]:
        same = "other bytes, the same content"
        if path == case.workspace.recipe(case.name):
            try:
                now = config.to_dict(config.from_dict(read_json(path)))
                yield from [f"recipe value {value}" for value in recipe_differences(recipe, now)] or [same]
            except BadInput as error:
                yield f"changed, and cannot be read: {error.seen.removeprefix(f'{path} ')}"
        elif "parts" in record:
            yield changed_parts(path, record["parts"]) or same
        else:
            yield f"changed: sha256 {record['sha256'][:12]} there, {digest[:12]} now"
    if "receipt" in record:
        yield from receipt_changes(path, record["receipt"])


def _images(case: Case, manifest: Manifest, *, workers: int) -> tuple[list[str], list[str], int]:
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
        for names in [*of_kind[:_SHOWN], *([f"and {len(of_kind) - _SHOWN:,} more"] if of_kind[_SHOWN:] else [])]
    ]


def _notes(case: Case, manifest: Manifest) -> Iterator[str]:
    before = {"code": manifest["code"]["files"], "environment": manifest["packages"]}
    yield from code_changes(before, {"code": code_files(), "environment": environment()})
    yield from recipe_differences({"machine": manifest["machine"]}, {"machine": machine()})
    for section, what in {"results": "scores or findings", "costs": "costs in receipts"}.items():
        if differences := recipe_differences(manifest[section], _made_again(case, section) or {}):
            yield f"other {what}: {some(differences)}"
    for section, files in (("checkpoint", checkpoint_files(case)), ("artifacts", artifact_files(case))):
        if added := sorted(files.keys() - manifest[section].keys()):
            yield f"not in the manifest: {some(added)}"
    folders = {key: case.workspace.embeddings(case.name, *key.split("/", 1)) for key in manifest["embeddings"]}
    if gone := [key for key, path in folders.items() if not receipt_path(path).is_file()]:
        yield f"embeddings are gone, and were not looked at: {some(gone)}"
