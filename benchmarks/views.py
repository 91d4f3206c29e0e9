"""Figure: images described per second at 1, 10 and 40 views an image, against the bare network on as many tensors.

python benchmarks/views.py                                              on the device there is
python benchmarks/views.py --backbone resnet10t --images 100 --workers 1

Fixed views are grids; "found" ones are as many windows that differ from image to image. Both numbers are of views per
second, and their ratio says what decoding, cutting and resizing cost on top. Crops are never written: the last column
is the most that lay on disk beside the embeddings while they were made.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from isckit import config
from isckit.data.image_sets import ImageSet, open_folder
from isckit.engine.describe import Target, extract
from isckit.engine.distributed import Process
from isckit.models.network import EmbeddingNetwork
from isckit.runs.steps import Output
from isckit.types import Role
from isckit.views.geometry import VIEW_SETS, View
from isckit.views.table import ImageFinding, Table, Wanted, table_of

COUNTS = (1, 10, 40)
HEIGHT, WIDTH = 480, 640


def write_pictures(folder: Path, count: int) -> ImageSet:
    """Smooth JPEGs of 640 x 480."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(count):
        coarse = Image.fromarray(rng.integers(256, size=(6, 8, 3), dtype=np.uint8))
        coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(folder / f"Q{k:05d}.jpg", quality=90)
    return open_folder(folder, Role.QUERY)


def fixed(count: int) -> Wanted:
    """The whole image and windows of several grids."""
    windows = (*VIEW_SETS["half_grid"], *VIEW_SETS["third_grid"], *VIEW_SETS["strips"])
    return Wanted((View("whole"), *windows[: count - 1]))


def found(images: ImageSet, count: int) -> tuple[Wanted, Table]:
    """The whole image and windows of its own."""
    rng = np.random.default_rng(1)
    shape = (count - 1, 2)
    boxes = [np.concatenate([rng.uniform(0, 0.5, shape), rng.uniform(0.2, 0.5, shape)], axis=1) for _ in images.ids]
    table = table_of(images.ids, [ImageFinding((HEIGHT, WIDTH), own) for own in boxes])
    return Wanted(proposals=config.Proposals(most=max(1, count - 1))), table


def bare(network: EmbeddingNetwork, batch: int, views: int, process: Process) -> float:
    """Views per second of the network alone on random tensors of its size."""
    side = network.settings.image_size
    pixels = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, device=process.device)
    with torch.inference_mode():
        network(pixels)
        start, steps = time.perf_counter(), max(1, views // batch)
        for _ in range(steps):
            network(pixels).cpu()
        return steps * batch / (time.perf_counter() - start)


class Peak(threading.Thread):
    """Watches how many bytes of files other than embeddings lie in a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder, self.bytes, self.going = folder, 0, True

    def run(self) -> None:
        """Look until told to stop."""
        while self.going:
            other = (p for p in self.folder.rglob("*") if "shard-" not in p.name and p.suffix not in (".json", ".part"))
            self.bytes = max(self.bytes, sum(p.stat().st_size for p in other if p.is_file()))
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet10t")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--canvas", type=int, default=320)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=0)
    given = parser.parse_args()
    process = Process(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    backbone = config.Backbone(name=given.backbone)
    settings = config.Network(backbone=backbone, image_size=given.size, canvas=given.canvas, stages=())
    network = EmbeddingNetwork(settings).to(process.device).eval()
    print(f"{given.backbone} at {given.size} on {process.device}, {torch.get_num_threads()} threads, views per second:")
    with tempfile.TemporaryDirectory() as root:
        images = write_pictures(Path(root) / "pictures", given.images)
        for count in COUNTS:
            alone = bare(network, given.batch, count * len(images), process)
            table = None
            for kind in ("fixed", "found")[: 1 if count == 1 else 2]:
                wanted, table = (fixed(count), None) if kind == "fixed" else found(images, count)
                out = Path(root) / f"{kind}-{count}"
                out.mkdir()
                watch = Peak(out)
                watch.start()
                start = time.perf_counter()
                extract(
                    [Target(network, wanted)], [Output(out / "network", {"what": "benchmark"}, ".h5")], images,
                    table=table,
                    settings=config.Extract(batch_images=given.batch), process=process, workers=given.workers,
                )  # fmt: skip
                rate = count * len(images) / (time.perf_counter() - start)
                watch.going = False
                watch.join()
                print(
                    f"{count:3} {kind}: {rate:8,.1f} ({rate / count:,.1f} images/s), {rate / alone:.2f} of the bare "
                    f"network's {alone:,.1f}; {watch.bytes} bytes of crops on disk"
                )


if __name__ == "__main__":
    main()
