"""Which files and images are not those that a manifest tells of, in words that name the row, value or id."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from isckit import config
from isckit.config.differences import recipe_differences
from isckit.data.layouts import require
from isckit.judge.audit.changed_rows import MOST, changed_pairs, changed_vectors
from isckit.judge.audit.fingerprints import BANK, Fingerprints, Rows, hashed_bank, hashed_descriptors, read_fingerprints
from isckit.judge.audit.images import ImageDigests, changed, digest_images, read_digests
from isckit.judge.audit.manifest import image_sets
from isckit.judge.audit.records import changed_parts, receipt_changes
from isckit.judge.rules.finding import Case
from isckit.runs.artifacts import file_digest, read_json, receipt_path
from isckit.runs.workspace import FINGERPRINTS, PHASES
from isckit.submission import HEADER, parse_matches
from isckit.types import BadInput, MissingInput

Manifest = dict[str, Any]
SAME = "other bytes, the same content"


def changed_files(case: Case, manifest: Manifest) -> Iterator[str]:
    """Files of checkpoint and submission, and receipts of embeddings, that changed or are gone."""
    fingerprints = None
    try:
        if file_digest(case.folder / FINGERPRINTS) == manifest["fingerprints"]["sha256"]:
            fingerprints = read_fingerprints(case.folder)
        else:
            yield f"{FINGERPRINTS}: changed, so that no row can be named"
    except FileNotFoundError:
        yield f"{FINGERPRINTS}: is gone, so that no row can be named"
    for folder, section in ((case.checkpoint, "checkpoint"), (case.folder, "artifacts")):
        for name, record in manifest[section].items():
            path = folder / name
            for words in _changed_file(case, path, record, manifest, fingerprints):
                yield f"{name}: {words}"
    for key, receipt in manifest["embeddings"].items():
        path = case.workspace.embeddings(case.name, *key.split("/", 1))
        if receipt_path(path).is_file():
            yield from (f"embeddings {key}: {words}" for words in receipt_changes(path, receipt))


def _changed_file(
    case: Case, path: Path, record: Manifest, manifest: Manifest, fingerprints: Fingerprints | None
) -> list[str]:
    if not path.is_file():
        return ["is gone"]
    words = []
    if file_digest(path) != record["sha256"]:
        try:
            words = _named(case, path, record, manifest, fingerprints)
        except BadInput as error:
            words = [f"changed, and cannot be read: {error.seen.removeprefix(f'{path} ')}"]
    return words + (receipt_changes(path, record["receipt"]) if "receipt" in record else [])


def _named(
    case: Case, path: Path, record: Manifest, manifest: Manifest, fingerprints: Fingerprints | None
) -> list[str]:
    """What changed within a file whose digest did. Raises BadInput where it cannot be read any more."""
    workspace, name = case.workspace, case.name
    if path == workspace.recipe(name):
        now = config.to_dict(config.from_dict(read_json(path)))
        words = [f"recipe value {difference}" for difference in recipe_differences(manifest["recipe"], now)]
    elif fingerprints and path == workspace.matches(case.phase, name) and fingerprints.matches is not None:
        parsed = parse_matches(path)
        words = [] if parsed.header == HEADER else [f"header changed: {parsed.header[:40]!r}"]
        words += changed_pairs(fingerprints.matches, parsed)
    elif fingerprints and path == workspace.descriptors(case.phase, name):
        words = _vectors(fingerprints, _apart(hashed_descriptors, path))
    elif fingerprints and path == workspace.bank(name):
        words = _vectors(fingerprints, _apart(hashed_bank, path))
    else:
        return [changed_parts(path, record.get("parts", {})) or "changed"]
    return words or [SAME]


def _apart(read: Callable[[Path], dict[str, Rows]], path: Path) -> dict[str, Rows]:
    """Rows of an HDF5 file that changed, read in a process of its own: some damage crashes HDF5."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        try:
            return process.submit(read, path).result()
        except BrokenProcessPool as error:
            raise BadInput(
                seen=f"{path} crashes HDF5", allowed="a whole HDF5 file", remedy="write or copy it again"
            ) from error


def _vectors(fingerprints: Fingerprints, now: dict[str, Rows]) -> list[str]:
    return [
        words
        for side, rows in now.items()
        for words in changed_vectors(fingerprints.vectors[side], rows, side="" if side == BANK else f"{side} ")
    ]


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
