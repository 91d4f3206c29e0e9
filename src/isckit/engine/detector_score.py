"""The measure of how well a detector finds what is pasted on pictures, on pastes that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from isckit.data.image_sets import ImageSet
from isckit.engine.distributed import Process
from isckit.engine.pasting import PastedImages, together
from isckit.models.detector import OverlayDetector
from isckit.views.overlays import LABELS, OVERLAY, Box


@dataclass(frozen=True)
class DetectorCurve:
    """Boxes found, the surest first.

    Attributes:
        confidences: (n,) falling.
        right: (n,) bool, whether the box is that of a picture which no surer one has found.
        pictures: how many there are to find.
    """

    confidences: np.ndarray
    right: np.ndarray
    pictures: int

    @property
    def average_precision(self) -> float:
        """Area under precision, made to fall, over recall; 0 where nothing was found."""
        if not self.right.any():
            return 0.0
        precision = np.cumsum(self.right) / np.arange(1, len(self.right) + 1)
        falling = np.maximum.accumulate(precision[::-1])[::-1]
        return float(falling[self.right].sum() / self.pictures)

    def above(self, confidence: float) -> tuple[float, float]:
        """Return the precision and recall of the boxes above a confidence; precision 1 where there is none."""
        kept = self.right[self.confidences > confidence]
        return float(kept.mean()) if len(kept) else 1.0, float(kept.sum() / max(1, self.pictures))


def score_boxes(
    found: Sequence[Sequence[Box]], truth: Sequence[Sequence[Box]], *, label: str = OVERLAY, overlap: float = 0.5
) -> DetectorCurve:
    """Compare the boxes of a label found in images with the true ones, image by image.

    The surer boxes choose first: a box is right if the true box it overlaps most is still free, and it overlaps that by
    at least `overlap` (intersection over union).
    """
    marked: list[tuple[float, bool]] = []
    pictures = 0
    for own, true in zip(found, truth, strict=True):
        free = [box for box in true if box.label == label]
        pictures += len(free)
        marked += _marked([box for box in own if box.label == label], free, overlap)
    marked.sort(key=lambda box: -box[0])
    confidences, right = zip(*marked, strict=True) if marked else ((), ())
    return DetectorCurve(np.array(confidences, np.float64), np.array(right, bool), pictures)


def intersection_over_union(first: Box, second: Box) -> float:
    """Share of the union of two boxes that both cover."""
    width = min(first.x1, second.x1) - max(first.x0, second.x0)
    height = min(first.y1, second.y1) - max(first.y0, second.y0)
    common = max(0.0, width) * max(0.0, height)
    return common / (first.area + second.area - common)


def _marked(found: Sequence[Box], true: Sequence[Box], overlap: float) -> list[tuple[float, bool]]:
    """Return the confidence of each box of an image, and whether it is right."""
    taken: set[int] = set()
    marked = []
    for box in sorted(found, key=lambda box: -box.confidence):
        overlaps = [intersection_over_union(box, other) for other in true]
        best = int(np.argmax(overlaps)) if overlaps else -1
        right = best >= 0 and overlaps[best] >= overlap and best not in taken
        taken |= {best} if right else set()
        marked.append((box.confidence, right))
    return marked


HELD_OUT = 1_000_003
"""Number of the epoch whose pastes are looked at: no training gets there."""


def score_detector(
    detector: OverlayDetector, train: ImageSet, *, rows: np.ndarray, seed: int, process: Process, batch_images: int = 32
) -> dict[str, DetectorCurve]:
    """Make a picture from each of these train images, as in training, and compare what is found with what is there.

    Args:
        detector: in evaluation mode, on the place's device.
        train: images to paste on and to paste; for figures that hold for other images, ones it was not trained on.
        rows: those of the backgrounds.
        seed: of the pastes.
        process: this one.
        batch_images: pictures a batch.

    Returns:
        Label -> curve at an overlap of 0.5.
    """
    pictures = PastedImages(train, rows=rows, settings=detector.settings, seed=seed, epoch=HELD_OUT)
    found: list[list[Box]] = []
    truth: list[list[Box]] = []
    for start in tqdm(range(0, len(rows), batch_images), "pastes", unit="batch", disable=not process.first):
        stop = min(start + batch_images, len(rows))
        batch = together([pictures[position] for position in range(start, stop)])
        found += detector.detect(batch.pixels.to(process.device))
        truth += [_truth(boxes, labels) for boxes, labels in zip(batch.boxes, batch.labels, strict=True)]
    return {label: score_boxes(found, truth, label=label) for label in LABELS}


def _truth(boxes: torch.Tensor, labels: torch.Tensor) -> list[Box]:
    pairs = zip(boxes.tolist(), labels.tolist(), strict=True)
    return [Box._make((*corners, 1.0, LABELS[k - 1])) for corners, k in pairs]
