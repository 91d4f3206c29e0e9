"""Figure: edits of a whole batch on the device against the same edits of one image after the other on one thread.

python benchmarks/augment.py                           "sscd.device" at 224 on the device there is
python benchmarks/augment.py --name NAME --size 96 --images 64 --device cpu

Both read decoded images in memory. Parameters are drawn beforehand for the batch, on the way for single images; in
training the loader draws them either way.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch

from isckit.augment.batched import BATCHED, find_batched
from isckit.augment.pipelines import view_rng
from isckit.augment.steps import Pipeline


def pictures(count: int, size: int) -> np.ndarray:
    """(count, size, size, 3) uint8: smooth colours with some grain."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(256, size=(count, 8, 8, 3)).astype(np.float32)
    smooth = np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC) for image in coarse])
    return np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)


def best(task: Callable[[], object], *, device: str, rounds: int) -> float:
    """Seconds of the fastest of so many rounds, after one to warm up."""
    spent = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        task()
        if device == "cuda":
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - start)
    return min(spent[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", choices=BATCHED, default="sscd.device")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    images, batched = pictures(given.images, given.size), find_batched(given.name)
    single = Pipeline(batched.steps)
    table = torch.from_numpy(np.stack([batched.draw(view_rng(0, 0, k, 0), given.size) for k in range(len(images))]))
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(given.device)
    how = {"device": given.device, "rounds": given.rounds}
    together = best(lambda: batched.apply(pixels, table), **how)
    apart = best(
        lambda: [single(image, view_rng(0, 0, k, 0), None, given.size) for k, image in enumerate(images)], **how
    )
    print(
        f"{given.name} at {given.size}: {given.images / together:,.0f} images/s in batches on {given.device} "
        f"({torch.get_num_threads()} threads), {given.images / apart:,.0f} one by one on one thread: "
        f"{apart / together:.2f} times"
    )


if __name__ == "__main__":
    main()
