"""One pass over an image set that finds what differs from image to image: sizes, proposals, overlays, faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from isckit import config
from isckit.data.datasets import Substitute, opened
from isckit.data.image_sets import ImageSet
from isckit.data.loaders import Loader
from isckit.engine.distributed import Process
from isckit.engine.shards import write_in_shards
from isckit.runs.steps import Advance, Output, Writer
from isckit.types import Role
from isckit.views.overlays import Box, open_overlays
from isckit.views.proposals import propose
from isckit.views.table import ImageFinding, Table, table_of, write_table


class Detecting(Protocol):
    """A detector of overlays: prepares an image in a loader worker, finds boxes on the device."""

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 -> uint8 array of a shape that is the same for every image."""
        ...

    def detect(self, prepared: torch.Tensor) -> list[list[Box]]:
        """(B, ...) uint8 -> the boxes of each image, the surest first."""
        ...


@dataclass(frozen=True)
class Sought:
    """The findings that are looked for in the images of a set; sizes of images are written down in any case."""

    proposals: config.Proposals | None = None
    boxes: bool = False
    faces: bool = False
    substitution: config.Substitution | None = None


def survey(
    images: ImageSet,
    folder: Path,
    *,
    sought: Sought,
    made_from: Mapping[str, Any],
    settings: config.Extract,
    process: Process,
    workers: int,
    detector: Detecting | None = None,
) -> None:
    """Write the table of an image set (see `views.table`), shard by shard; what is already there is kept.

    An overlay that takes the place of a query is what proposals and faces are looked for in. Where the detector itself
    decides on that, these few images are decoded once more.

    Raises:
        MissingInput: there is no file of detected overlays.
        BadInput: broken images under the policy "stop", all of them listed; a file of overlays with faults.
        StaleArtifact: the folder holds a table made from something else.
    """
    assert detector is not None or not sought.boxes
    substitution = sought.substitution if images.role is Role.QUERY else None
    given = open_overlays(substitution) if substitution is not None and substitution.boxes else None
    surveyor = _Surveyor(images, sought, settings, process, workers, detector, given)

    def look(rows: np.ndarray, advance: Advance) -> tuple[list[Writer], dict[str, str]]:
        table, reasons = surveyor.look(rows)
        advance(len(rows))
        return [lambda path: write_table(path, table)], reasons

    outputs = [Output(folder, made_from, ".npz")]
    write_in_shards(images, outputs, look, title="survey", settings=settings, process=process)


class _Look(NamedTuple):
    """The result of a loader worker for an image: what it found, the detector's input, why the image is broken."""

    finding: ImageFinding
    prepared: torch.Tensor
    reason: str


class _Looks(Dataset):
    """Images decoded once, and looked at; `prepare` is the detector's, for images as they are."""

    def __init__(
        self, images: ImageSet, rows: np.ndarray, sought: Sought, substitute: Substitute | None, prepare: Any
    ) -> None:
        self.images, self.rows, self.sought, self.substitute, self.prepare = images, rows, sought, substitute, prepare

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> _Look:
        image, reason = opened(self.images, int(self.rows[position]), self.substitute)
        prepared = torch.from_numpy(self.prepare(image)) if self.prepare else torch.empty(0)
        proposals, face = np.empty((0, 4)), False
        if not reason:
            if self.sought.proposals is not None:
                proposals = propose(image, self.sought.proposals)
            if self.sought.faces:
                from isckit.views.faces import shows_face  # its cascades are loaded where they are asked for

                face = shows_face(image)
        return _Look(ImageFinding((image.shape[0], image.shape[1]), proposals, face=face), prepared, reason)


@dataclass(frozen=True)
class _Surveyor:
    images: ImageSet
    sought: Sought
    settings: config.Extract
    process: Process
    workers: int
    detector: Detecting | None
    given: Substitute | None

    def look(self, rows: np.ndarray) -> tuple[Table, dict[str, str]]:
        """Return the findings of some images, and the broken ones with their reasons."""
        detector = self.detector if self.sought.boxes else None
        findings, broken = self._pass(rows, self.given, detector)
        table = table_of(self.images.ids[rows], findings)
        substitution = self.sought.substitution
        if substitution is None or substitution.boxes or self.images.role is not Role.QUERY:
            return table, broken
        own = table.substitute(substitution)
        again = np.flatnonzero(np.isin(table.ids, list(own.kept)))
        if not len(again):
            return table, broken
        looks, _ = self._pass(rows[again], own, None)
        for at, finding in zip(again.tolist(), looks, strict=True):
            findings[at] = ImageFinding(finding.size, finding.proposals, findings[at].boxes, finding.face)
        return table_of(table.ids, findings), broken

    def _pass(
        self, rows: np.ndarray, substitute: Substitute | None, detector: Detecting | None
    ) -> tuple[list[ImageFinding], dict[str, str]]:
        loader = Loader(
            _Looks(self.images, rows, self.sought, substitute, detector.prepare if detector else None),
            batch_size=self.settings.batch_images,
            workers=self.workers,
            collate_fn=list,
        )
        findings: list[ImageFinding] = []
        broken: dict[str, str] = {}
        for looks in loader:
            for look, boxes in zip(looks, self._boxes(looks, detector), strict=True):
                if look.reason:
                    broken[str(self.images.ids[rows[len(findings)]])] = look.reason
                findings.append(ImageFinding(look.finding.size, look.finding.proposals, boxes, look.finding.face))
        return findings, broken

    def _boxes(self, looks: Sequence[_Look], detector: Detecting | None) -> list[list[Box]]:
        if detector is None:
            return [[] for _ in looks]
        with torch.inference_mode():
            found = detector.detect(torch.stack([look.prepared for look in looks]).to(self.process.device))
        # A broken image is grey: whatever is found on it is not there.
        return [[] if look.reason else boxes for look, boxes in zip(looks, found, strict=True)]
