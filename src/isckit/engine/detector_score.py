"""How well a detector finds what is pasted on pictures, on pastes that it was not trained on."""

from __future__ import annotations

import numpy as np
import torch
from tqdm import tqdm

from isckit.data.image_sets import ImageSet
from isckit.engine.distributed import Place
from isckit.engine.pasting import PastedImages, together
from isckit.models.detector import OverlayDetector
from isckit.views.box_score import Curve, score_boxes
from isckit.views.overlays import LABELS, Box

HELD_OUT = 1_000_003
"""Number of the epoch whose pastes are looked at: no training gets there."""


def score_detector(
    detector: OverlayDetector, train: ImageSet, *, rows: np.ndarray, seed: int, place: Place, batch_images: int = 32
) -> dict[str, Curve]:
    """Make a picture from each of these train images, as in training, and compare what is found with what is there.

    Args:
        detector: in evaluation mode, on the place's device.
        train: images to paste on and to paste; for figures that hold for other images, ones it was not trained on.
        rows: those of the backgrounds.
        seed: of the pastes.
        place: of this process.
        batch_images: pictures a batch.

    Returns:
        Label -> curve at an overlap of 0.5.
    """
    pictures = PastedImages(train, rows=rows, settings=detector.settings, seed=seed, epoch=HELD_OUT)
    found: list[list[Box]] = []
    truth: list[list[Box]] = []
    for start in tqdm(range(0, len(rows), batch_images), "pastes", unit="batch", disable=not place.first):
        stop = min(start + batch_images, len(rows))
        batch = together([pictures[position] for position in range(start, stop)])
        found += detector.detect(batch.pixels.to(place.device))
        truth += [_truth(boxes, labels) for boxes, labels in zip(batch.boxes, batch.labels, strict=True)]
    return {label: score_boxes(found, truth, label=label) for label in LABELS}


def _truth(boxes: torch.Tensor, labels: torch.Tensor) -> list[Box]:
    pairs = zip(boxes.tolist(), labels.tolist(), strict=True)
    return [Box._make((*corners, 1.0, LABELS[k - 1])) for corners, k in pairs]
