"""Figure: images/s of training and of extraction, as ratios to the bare network on random tensors.

python benchmarks/training.py --data DIR --backbone tf_efficientnetv2_m --size 256 --batch 64 [--workers N] [--steps N]

Bare training is forward and backward of the same network, objective and optimiser left out; bare extraction is forward.
Both ratios have the loader, decoding, edits, objective and optimiser on one side only: what they cost is what is shown.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from isckit import config
from isckit.data.layouts import open_disc, require
from isckit.data.training import TrainingData, stage_images
from isckit.engine.describe import Target, extract
from isckit.engine.distributed import Process, deterministic, has_bf16
from isckit.engine.stage import StageTrainer
from isckit.models.network import EmbeddingNetwork
from isckit.runs.steps import Output


def rate(task: Callable[[], object], process: Process, *, images: int, steps: int) -> float:
    """Images/s of a task of `images` images, done `steps` times after one to warm up."""
    task()
    wait(process)
    start = time.perf_counter()
    for _ in range(steps):
        task()
    wait(process)
    return steps * images / (time.perf_counter() - start)


def wait(process: Process) -> None:
    """Until the device has done what it was given."""
    if process.device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train images")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64, help="train images a step, two views each")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--views", nargs=2, default=["lyakaap.moderate", "lyakaap.weak"])
    given = parser.parse_args()
    process = Process(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    train = require(open_disc(given.data), "train")
    stage = config.Stage(
        epochs=2, images_per_epoch=given.batch * given.steps, batch_images=given.batch, views=tuple(given.views),
        loss=config.Contrastive(memory=4_096), optim=config.Optim(name="sgd", lr=1e-3, warmup_epochs=0),
    )  # fmt: skip
    settings = config.Network(
        backbone=config.Backbone(name=given.backbone), image_size=given.size, canvas=given.size, stages=(stage,)
    )
    deterministic(1)
    network = EmbeddingNetwork(settings).to(process.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    half = has_bf16(process.device)
    pixels = torch.randint(256, (2 * given.batch, 3, given.size, given.size), dtype=torch.uint8, device=process.device)

    def forward() -> torch.Tensor:
        with torch.autocast(process.device.type, torch.bfloat16, enabled=half):
            return network(pixels)

    def backward() -> None:
        network.zero_grad(set_to_none=True)
        forward().sum().backward()

    bare = rate(backward, process, images=len(pixels), steps=given.steps)
    run = StageTrainer(stage, network, stage_images(TrainingData(train), stage.data), seed=1, process=process)
    options = {"counted": 0, "workers": given.workers, "witness": None, "save": lambda state: None, "save_seconds": 1e9}
    run.run_epoch(**options)
    trained = run.run_epoch(**options)["images_per_second"]
    network.eval()
    with torch.inference_mode():
        bare_forward = rate(forward, process, images=len(pixels), steps=given.steps)
    described = len(train)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        extract(
            [Target(network)], [Output(Path(folder) / "out", {"what": "benchmark"}, ".h5")], train,
            settings=config.Extract(batch_images=given.batch, bf16=half), process=process, workers=given.workers,
        )  # fmt: skip
        extracted = described / (time.perf_counter() - start)
    print(f"{given.backbone} at {given.size} on {process.device}:")
    print(
        f"training {trained:,.0f} images/s, {trained / bare:.2f} of "
        f"the bare network's {bare:,.0f}; extraction {extracted:,.0f} images/s, {extracted / bare_forward:.2f} of "
        f"{bare_forward:,.0f}"
    )


if __name__ == "__main__":
    main()
