"""How well a run's overlay detector finds pictures and emoji pasted on images, by confidence, at an overlap of 0.5.

Pastes are made as in training, but with other draws. For figures that hold for new images, give a folder of images
that the detector was not trained on, which may be edited:
    .venv/bin/python benchmarks/detector.py --name overlays --images DIR [--boxes boxes.csv]
With --boxes, written by `isckit detect` for other images, it also counts in how many of these it sees an overlay.
"""

import argparse
from pathlib import Path

import numpy as np

from isckit.data.image_sets import open_folder
from isckit.engine.detector_score import score_detector
from isckit.engine.distributed import process
from isckit.matching.inputs import detector_of
from isckit.runs.run import resume
from isckit.runs.workspace import Workspace
from isckit.types import Role
from isckit.views.overlays import pasted, read_boxes, surest

CONFIDENCES = (0.1, 0.3, 0.4, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--boxes", type=Path)
    given = parser.parse_args()
    images = open_folder(given.images, Role.TRAIN)
    rows = np.random.default_rng(given.seed).permutation(len(images))[: given.count]
    with process() as here:
        detector = detector_of(resume(Workspace(Path()), given.name), process=here)
        curves = score_detector(detector, images, rows=rows, seed=given.seed, process=here)
    print(f"{len(rows)} pictures: precision / recall of boxes above a confidence, and average precision\n")
    print(f"| | pasted | {' | '.join(f'{c:g}' for c in CONFIDENCES)} | AP |")
    print(f"|---|---|{'---|' * len(CONFIDENCES)}---|")
    for label, curve in curves.items():
        cells = [" / ".join(f"{value:.3f}" for value in curve.above(confidence)) for confidence in CONFIDENCES]
        print(f"| {label} | {curve.pictures} | {' | '.join(cells)} | {curve.average_precision:.3f} |")
    if given.boxes:
        boxes = read_boxes(given.boxes).values()
        for confidence in CONFIDENCES:
            sure, kept = (
                sum(found is not None for found in chosen)
                for chosen in (
                    [surest(own, confidence) for own in boxes],
                    [pasted(own, confidence=confidence) for own in boxes],
                )
            )
            print(f"above {confidence:g}: an overlay in {sure} images, imgFp's filter keeps a box in {kept}")


if __name__ == "__main__":
    main()
