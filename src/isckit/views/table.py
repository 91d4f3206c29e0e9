"""The findings of a pass over a set in every image: its size, proposals, detected overlays, whether it shows a face.

These are the views that differ from image to image. They lie in shards beside the embeddings, as columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from isckit import config
from isckit.config import Overlays, Substitution
from isckit.runs.arrays import read_arrays, write_arrays
from isckit.types import WHOLE, BadInput, MissingInput
from isckit.views.geometry import View, view_set
from isckit.views.overlays import LABELS, OVERLAY, Box, surest
from isckit.views.overlays import OverlayBoxes as Substitute

COLUMNS = {
    "ids": "S1",
    "sizes": "i2",
    "faces": "b1",
    "proposal_counts": "i1",
    "proposals": "f2",
    "box_counts": "i1",
    "boxes": "f2",
    "labels": "i1",
}
"""Names of the columns of a table's file, and their kinds and dimensions (see `read_arrays`)."""


@dataclass(frozen=True)
class ImageFinding:
    """The findings in one image.

    Attributes:
        size: height and width in pixels, of what is described: where an overlay takes the place of the image, of that.
        proposals: (n, 4) boxes (top, left, height, width) as fractions of it, largest first.
        boxes: what the detector found in the image, the surest first.
        face: whether it shows one; False where nobody asked.
    """

    size: tuple[int, int]
    proposals: np.ndarray
    boxes: Sequence[Box] = ()
    face: bool = False


@dataclass(frozen=True, eq=False)
class Table:
    """The findings of an image set, as columns.

    Attributes:
        ids: (n,) text, sorted.
        sizes: (n, 2) int32, height and width.
        faces: (n,) bool.
        proposal_counts, box_counts: (n,) int64, how many rows of `proposals` and `boxes` each image has.
        proposals: (p, 4) float64, as in `ImageFinding`.
        boxes: (b, 5) float64: x0, y0, x1, y1 and confidence.
        labels: (b,) int8, index into `overlays.LABELS`.
    """

    ids: np.ndarray
    sizes: np.ndarray
    faces: np.ndarray
    proposal_counts: np.ndarray
    proposals: np.ndarray
    box_counts: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray

    def row(self, name: str) -> int:
        """Return the row of an image id.

        Raises:
            BadInput: there is no such image.
        """
        at = int(np.searchsorted(self.ids, name))
        if at == len(self.ids) or self.ids[at] != name:
            raise BadInput(seen=f"image {name}", allowed="images of the set", remedy="extract the set again")
        return at

    def proposals_of(self, row: int) -> np.ndarray:
        """Return (n, 4) boxes (top, left, height, width) as fractions, largest first."""
        return self.proposals[self._proposal_starts[row] : self._proposal_starts[row + 1]]

    def boxes_of(self, row: int) -> tuple[Box, ...]:
        """Return all that the detector found in an image, the surest first."""
        part = slice(self._box_starts[row], self._box_starts[row + 1])
        labels = [LABELS[label] for label in self.labels[part].tolist()]
        return tuple(
            Box._make((*values, label)) for values, label in zip(self.boxes[part].tolist(), labels, strict=True)
        )

    def overlays_of(self, row: int, settings: Overlays) -> tuple[Box, ...]:
        """Return the surest overlays of an image, as the recipe wants them."""
        sure = [box for box in self.boxes_of(row) if box.label == OVERLAY and box.confidence > settings.confidence]
        return tuple(sure[: settings.most])

    def substitute(self, settings: Substitution) -> Substitute:
        """Return the overlays that take the place of their images."""
        rows = self.box_counts.nonzero()[0].tolist()
        found = {str(self.ids[row]): surest(self.boxes_of(row), settings.confidence) for row in rows}
        return Substitute({name: box for name, box in found.items() if box is not None})

    @cached_property
    def _proposal_starts(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.proposal_counts)])

    @cached_property
    def _box_starts(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.box_counts)])


