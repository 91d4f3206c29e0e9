"""The manifest of a submission: everything that decided its bytes and what it cost, in one sealed file.

The seal is a digest over all the rest: deposited with a third party, it proves later that nothing was rewritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from isckit import config
from isckit.data.layouts import given_disc, require
from isckit.judge.audit.images import ImageDigests, digest_images, read_digests, write_digests
from isckit.judge.audit.records import bare, file_record
from isckit.judge.freeze import seal
from isckit.judge.rules.finding import Case
from isckit.judge.rules.training import training_logs
from isckit.judge.state import code_digest, code_files, commit, described, receipted
from isckit.runs.artifacts import environment, read_receipt, receipt_path, write_json
from isckit.runs.meter import machine
from isckit.runs.records import Manifest, Receipt, read_json
from isckit.runs.workspace import MANIFEST, PHASES, RULES, SCORE, Workspace, query_set
from isckit.types import BadInput, MissingInput, StaleArtifact

FORMAT = 1
CostRecord = dict[str, Any]
TRACK_SUFFIXES = (".csv", ".h5")


def write_manifest(folder: Path, *, data: Path | None = None, workers: int = 1) -> Path:
    """Write manifest.json of a submission folder and return its path.

    No clock is read, and those that receipts recorded stand in "costs" alone. Files that hold a time of their own
    (freeze.json, training logs and states) are sealed as they stand: there, the manifests of equal runs differ.

    Args:
        folder: submissions/phaseN/NAME.
        data: the images, to be digested; else digests of the same images in another manifest of the run are taken over.
        workers: threads that read images.

    Raises:
        MissingInput, BadInput: there is no submission; the run or one of its files is missing or damaged.
        StaleArtifact: the images are not those that were described.
    """
    case = Case(*Workspace.locate(folder), disc=given_disc(data))
    if not case.folder.is_dir() or not artifact_files(case):
        raise MissingInput(
            seen=f"no submission in {case.folder}",
            allowed="a folder with at least one track's file",
            remedy=f"make it with: isckit descriptor --name {case.name} --phase {case.phase}",
        )
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
    manifest = read_json(path, Manifest)
    if manifest["format"] != FORMAT:
        raise BadInput(
            seen=f"{path} is a manifest of format {manifest['format']}",
            allowed=f"format {FORMAT}, as written by: isckit manifest",
            remedy=remedy,
        )
    return manifest


def image_sets(case: Case) -> tuple[str, str, str]:
    """Return the image sets that a submission of this phase is made from."""
    return "train", "references", query_set(case.phase)


def checkpoint_files(case: Case) -> dict[str, Path]:
    """Return the files of the checkpoint folder by their path in it, receipts aside: these stand with what they are
    about.
    """
    paths = {path.relative_to(case.checkpoint).as_posix(): path for path in case.checkpoint.rglob("*")}
    return {name: path for name, path in sorted(paths.items()) if path.is_file() and _counts(path)}


def artifact_files(case: Case) -> dict[str, Path]:
    """Return the submission files of both tracks."""
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
    listing = images.content_digest()
    if described not in (None, listing):
        raise StaleArtifact(
            seen=f"the {name} images in {case.disc.root} are not those that were described: other ids or contents",
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
        earlier = read_json(path, Manifest) if path.is_file() else None
        if described and earlier and earlier["seal"] == seal(earlier):
            record = earlier["images"].get(name, {})
            if record.get("listing") == described:
                return record
    return None


def kept_digests(case: Case, name: str, digest: str) -> ImageDigests | None:
    """Return the digests of all images of a recorded set; None where neither phase kept those."""
    for phase in (case.phase, *PHASES):
        try:
            kept = read_digests(case.workspace.image_digests(phase, case.name, name))
        except (MissingInput, BadInput):
            continue  # without them, the set as a whole is named
        if kept.digest == digest:
            return kept
    return None


def costs(case: Case) -> dict[str, Any]:
    """Return what a submission cost by training logs and receipts: steps in the order of the pipeline, and their total.

    A step has what was measured of "seconds", "images", "images_per_second", "peak_memory_bytes", "energy_joules".
    Networks that see pairs have "pairs_per_second". Steps with "part_of" are within another one and count once. A
    resumed step measured its last process only; of training, the logs know all epochs. Where weights were installed,
    their training was no step of this run, and its parts do not count.

    Returns:
        {"steps": [...], "total": {"seconds", "peak_memory_bytes", "energy_joules", where known}}.
    """
    steps = [*_training(case), *_extraction(case), *_later(case)]
    whole = [step for step in steps if "part_of" not in step]
    energy = [step["energy_joules"] for step in whole if "energy_joules" in step]
    total = {
        "seconds": sum(step["seconds"] for step in whole),
        "peak_memory_bytes": max((step.get("peak_memory_bytes", 0) for step in whole), default=0),
    }
    return {"steps": steps, "total": total | ({"energy_joules": sum(energy)} if energy else {})}


def _training(case: Case) -> Iterator[CostRecord]:
    parts = [_trained(name, log) for name, log in training_logs(case.checkpoint).items()]
    weights = receipt_path(case.workspace.weights(case.name))
    cost = _cost(weights)
    installed = weights.is_file() and "checkpoint" in read_json(weights, Receipt)["made_from"]
    if (cost or parts) and not installed:
        logged = sum(step["seconds"] for step in parts)
        yield {"step": "train"} | cost | {"seconds": max(cost.get("seconds", 0.0), logged)}
    yield from parts


def _trained(name: str, log: list[dict[str, Any]]) -> CostRecord:
    """Training of one part, by its log; networks that see pairs count these, all others images."""
    seconds = sum(epoch["seconds"] for epoch in log)
    step = {"step": f"train {name}", "part_of": "train", "epochs": len(log), "seconds": seconds}
    speeds = {
        speed: sum(epoch.get(speed, 0.0) * epoch["seconds"] for epoch in log) / max(seconds, 1e-9)
        for speed in ("images_per_second", "pairs_per_second")
    }
    return step | {speed: value for speed, value in speeds.items() if value}


def _extraction(case: Case) -> Iterator[CostRecord]:
    """All members describe an image in one pass, whose cost stands in the receipt of each; what else is described has
    passes of its own.
    """
    for image_set in ("train", "references", query_set(case.phase)):
        passes: list[tuple[list[str], CostRecord]] = []
        members = [member.name for member in case.recipe.members]
        for what, path in described(case.workspace, case.name, image_set, first=members).items():
            cost = _cost(receipt_path(path))
            if passes and passes[-1][1] == cost:
                passes[-1][0].append(what)
            elif cost:
                passes.append(([what], cost))
        for those, cost in passes:
            yield {"step": f"extract {image_set} ({', '.join(those)})"} | cost


def _later(case: Case) -> Iterator[CostRecord]:
    workspace, name = case.workspace, case.name
    known = (workspace.weights(name), workspace.ensemble(name), workspace.bank(name))
    further = [path for path in receipted(case.checkpoint) if path not in known]
    for step, path in {
        "fit PCA": workspace.ensemble(name),
        "fit bank": workspace.bank(name),
        **{f"fit {path.relative_to(case.checkpoint).as_posix()}": path for path in further},
        "descriptor": workspace.descriptors(case.phase, name),
        "matching": workspace.matches(case.phase, name),
    }.items():
        if cost := _cost(receipt_path(path)):
            yield {"step": step} | cost


def _cost(receipt: Path) -> CostRecord:
    """Return what a receipt says of the cost, empty where it says nothing."""
    return read_json(receipt, Receipt)["facts"].get("cost", {}) if receipt.is_file() else {}


def table(found: dict[str, Any]) -> str:
    """Return the costs as lines of text."""
    rows = [*found["steps"], {"step": "total"} | found["total"]]
    return "\n".join(_row(row) for row in rows)


def _row(step: CostRecord) -> str:
    figures = {
        "images_per_second": ("{:,.1f} img/s", 1),
        "pairs_per_second": ("{:,.1f} pairs/s", 1),
        "peak_memory_bytes": ("{:,.0f} MB peak", 1e-6),
        "energy_joules": ("{:,.0f} J", 1),
    }
    known = [form.format(step[key] * scale) for key, (form, scale) in figures.items() if step.get(key)]
    name = "  " * ("part_of" in step) + step["step"]
    return f"  {name:36} {step['seconds']:10,.1f} s  " + ", ".join(known)


def _results(case: Case) -> dict[str, Any]:
    return {path.stem: read_json(path, dict) for path in (case.folder / SCORE, case.folder / RULES) if path.is_file()}


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
