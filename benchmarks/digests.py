"""Figure: digesting images against `cat FILES > /dev/null`, both with a warm cache, in turns.

python benchmarks/digests.py              on files of its own: 3,000 of 150 kB, as large as DISC21's
python benchmarks/digests.py --data DIR   on the image sets in a folder, packed or not
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from isckit.data.image_sets import ImageSet
from isckit.data.layouts import ROLES, open_disc
from isckit.judge.audit.images import digest_images

FILES, FILE_BYTES, ROUNDS = 3_000, 150_000, 5


def write_files(folder: Path) -> None:
    """Files with the names of train images; a digest does not care what is in them."""
    rng = np.random.default_rng(0)
    (folder / "train").mkdir()
    for number in range(FILES):
        (folder / "train" / f"T{number:06d}.jpg").write_bytes(rng.bytes(FILE_BYTES))


def digest_all(sets: list[ImageSet], folder: Path, *, workers: int, trust: bool) -> int:
    """Bytes of all sets."""
    found = (digest_images(images, folder / images.name, workers=workers, trust=trust) for images in sets)
    return sum(digests.bytes for digests in found)


def files_of(sets: list[ImageSet]) -> bytes:
    """What `cat` is to read, one NUL-ended path each: files, and whole archives."""
    packed = {str(source.path) for images in sets for source in images.sources if source.is_archive}
    loose = {
        images.where(i)
        for images in sets
        for i, number in enumerate(images.places["source"])
        if not images.sources[number].is_archive
    }
    return "".join(f"{path}\0" for path in sorted(packed | loose)).encode()


def seconds(function: Callable[..., object], *args: object, **options: object) -> float:
    start = time.perf_counter()
    function(*args, **options)
    return time.perf_counter() - start


def compare(root: Path, scratch: Path, *, workers: int) -> None:
    """Best of ROUNDS each, in turns, so that all meet the same load of the machine."""
    disc = open_disc(root)
    sets = [images for name in ROLES if (images := getattr(disc, name)) is not None]
    names, images = files_of(sets), sum(map(len, sets))
    size = digest_all(sets, scratch, workers=workers, trust=False)
    tasks = {
        f"digest, {workers} threads": lambda: digest_all(sets, scratch, workers=workers, trust=False),
        "digest, 1 thread": lambda: digest_all(sets, scratch, workers=1, trust=False),
        "digest, all trusted": lambda: digest_all(sets, scratch, workers=workers, trust=True),
        "cat": lambda: subprocess.run(["sh", "-c", "xargs -0 cat > /dev/null"], input=names, check=True),
    }
    best = dict.fromkeys(tasks, float("inf"))
    for _ in range(ROUNDS):
        best = {name: min(best[name], seconds(task)) for name, task in tasks.items()}
    print(f"{images:,} images, {size / 1e6:,.0f} MB, {size / images / 1e3:,.0f} kB an image")
    print(f"sha256 of one thread in memory: {sha256_speed():.2f} GB/s")
    for name, spent in best.items():
        ratio = best["cat"] / spent
        print(f"{name:20} {images / spent:9,.0f} images/s {size / spent / 1e6:9,.0f} MB/s, {ratio:.2f} of cat")


def sha256_speed() -> float:
    """GB/s of one thread on bytes in memory."""
    data = bytes(1 << 27)
    return len(data) / min(seconds(hashlib.sha256, data) for _ in range(3)) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of image sets; else files of its own")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if options.data is None:
            write_files(Path(name))
        compare(options.data or Path(name), Path(name) / "digests", workers=options.workers)


if __name__ == "__main__":
    main()