def table_of(ids: np.ndarray, findings: Sequence[ImageFinding]) -> Table:
    """Return the findings of these images as columns."""
    boxes = [box for finding in findings for box in finding.boxes]
    return Table(
        ids,
        np.array([finding.size for finding in findings], np.int32).reshape(-1, 2),
        np.array([finding.face for finding in findings], bool),
        np.array([len(finding.proposals) for finding in findings], np.int64),
        np.concatenate([np.empty((0, 4)), *(finding.proposals for finding in findings)]),
        np.array([len(finding.boxes) for finding in findings], np.int64),
        np.array([box[:5] for box in boxes], np.float64).reshape(-1, 5),
        np.array([LABELS.index(box.label) for box in boxes], np.int8),
    )


def write_table(path: Path, table: Table) -> None:
    """Write atomically, as .npz."""
    columns = {name: getattr(table, name) for name in COLUMNS} | {"ids": np.strings.encode(table.ids, "utf-8")}
    write_arrays(path, columns)


def read_table(folder: Path) -> Table:
    """Return the table of an image set, from all shards in a folder.

    Raises:
        MissingInput: there is none.
        BadInput: a shard is truncated or foreign.
    """
    paths = sorted(folder.glob("shard-*.npz"))
    if not paths:
        raise MissingInput(
            seen=f"no shard-*.npz in {folder}", allowed="what an extraction found", remedy="run the extraction"
        )
    shards = [_read(path) for path in paths]
    return Table(*(np.concatenate([shard[name] for shard in shards]) for name in COLUMNS))


def _read(path: Path) -> dict[str, np.ndarray]:
    remedy = "delete its folder's receipt.json, too, and run the extraction again"
    with read_arrays(path, COLUMNS, what="a table of what was found in images", remedy=remedy) as columns:
        return columns | {"ids": np.strings.decode(columns["ids"], "utf-8").astype(str, copy=False)}


PROPOSALS, OVERLAYS = "proposals", "overlays"
"""View sets that differ from image to image."""


@dataclass(frozen=True)
class Wanted:
    """Views of an image set. Found views come behind the fixed ones, proposals before overlays.

    Attributes:
        fixed: the same for every image, the whole image first.
        proposals: settings of the view set "proposals", None where it is not wanted.
        overlays: of "overlays".
        substitution: what takes the place of images; such an image has no overlays on it where the detector that
            finds them decided so.
    """

    fixed: tuple[View, ...] = (View(WHOLE),)
    proposals: config.Proposals | None = None
    overlays: config.Overlays | None = None
    substitution: config.Substitution | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all views that an image may have."""
        counts = {
            "proposal": self.proposals.most if self.proposals else 0,
            "overlay": self.overlays.most if self.overlays else 0,
        }
        found = (f"{kind}_{k:02d}" for kind, count in counts.items() for k in range(count))
        return (*(view.name for view in self.fixed), *found)

    @property
    def finds(self) -> bool:
        """Return True if some of the views have to be found first."""
        return self.proposals is not None or self.overlays is not None

    def found(self, table: Table, row: int) -> tuple[View, ...]:
        """Return the views that were found in an image."""
        views = []
        if self.proposals is not None:
            boxes = enumerate(table.proposals_of(row).tolist())
            views += [View(f"proposal_{k:02d}", tuple(box)) for k, box in boxes]
        if self.overlays is not None and not self._replaced(table, row):
            boxes = enumerate(table.overlays_of(row, self.overlays))
            views += [View(f"overlay_{k:02d}", (b.y0, b.x0, b.y1 - b.y0, b.x1 - b.x0)) for k, b in boxes]
        return tuple(views)

    def _replaced(self, table: Table, row: int) -> bool:
        if self.substitution is None or self.substitution.boxes:
            return False
        return surest(table.boxes_of(row), self.substitution.confidence) is not None


WHOLE_ONLY = Wanted()


def wanted(view_sets: Sequence[str], recipe: config.Recipe, *, substitution: config.Substitution | None) -> Wanted:
    """Return the views of some sets.

    Raises:
        BadInput: an unknown set.
    """
    return Wanted(
        view_set(tuple(dict.fromkeys(name for name in view_sets if name not in (PROPOSALS, OVERLAYS)))),
        recipe.proposals if PROPOSALS in view_sets else None,
        recipe.overlays if OVERLAYS in view_sets else None,
        substitution if OVERLAYS in view_sets else None,
    )
