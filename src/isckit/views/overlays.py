"""Pictures pasted on a frame: a query whose surest detected overlay is sure enough becomes that overlay.

The boxes come from the recipe's own detector, or from one that was run elsewhere (visionForce used YOLOv5x, trained on
pictures pasted on each other).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isckit.config import Substitution
from isckit.runs.artifacts import atomic, file_digest
from isckit.types import BadInput, MissingInput

COLUMNS = ("image_id", "x0", "y0", "x1", "y1", "confidence", "label")
OVERLAY = "overlay"
LABELS = (OVERLAY, "emoji")
"""The labels of what a box holds: only an overlay takes the place of its image."""

_SHOWN = 5


class Box(NamedTuple):
    """A detected picture: corners as fractions of width and height (x to the right, y down), confidence, label."""

    x0: float
    y0: float
    x1: float
    y1: float
    confidence: float
    label: str

    @property
    def area(self) -> float:
        """Fraction of the image."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)


def read_boxes(path: Path) -> dict[str, tuple[Box, ...]]:
    """Return the detected boxes of each image that has any, from a CSV with the columns COLUMNS, in any order.

    Raises:
        MissingInput: there is no such file.
        BadInput: other columns, cells missing, numbers outside 0 to 1 or none, corners that are no box, other labels.
    """
    boxes: dict[str, list[Box]] = {}
    faults = []
    with _file(path).open(newline="", encoding="utf-8-sig") as handle:
        try:
            rows = csv.DictReader(handle, restval="")
            if sorted(rows.fieldnames or ()) != sorted(COLUMNS):
                raise _bad(path, f"the columns {', '.join(rows.fieldnames or ()) or 'of an empty file'}")
            for row in rows:
                box = _box(row)
                if isinstance(box, Box) and row["image_id"]:
                    boxes.setdefault(row["image_id"], []).append(box)
                else:
                    faults.append(f"line {rows.line_num}: {'no image_id' if isinstance(box, Box) else box}")
        except (UnicodeDecodeError, csv.Error) as error:
            raise _bad(path, f"no CSV in UTF-8 ({error})") from error
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise _bad(path, f"{len(faults)} faulty lines: {'; '.join(faults[:_SHOWN])}{more}")
    return {name: tuple(found) for name, found in boxes.items()}


def boxes_digest(path: Path) -> str:
    """Return the sha256 of a file of boxes, for the receipts of what is made with it.

    Raises:
        MissingInput: there is no such file.
    """
    return file_digest(_file(path))


def surest(boxes: Sequence[Box], confidence: float) -> Box | None:
    """Return overlay of highest confidence above the given one; the larger among equals; None where there is none."""
    return _first([box for box in boxes if box.label == OVERLAY and box.confidence > confidence])


def pasted(boxes: Sequence[Box], *, confidence: float = 0.5, largest: float = 0.85, aspect: float = 4.0) -> Box | None:
    """Return the box that imgFp takes for the pasted picture of an image, whatever its label; None where there is none.

    Boxes of more than `largest` of the image, and those whose height, as a part of the image's, is more than `aspect`
    times their width as a part of the image's, or the other way round, are dropped; of the others above `confidence`
    the surest is taken, the larger among equals. imgFp's confidence was 0.55 before global and 0.5 before local search.
    """
    kept = [
        box
        for box in boxes
        if box.confidence > confidence
        and box.area <= largest
        and 1 / aspect <= (box.y1 - box.y0) / (box.x1 - box.x0) <= aspect
    ]
    return _first(kept)


def write_boxes(path: Path, boxes: Mapping[str, Sequence[Box]]) -> Path:
    """Write boxes by image, in the order given within one, as a CSV that `read_boxes` reads back unchanged."""
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        rows = csv.writer(handle, lineterminator="\n")
        rows.writerow(COLUMNS)
        rows.writerows((name, *box) for name in sorted(boxes) for box in boxes[name])
    return path


def substituted(image: np.ndarray, box: Box) -> np.ndarray:
    """Return the pixels of an (H, W, 3) image in the box, at least one, at their own size."""
    height, width = image.shape[:2]
    rows, columns = _pixels(box.y0, box.y1, height), _pixels(box.x0, box.x1, width)
    return np.ascontiguousarray(image[rows, columns])


@dataclass(frozen=True)
class OverlayBoxes:
    """Image id and decoded image to what is described of it: its surest overlay, or the image as it is."""

    kept: Mapping[str, Box]

    def __call__(self, name: str, image: np.ndarray) -> np.ndarray:
        """Return the overlay of an (H, W, 3) image; the same array where there is none."""
        return substituted(image, self.kept[name]) if name in self.kept else image


def open_overlays(settings: Substitution) -> OverlayBoxes:
    """Return the substitution that a recipe asks for.

    Raises:
        MissingInput, BadInput: see `read_boxes`.
    """
    chosen = {name: surest(found, settings.confidence) for name, found in read_boxes(Path(settings.boxes)).items()}
    return OverlayBoxes({name: box for name, box in chosen.items() if box is not None})


def _first(boxes: Sequence[Box]) -> Box | None:
    return max(boxes, key=lambda box: (box.confidence, box.area, box), default=None)


def _pixels(low: float, high: float, size: int) -> slice:
    first = min(round(low * size), size - 1)
    return slice(first, max(round(high * size), first + 1))


def _box(row: Mapping[str | None, str]) -> Box | str:
    """Return a line's box, or what is wrong with it."""
    if None in row:
        return f"more than {len(COLUMNS)} cells"
    numbers = []
    for column in COLUMNS[1:6]:
        try:
            number = float(row[column])
        except ValueError:
            return f"{column} is {row[column]!r}"
        if not 0 <= number <= 1:
            return f"{column} is {row[column]}"
        numbers.append(number)
    x0, y0, x1, y1, confidence = numbers
    if x0 >= x1 or y0 >= y1:
        return f"corners ({x0:g}, {y0:g}) and ({x1:g}, {y1:g})"
    return Box(x0, y0, x1, y1, confidence, row["label"]) if row["label"] in LABELS else f"label {row['label']!r}"


def _file(path: Path) -> Path:
    if not path.is_file():
        raise MissingInput(
            seen=f"no file {path}",
            allowed=f"a CSV of {','.join(COLUMNS)}",
            remedy="run a detector of overlays over the queries, or set substitution=null",
        )
    return path


def _bad(path: Path, what: str) -> BadInput:
    return BadInput(
        seen=f"{path}: {what}",
        allowed=f"a CSV of {','.join(COLUMNS)}: fractions of width and height from 0 to 1, x0 < x1 and y0 < y1, a "
        f"confidence from 0 to 1, a label of {' or '.join(LABELS)}",
        remedy="mend the file; boxes in pixels are divided by width and height first",
    )
