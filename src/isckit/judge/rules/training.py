"""Rule 5.1, no augmentation of query or reference images: what trained the weights, by logs and by a watched run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from isckit.judge.rules.finding import Case, Finding, judged
from isckit.types import BadInput, Role


def no_augmentation(case: Case) -> Finding:
    """No image made from a query or reference trained anything: every epoch of the training logs says what it drew."""
    logs = training_logs(case.checkpoint)
    epochs = [epoch for log in logs.values() for epoch in log]
    problems = [
        f"member {member}, epoch {epoch['epoch'] + 1}: augmented {role} images"
        for member, log in logs.items()
        for epoch in log
        for role, drawn in epoch["consumed"].items()
        if drawn["augmented"] and not Role(role).may_be_fitted_on
    ]
    return judged(problems[:5], "declared", f"{len(epochs)} epochs in {len(logs)} training logs")


def training_logs(checkpoint: Path) -> dict[str, list[dict[str, Any]]]:
    """Epoch records of each trained member: "epoch", and "consumed" as {role: {"augmented", "draws", "images", "ids"}}.

    `ids` is the digest of the distinct ids drawn. Records of queries and references also have them as "listed".

    Raises:
        BadInput: a log is not made of such records.
    """
    logs = {}
    for path in sorted((checkpoint / "training").glob("*/metrics.jsonl")):
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            assert all(isinstance(line["consumed"], dict) and isinstance(line["epoch"], int) for line in lines)
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise BadInput(
                seen=f"{path} is not a training log of this kit ({type(error).__name__}: {error})",
                allowed="one record an epoch, with the images consumed by role",
                remedy="train again, under another --name",
            ) from error
        logs[path.parent.name] = lines
    return logs
