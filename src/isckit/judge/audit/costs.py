"""What a submission cost, step by step, from training logs and receipts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isckit.judge.rules.finding import Case
from isckit.judge.rules.training import training_logs
from isckit.storage.artifacts import read_json, receipt_path
from isckit.workspace import query_set

Step = dict[str, Any]


def costs(case: Case) -> dict[str, Any]:
    """Steps in the order of the pipeline, and their total.

    A step has what was measured of "seconds", "images", "images_per_second", "peak_memory_bytes", "energy_joules".
    Steps with "part_of" are within another one and count once. A resumed step measured its last process only; of
    training, the logs know all epochs.

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


def _training(case: Case) -> Iterator[Step]:
    members = [
        {
            "step": f"train {member}",
            "part_of": "train",
            "epochs": len(log),
            "seconds": (seconds := sum(epoch["seconds"] for epoch in log)),
            "images_per_second": sum(e["images_per_second"] * e["seconds"] for e in log) / max(seconds, 1e-9),
        }
        for member, log in training_logs(case.checkpoint).items()
    ]
    cost = _cost(receipt_path(case.workspace.weights(case.name)))
    if cost or members:
        logged = sum(step["seconds"] for step in members)
        yield {"step": "train"} | cost | {"seconds": max(cost.get("seconds", 0.0), logged)}
    yield from members


def _extraction(case: Case) -> Iterator[Step]:
    """All members describe an image in one pass, whose cost stands in the receipt of each."""
    for image_set in ("train", "references", query_set(case.phase)):
        passes: list[tuple[list[str], Step]] = []
        for member in case.recipe.members:
            cost = _cost(receipt_path(case.workspace.embeddings(case.name, image_set, member.name)))
            if passes and passes[-1][1] == cost:
                passes[-1][0].append(member.name)
            elif cost:
                passes.append(([member.name], cost))
        for members, cost in passes:
            yield {"step": f"extract {image_set} ({', '.join(members)})"} | cost


def _later(case: Case) -> Iterator[Step]:
    workspace, name = case.workspace, case.name
    for step, path in {
        "fit PCA": workspace.ensemble(name),
        "fit bank": workspace.bank(name),
        "descriptor": workspace.descriptors(case.phase, name),
        "matching": workspace.matches(case.phase, name),
    }.items():
        if cost := _cost(receipt_path(path)):
            yield {"step": step} | cost


def _cost(receipt: Path) -> Step:
    """What a receipt says of the cost, empty where it says nothing."""
    return read_json(receipt)["facts"].get("cost", {}) if receipt.is_file() else {}


def table(found: dict[str, Any]) -> str:
    """The steps as lines of text."""
    rows = [*found["steps"], {"step": "total"} | found["total"]]
    return "\n".join(_row(row) for row in rows)


def _row(step: Step) -> str:
    figures = {
        "images_per_second": ("{:,.1f} img/s", 1),
        "peak_memory_bytes": ("{:,.0f} MB peak", 1e-6),
        "energy_joules": ("{:,.0f} J", 1),
    }
    known = [form.format(step[key] * scale) for key, (form, scale) in figures.items() if step.get(key)]
    name = "  " * ("part_of" in step) + step["step"]
    return f"  {name:36} {step['seconds']:10,.1f} s  " + ", ".join(known)
