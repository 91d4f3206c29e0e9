"""The images that show a face, by OpenCV's own cascade of Haar features (Viola & Jones 2001): nothing to download.

D2LV used the CNN of face_recognition 1.3, which found faces in 47,687 of a million references. The cascade sees upright
frontal faces only, misses covered, small and turned ones, and takes a texture for a face now and then: another list,
for the same purpose.
"""

from __future__ import annotations

import functools
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.data.images import BrokenImage, decode
from isckit.data.training import TrainingData
from isckit.runs.arrays import read_arrays, write_arrays
from isckit.runs.steps import Output, make
from isckit.types import MissingInput

LONGEST = 512
"""Pixels that the longer side is reduced to."""
SMALLEST = 1 / 12
"""Side of the smallest face looked for, as a part of the shorter side."""
_STEP, _NEIGHBOURS = 1.1, 5
_CASCADE = "haarcascade_frontalface_alt.xml"


def shows_face(image: np.ndarray) -> bool:
    """Return True if a (H, W, 3) uint8 RGB image shows an upright, frontal face; a function of its pixels alone.

    One at a time in a process: the cascade keeps a state.

    Raises:
        MissingInput: this OpenCV comes without its cascades.
    """
    factor = LONGEST / max(image.shape[:2])
    if factor < 1:
        width, height = (max(1, round(side * factor)) for side in image.shape[1::-1])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    grey = cv2.equalizeHist(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    side = max(24, round(SMALLEST * min(grey.shape)))
    found = _cascade().detectMultiScale(grey, scaleFactor=_STEP, minNeighbors=_NEIGHBOURS, minSize=(side, side))
    return len(found) > 0


def with_faces(
    training_data: TrainingData, stages: tuple[config.Stage, ...], *, path: Path, workers: int
) -> TrainingData:
    """Return the training_data with the rows of train that show a face, where a stage asks for them; looked for once.

    Args:
        path: where the rows are kept.
        workers: processes; 0 looks in this one.

    Raises:
        StaleArtifact: there are rows of other images.
    """
    if not any(stage.data.faces for stage in stages):
        return training_data

    def work() -> dict[str, Any]:
        found = faces(training_data.train, workers=workers)
        write_arrays(path, {"rows": found})
        return {"role": training_data.train.role.value, "images": len(training_data.train), "faces": len(found)}

    make(Output(path, {"images": training_data.train.content_digest()}), work)
    with read_arrays(path, {"rows": "i1"}, what="rows of faces", remedy="train again") as found:
        return replace(training_data, faces=found["rows"])


def faces(images: ImageSet, *, workers: int) -> np.ndarray:
    """Return rows of the images that show a face, ascending; broken images show none.

    Args:
        images: of any role.
        workers: processes; 0 looks in this one.
    """
    rows = range(len(images))
    look = functools.partial(_shows_face, images)
    if workers:
        with ProcessPoolExecutor(workers, initializer=cv2.setNumThreads, initargs=(0,)) as pool:
            found = list(tqdm(pool.map(look, rows, chunksize=64), f"faces {images.name}", len(rows), unit="img"))
    else:
        found = [look(row) for row in tqdm(rows, f"faces {images.name}", unit="img")]
    return np.flatnonzero(found)


def _shows_face(images: ImageSet, row: int) -> bool:
    try:
        return shows_face(decode(images.read(row), name=str(images.ids[row])))
    except BrokenImage:
        return False


@functools.cache
def _cascade() -> cv2.CascadeClassifier:
    path = Path(cv2.__file__).parent / "data" / _CASCADE
    cascade = cv2.CascadeClassifier(str(path)) if path.is_file() else None
    if cascade is None or cascade.empty():
        raise MissingInput(
            seen=f"OpenCV {cv2.__version__} without {path}",
            allowed="opencv-python-headless 4, whose wheel carries its cascades (5 has none)",
            remedy="install the version of requirements.txt",
        )
    return cascade
