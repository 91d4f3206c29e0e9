"""A branch of the Matching track of one's own: pairs of images whose mean colours in a 4 x 4 grid are alike.

In the package it is a file in `src/isckit/matching/branches` with `describe`, `fit` and `matches`, its settings in
`src/isckit/config/branches.py` (what it needs of images, what of it looks at others), and its class in the union below
them. Here it stands by itself, and joins a second list by fusion.

    python examples/own_branch.py DATA     # a DISC21-shaped folder
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from isckit import config
from isckit.data.ground_truth import read_ground_truth
from isckit.data.image_sets import ImageSet
from isckit.data.images import decode
from isckit.data.layouts import open_disc, require
from isckit.judge.score.score import score_matches
from isckit.matching.fuse import fuse
from isckit.submission import best_rows
from isckit.types import Matches


def describe(images: ImageSet, side: int) -> np.ndarray:
    """Return (n, side * side * 3) float32 mean colours of a grid over each image, of zero mean and unit length."""
    pictures = [decode(images.read(k), name=str(name)) for k, name in enumerate(images.ids)]
    grids = [cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA).ravel() for picture in pictures]
    values = np.array(grids, np.float32)
    values -= values.mean(axis=1, keepdims=True)
    return values / np.linalg.norm(values, axis=1, keepdims=True).clip(1e-6)


def matches(queries: ImageSet, references: ImageSet, *, side: int, rows: int) -> Matches:
    """Return the best `rows` pairs; a score is a function of its two images alone (rule 5.4)."""
    scores = describe(queries, side) @ describe(references, side).T
    query, reference = np.indices(scores.shape)
    every = Matches(queries.ids[query.ravel()], references.ids[reference.ravel()], scores.ravel().astype(np.float64))
    return best_rows(every, rows)


def main(data: Path) -> float:
    """Return the uAP of grids of two sizes, their scores added."""
    disc = open_disc(data)
    sides = require(disc, "queries"), require(disc, "references")
    found = {f"grid {side}": matches(*sides, side=side, rows=20 * len(sides[0])) for side in (4, 8)}
    truth = read_ground_truth(disc.ground_truth[1])
    report = score_matches(fuse(found, config.Sum()), truth, phase_queries=sides[0].ids)
    print(f"uAP {report.average_precision:.3f}")
    return report.average_precision


if __name__ == "__main__":
    main(Path(sys.argv[1]))
