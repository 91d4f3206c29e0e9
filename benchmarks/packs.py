"""How fast images come from a folder, from packs of their files, and from packs of their pixels, decoded.

    .venv/bin/python benchmarks/packs.py --data DIR --set train --images 2000

Each is read in order and at random; the operating system's cache is warm (files were read just before), so the
ratios are of opening, reading and decoding. On disks and network drives the difference of random reads is larger.
"""

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from isckit.data.image_sets import ImageSet
from isckit.data.images import decode
from isckit.data.layouts import open_disc, require
from isckit.data.packing import pack


def seconds(images: ImageSet, rows: np.ndarray, *, side: int, decoded: bool) -> float:
    """Time of one pass over the rows, best of three."""
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        for row in rows.tolist():
            data = images.read(row)
            if decoded:
                image = decode(data, name="")
                if image.shape[:2] != (side, side):
                    cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        best = min(best, time.perf_counter() - started)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", default="train")
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--side", type=int, default=160)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    images = require(open_disc(given.data), given.set)
    images = images.subset(np.arange(min(given.images, len(images))))
    shuffled = np.random.default_rng(0).permutation(len(images))
    with tempfile.TemporaryDirectory() as folder:
        sources = {"folder": images}
        for name, side in (("pack of files", 0), ("pack of pixels", given.side)):
            pack(images, Path(folder) / name, side=side)
            sources[name] = require(open_disc(Path(folder) / name), given.set)
        print("| source | bytes an image | read, in order | read, at random | read, decoded and resized |")
        print("|---|---|---|---|---|")
        first: list[float] = []
        for name, source in sources.items():
            passes = ((np.arange(len(images)), False), (shuffled, False), (shuffled, True))
            times = [seconds(source, rows, side=given.side, decoded=decoded) for rows, decoded in passes]
            first = first or times
            cells = [
                f"{1e6 * taken / len(images):,.0f} us ({was / taken:.1f}x)"
                for taken, was in zip(times, first, strict=True)
            ]
            size = sum(len(source.read(i)) for i in range(len(source))) / len(source)
            print(f"| {name} | {size:,.0f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
