"""Figure: what local features cost, and what they are worth, by the number of points kept an image.

python benchmarks/local_features.py                                    procedural pictures and edited copies of some
python benchmarks/local_features.py --data DIR --queries 100 --references 500 --truth public_ground_truth.csv

DIR has images/references and images/queries, or references and queries. Printed for each number of points: points an
image; kilobytes an image, which are gigabytes for a million; seconds to describe an image, to vote and to verify a
query; pairs verified a query; and micro-AP where the truth is known. One thread.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import cv2
import faiss
import numpy as np

from isckit.config import Local, replace
from isckit.features.kinds import feature_of
from isckit.features.points import vectors
from isckit.features.store import Block, Store, write_block
from isckit.matching.local import index
from isckit.matching.local.verify import Shown
from isckit.matching.local.vote import Votes, candidates
from isckit.synthetic.procedural import picture

Pictures = Mapping[str, np.ndarray]
Value = TypeVar("Value")
_SHARD = 2_048


def drawn(queries: int, references: int) -> tuple[Pictures, Pictures, dict[str, str]]:
    """Procedural references, and queries of which every second is an edited copy."""
    kept = {f"R{k:06d}": picture(k, size=256) for k in range(references)}
    asked, truth = {}, {}
    for k in range(queries):
        rng, name = np.random.default_rng(k), f"Q{k:05d}"
        if k % 2:
            asked[name] = picture(10_000 + k, size=256)
            continue
        truth[name] = f"R{k % references:06d}"
        image = kept[truth[name]]
        turn = cv2.getRotationMatrix2D((128, 96), rng.uniform(-30, 30), rng.uniform(0.4, 1.0))
        asked[name] = cv2.GaussianBlur(cv2.warpAffine(image, turn, image.shape[1::-1]), (0, 0), rng.uniform(0.3, 1.5))
    return asked, kept, truth


def read(folder: Path, most: int) -> Pictures:
    """The first images of a folder, by name."""
    paths = sorted(path for path in folder.iterdir() if path.is_file())[:most]
    images = {path.stem: cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) for path in paths}
    return {name: image for name, image in images.items() if image is not None}


def timed(task: Callable[[], Value]) -> tuple[Value, float]:
    """What a task returns, and its CPU seconds."""
    start = time.process_time()
    value = task()
    return value, time.process_time() - start


def stored(pictures: Pictures, branch: Local, folder: Path) -> Store:
    """The points of all pictures, on disk."""
    names = sorted(pictures)
    for number, first in enumerate(range(0, len(names), _SHARD)):
        part = names[first : first + _SHARD]
        block = Block.of(np.array(part), feature_of(branch.keypoints).detect([pictures[name] for name in part]))
        write_block(folder / f"shard-{number:05d}.h5", block)
    return Store(folder)


def _pairs(votes: Votes) -> Iterator[tuple[int, int]]:
    return zip(votes.query.tolist(), votes.reference.tolist(), strict=True)


def micro_ap(rows: list[tuple[float, bool]], positives: int) -> float:
    """Area under the curve of the scored list; of equal scores the wrong come first."""
    right = np.array([truth for _, truth in sorted(rows, key=lambda row: (-row[0], row[1]))], bool)
    return float((np.cumsum(right) / np.arange(1, len(right) + 1) * right).sum() / max(positives, 1))


def measure(branch: Local, queries: Pictures, references: Pictures, truth: Mapping[str, str]) -> str:
    """One line of the table."""
    assert branch.vote is not None
    settings = branch.vote
    with tempfile.TemporaryDirectory() as folder:
        (asked, kept), describing = timed(
            lambda: [stored(side, branch, Path(folder) / str(k)) for k, side in enumerate((queries, references))]
        )
        blocks = [kept.block(number) for number in range(len(kept.paths))]
        points = np.concatenate([block.descriptors for block in blocks])
        train = np.random.default_rng(0).permutation(points)[: index.sample_size(settings)]
        quantiser = index.fit(vectors(train, bits=False), settings, seed=1)
        sides = [asked, Store(Path(folder) / "0", mirror=feature_of(branch.keypoints).mirror)]
        votes, voting = timed(
            lambda: [candidates(side, kept, quantiser, settings, workers=1) for k, side in enumerate(sides)]
        )
        pairs = sorted({pair for found in votes for pair in _pairs(found)})
        scores, verifying = timed(
            lambda: [
                Shown([side.points(query) for side in sides]).score(kept.points(reference), branch.verify)
                for query, reference in pairs
            ]
        )
        size = sum(path.stat().st_size for path in kept.paths) / len(references)
    rows = [
        (value, truth.get(str(asked.ids[query])) == str(kept.ids[reference]))
        for (query, reference), value in zip(pairs, scores, strict=True)
        if value > 0
    ]
    worth = f"{micro_ap(rows, len(truth)):.3f}" if truth else "-"
    return (
        f"{branch.keypoints.points or 'all':>6} {len(points) / len(references):>8.0f} {size / 1e3:>9.1f} "
        f"{describing / (len(queries) + len(references)):>9.4f} {voting / len(queries):>8.4f} "
        f"{verifying / len(queries):>8.4f} {len(pairs) / len(queries):>8.1f} {worth:>6}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--truth", type=Path, help="CSV of query, reference; without a reference for a distractor")
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--references", type=int, default=150)
    parser.add_argument("--points", type=int, nargs="+", default=[100, 200, 400, 600, 1_000, 0])
    given = parser.parse_args()
    cv2.setNumThreads(1)
    faiss.omp_set_num_threads(1)
    if given.data is None:
        queries, references, truth = drawn(given.queries, given.references)
    else:
        root = given.data / "images" if (given.data / "images").is_dir() else given.data
        queries, references = read(root / "queries", given.queries), read(root / "references", given.references)
        lines = given.truth.read_text(encoding="utf-8").splitlines() if given.truth else []
        cells = [row for row in csv.reader(lines) if len(row) > 1]
        truth = {row[0]: row[1] for row in cells if row[0] in queries and row[1] in references}
    print(f"{len(queries)} queries, {len(references)} references, {len(truth)} true pairs; seconds of CPU, one thread")
    print("points  p/image  kB/image   s/image   s/vote s/verify  pairs/q    uAP")
    for points in given.points:
        branch = Local()
        branch = replace(branch, keypoints=replace(branch.keypoints, points=points))
        print(measure(branch, queries, references, truth), flush=True)


if __name__ == "__main__":
    main()
