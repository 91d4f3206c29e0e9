"""What the default model costs an image, on one core: each member, from the decoded picture to its vector.

    .venv/bin/python benchmarks/default_model.py FOLDER [--images 200]

Beside it ResNet-50 at 288 px, SSCD's network, on as many tensors: the ratios are of one run, the milliseconds of one
machine. Members go one image at a time, as a user's single picture does.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import timm
import torch

from isckit import config
from isckit.data.image_sets import open_folder
from isckit.data.images import decode
from isckit.engine.describe import Describer
from isckit.models.members import load
from isckit.runs.checkpoints import read_weights
from isckit.runs.records import read_json
from isckit.runs.workspace import DEFAULT, Workspace
from isckit.types import Role
from isckit.views.geometry import VIEW_SETS

WHOLE = VIEW_SETS["whole"]
ROUNDS = 3


def milliseconds(work: Callable[[int], object], count: int) -> float:
    """Of one call, the fastest of some rounds over all items."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for item in range(count):
            work(item)
        rounds.append(1e3 * (time.perf_counter() - start) / count)
    return min(rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=200)
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    images = open_folder(given.folder, Role.REFERENCE)
    files = [images.read(row) for row in range(min(given.images, len(images)))]
    pictures = [decode(file, name=str(row)) for row, file in enumerate(files)]
    shipped = Workspace.of(Path(), DEFAULT)
    recipe = config.from_dict(read_json(shipped.recipe(DEFAULT)))
    members = load(recipe, read_weights(shipped.weights(DEFAULT)), device=torch.device("cpu"))
    peer = timm.create_model("resnet50", num_classes=512).eval()
    tensor = torch.rand(1, 3, 288, 288)
    print(f"{len(pictures)} images, {np.mean([p.shape[0] * p.shape[1] for p in pictures]):,.0f} pixels on average\n")
    print("| step | ms an image | of ResNet-50 at 288 px |")
    print("|---|---:|---:|")
    for bf16 in (False, True):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            whole = milliseconds(lambda _: peer(tensor), 20)
            rows = {"decoding": milliseconds(lambda row: decode(files[row], name=""), len(files))} if not bf16 else {}
            for settings, member in zip(recipe.members, members, strict=True):
                if bf16 and not isinstance(settings, config.Network):
                    continue

                def one(row: int, member: Describer = member) -> object:
                    return member.embed(torch.from_numpy(member.prepare(pictures[row], WHOLE))[None], WHOLE)

                rows[settings.name] = milliseconds(one, len(pictures))
            for name, cost in (rows | {"ResNet-50 at 288 px": whole}).items():
                print(f"| {name}, {'bf16' if bf16 else 'fp32'} | {cost:.1f} | {cost / whole:.2f} |", flush=True)


if __name__ == "__main__":
    main()
