"""A pass over an image set that writes shards: what `runs.steps` does, with the policy on broken images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.data.images import stop_message
from isckit.engine.distributed import Process
from isckit.runs.artifacts import ids_digest
from isckit.runs.steps import Advance, Output, Writer, make_shards, shards

Look = Callable[[np.ndarray, Advance], tuple[Sequence[Writer], dict[str, str]]]
"""Rows of a shard and what moves the bar on, to a writer for each output, and the broken images with their reasons."""


def write_in_shards(
    images: ImageSet,
    outputs: Sequence[Output],
    look: Look,
    *,
    title: str,
    settings: config.Extract,
    process: Process,
    more: Callable[[Mapping[str, str]], Mapping[str, Any]] = lambda broken: {},
) -> None:
    """Write what `look` makes of an image set, shard by shard, then the receipts; what is already there is kept.

    Args:
        outputs: folders of shards, all written by one pass.
        title: of the bar.
        more: broken images, to further facts of the receipts.

    Raises:
        BadInput: broken images under the policy "stop", all of them listed; whole shards before them are kept.
        StaleArtifact: a folder holds what was made from something else.
    """

    def work(rows: range, advance: Advance) -> tuple[Sequence[Writer], dict[str, Any]]:
        writers, broken = look(np.arange(rows.start, rows.stop), advance)
        kept = not broken or settings.on_broken == "replace"
        return writers if kept else (), {"broken": broken, "images": len(rows)}

    def facts(reports: list[dict[str, Any]]) -> dict[str, Any]:
        broken = {name: reason for report in reports for name, reason in report["broken"].items()}
        if broken and settings.on_broken == "stop":
            raise stop_message(broken)
        return {
            "images": len(images),
            "ids": ids_digest(images.ids),
            "role": images.role.value,
            "replaced": dict(sorted(broken.items())),
            "device": str(process.device),
            "threads": torch.get_num_threads(),
            **more(broken),
        }

    parts = shards(len(images), settings.shard_images)
    title = f"{title} {images.name}"
    make_shards(outputs, parts, work, title=title, facts=facts, executor=process.executor)
