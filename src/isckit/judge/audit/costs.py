"""What a submission cost, step by step, from training logs and receipts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isckit.judge.rules.finding import Case
from isckit.judge.rules.training import training_logs
from isckit.judge.state import described, receipted
from isckit.runs.artifacts import read_json, receipt_path
from isckit.runs.workspace import query_set

CostRecord = dict[str, Any]


def costs(case: Case) -> dict[str, Any]:
    """Steps in the order of the pipeline, and their total.

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
    installed = weights.is_file() and "checkpoint" in read_json(weights)["made_from"]
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
    """What a receipt says of the cost, empty where it says nothing."""
    return read_json(receipt)["facts"].get("cost", {}) if receipt.is_file() else {}


def table(found: dict[str, Any]) -> str:
    """The steps as lines of text."""
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
