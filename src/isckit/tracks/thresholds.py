"""Thresholds of the branches that cut by share: fitted on train once, and the same for every pair from then on."""

from __future__ import annotations

import json
import logging
from typing import Any

from isckit import config
from isckit.matching.cut import threshold
from isckit.storage.artifacts import is_fresh, read_json, rows_digest, write_json, write_receipt
from isckit.storage.meter import measured
from isckit.tracks.run import Run
from isckit.tracks.spaces import space_bank
from isckit.types import MissingInput

log = logging.getLogger(__name__)

Viewed = config.Views | config.Agreement


def fit_thresholds(run: Run, branch: Viewed) -> None:
    """Fit the thresholds of a branch, one a space, where it cuts by share.

    Raises:
        MissingInput: the spaces are not fitted.
        BadInput: too few train images for the share.
    """
    if branch.cut.by != "share":
        return
    for key, space in _spaces(branch).items():
        bank = space_bank(run, space)
        settings: dict[str, Any] = {
            "share": branch.cut.amount,
            "norm_factor": branch.norm_factor,
            "norm_first": branch.norm_first,
            "norm_last": branch.norm_last,
        }
        path = run.workspace.threshold(run.name, key)
        made_from = {"settings": json.dumps(settings, sort_keys=True), "bank": rows_digest(bank.ids, bank.vectors)}
        if is_fresh(path, made_from):
            continue
        with measured() as cost:
            value = threshold(bank, **settings)
            write_json(path, {"threshold": value, **settings})
        images = len(bank.ids)
        facts = {"fitted_on": bank.role.value, "images": images, "cost": cost.record(images=images)}
        write_receipt(path, made_from=made_from, facts=facts)
        log.info("%s: a share of %g of unrelated pairs of train images scores %.4f", key, branch.cut.amount, value)


def fitted_threshold(run: Run, branch: Viewed, member: str = "") -> float | None:
    """The threshold of a branch, of one of its members where each has its own; None for other cuts.

    Raises:
        MissingInput: the run was not fitted.
    """
    if branch.cut.by != "share":
        return None
    path = run.workspace.threshold(run.name, f"{branch.name}.{member}" if member else branch.name)
    if not path.is_file():
        raise MissingInput(seen=f"no {path}", allowed="a fitted run", remedy=f"run: isckit fit --name {run.name}")
    return float(read_json(path)["threshold"])


def _spaces(branch: Viewed) -> dict[str, str | None]:
    """Key of each threshold of a branch, and of the space that it holds in."""
    if isinstance(branch, config.Agreement):
        return {key: key for key in (f"{branch.name}.{member}" for member in branch.members)}
    return {branch.name: None if branch.space is None else branch.name}
