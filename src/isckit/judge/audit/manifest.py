"""The manifest of a submission: everything that decided its bytes and what it cost, in one sealed file.

The seal is a digest over all the rest: deposited with a third party, it proves later that nothing was rewritten.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from isckit import config
from isckit.data.layouts import open_disc, require
from isckit.judge.audit.costs import costs
from isckit.judge.audit.images import digest_images, write_digests
from isckit.judge.audit.records import bare, file_record
from isckit.judge.freeze import seal
from isckit.judge.rules.finding import Case
from isckit.judge.state import code_digest, code_files, commit, described
from isckit.runs.artifacts import environment, read_json, read_receipt, receipt_path, write_json
from isckit.runs.meter import machine
from isckit.runs.workspace import MANIFEST, PHASES, RULES, SCORE, Workspace, query_set
from isckit.types import BadInput, MissingInput, StaleArtifact

FORMAT = 1
TRACK_SUFFIXES = (".csv", ".h5")


def write_manifest(folder: Path, *, data: Path | None = None, workers: int = 1) -> Path:
    """Write manifest.json of a submission folder and return its path.

    Equal inputs give equal bytes: no clock is read, and those that receipts recorded stand in "costs" alone.

    Args:
        folder: submissions/phaseN/NAME.
        data: the images, to be digested; else digests of the same images in another manifest of the run are taken over.
        workers: threads that read images.

    Raises:
        MissingInput, BadInput: the run or one of its files is missing or damaged.
        StaleArtifact: the images are not those that were described.
    """
    case = Case(*Workspace.locate(folder), disc=open_disc(data) if data else None)
    manifest = {"format": FORMAT} | {key: make(case) for key, make in SECTIONS.items()}
    manifest["images"] = _images(case, workers)
    return write_json(folder / MANIFEST, manifest | {"seal": seal(manifest)})


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a submission folder; whether its seal fits is for the caller to ask.

    Raises:
        MissingInput: there is none.
        BadInput: it is none, or of another format.
    """
    _, phase, name = Workspace.locate(folder)
    path, remedy = folder / MANIFEST, f"write it: isckit manifest --name {name} --phase {phase} --data DIR"
    if not path.is_file():
        raise MissingInput(seen=f"no {path}", allowed="a submission with its manifest", remedy=remedy)
    manifest = read_json(path)
    lacking = {*SECTIONS, "format", "images", "seal"} - set(manifest if isinstance(manifest, dict) else ())
    if lacking or manifest["format"] != FORMAT:
        why = f"it lacks {', '.join(sorted(lacking))}" if lacking else f"its format is {manifest['format']}"
        raise BadInput(
            seen=f"{path} is not a manifest of format {FORMAT}: {why}",
            allowed="a file written by: isckit manifest",
            remedy=remedy,
        )
    return manifest


def image_sets(case: Case) -> tuple[str, str, str]:
    """The image sets that a submission of this phase is made from."""
    return "train", "references", query_set(case.phase)


def checkpoint_files(case: Case) -> dict[str, Path]:
    """Files of the checkpoint folder by their path in it, receipts aside: these stand with what they are about."""
    paths = {path.relative_to(case.checkpoint).as_posix(): path for path in case.checkpoint.rglob("*")}
    return {name: path for name, path in sorted(paths.items()) if path.is_file() and _counts(path)}


def artifact_files(case: Case) -> dict[str, Path]:
    """Submission files of both tracks."""
    return {
        path.name: path for path in sorted(case.folder.iterdir()) if path.suffix in TRACK_SUFFIXES and _counts(path)
    }


def _counts(path: Path) -> bool:
    return not path.name.startswith(".") and not path.name.endswith("receipt.json")


def _embeddings(case: Case) -> dict[str, Any]:
    """Receipts of all that was described of the image sets, embeddings and whatever else, by "set/what"."""
    folders = {
        f"{image_set}/{what}": path
        for image_set in image_sets(case)
        for what, path in described(case.workspace, case.name, image_set).items()
    }
    return {key: bare(read_receipt(path)) for key, path in folders.items()}


def _devices(case: Case) -> dict[str, Any]:
    """Device and threads of every step whose receipt tells them."""
    receipts = _embeddings(case)
    if receipt_path(case.workspace.weights(case.name)).is_file():
        receipts["train"] = read_receipt(case.workspace.weights(case.name))
    known = {step: {k: receipt["facts"].get(k) for k in ("device", "threads")} for step, receipt in receipts.items()}
    return {step: where for step, where in known.items() if any(where.values())}


def _images(case: Case, workers: int) -> dict[str, Any]:
    """Digest record of each image set; "listing" is the digest of ids and sizes that receipts know the set by."""
    receipts = ((key.partition("/")[0], receipt["made_from"]) for key, receipt in _embeddings(case).items())
    listings = {image_set: made_from["images"] for image_set, made_from in receipts if "images" in made_from}
    records = {}
    for name in image_sets(case):
        if case.disc is not None and getattr(case.disc, name) is not None:
            records[name] = _digested(case, name, listings.get(name), workers)
        else:
            records[name] = _taken_over(case, name, listings.get(name)) or {"absent": "no such images were at hand"}
    return records


def _digested(case: Case, name: str, described: str | None, workers: int) -> dict[str, Any]:
    assert case.disc is not None
    images = require(case.disc, name)
    listing = images.listing_digest()
    if described not in (None, listing):
        raise StaleArtifact(
            seen=f"the {name} images in {case.disc.root} are not those that were described: other ids or sizes",
            allowed="the images that the submission was made from",
            remedy="pass their folder as --data, or extract again under another --name",
        )
    digests = digest_images(images, case.workspace.images(case.name, name), workers=workers)
    write_digests(case.workspace.image_digests(case.phase, case.name, name), digests)
    return digests.record() | {"listing": listing}


def _taken_over(case: Case, name: str, described: str | None) -> dict[str, Any] | None:
    """The record of the same images in a sealed manifest of either phase of this run."""
    for phase in (case.phase, *PHASES):
        path = case.workspace.submission(phase, case.name) / MANIFEST
        earlier = read_json(path) if path.is_file() else None
        if described and isinstance(earlier, dict) and earlier.get("seal") == seal(earlier):
            record = earlier["images"].get(name, {})
            if record.get("listing") == described:
                return record
    return None


def _results(case: Case) -> dict[str, Any]:
    return {path.stem: read_json(path) for path in (case.folder / SCORE, case.folder / RULES) if path.is_file()}


SECTIONS: dict[str, Callable[[Case], Any]] = {
    "name": lambda case: case.name,
    "phase": lambda case: case.phase,
    "recipe": lambda case: config.to_dict(case.recipe),
    "recipe_digest": lambda case: config.digest(case.recipe),
    "seeds": lambda case: {"recipe": case.recipe.seed},
    "code": lambda _: {"digest": code_digest(), "files": code_files()} | commit(),
    "packages": lambda _: environment(),
    "machine": lambda _: machine(),
    "devices": _devices,
    "checkpoint": lambda case: {name: file_record(path) for name, path in checkpoint_files(case).items()},
    "artifacts": lambda case: {name: file_record(path) for name, path in artifact_files(case).items()},
    "embeddings": _embeddings,
    "costs": costs,
    "results": _results,
}
"""Every section that can be made again from what lies there, in the order of the pipeline; images need --data."""
