"""Whether a small pair network learns to tell copies from look-alikes: average precision over pairs of held-out groups.

The descriptor and the pair network of separate.mini are trained on the first train images of a data set; of the last
ones groups of look-alikes are made, by the descriptor itself. Its own cosine is what the network has to beat.
    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/pairs.py --data DIR --out FOLDER
"""

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
import torch

from isckit import config
from isckit.config import override
from isckit.data.image_sets import ImageSet
from isckit.data.layouts import open_disc
from isckit.data.training import TrainingData
from isckit.engine.distributed import Process
from isckit.engine.look_alikes import LookAlikes, look_alikes
from isckit.engine.pair_steps import held_out
from isckit.engine.pair_training import train_pairs
from isckit.engine.train import train
from isckit.models.members import build
from isckit.models.pair import PairClassifier, begin_with, load_pair
from isckit.recipes.separate import mini


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--held-out", type=int, default=1_000)
    parser.add_argument("--groups", type=int, default=60)
    parser.add_argument("--set", action="append", default=[], help="a.b=value of the recipe")
    given = parser.parse_args()
    images, process, recipe = open_disc(given.data).train, Process(torch.device("cpu")), override(mini(), given.set)
    assert images is not None and isinstance(recipe.members[0], config.Network)
    cut = np.arange(len(images)) < len(images) - given.held_out
    learnt, kept = images.subset(cut), images.subset(~cut)
    started = time.process_time()
    settings, pairs = recipe.members[0], recipe.pair_networks[0]
    weights = train(settings, TrainingData(learnt), seed=1, folder=given.out / "member", process=process, workers=0)
    member = build(settings)
    member.load_state_dict(weights)
    member.eval()
    print(f"descriptor trained: {time.process_time() - started:.0f} s of CPU")

    def near(train_images: ImageSet, name: str) -> LookAlikes:
        return look_alikes(
            member, train_images, count=pairs.stages[0].group, folder=given.out / name, made_from={"name": name},
            settings=recipe.extract, process=process, workers=0,
        )  # fmt: skip

    lists, untold = near(learnt, "learnt"), near(kept, "kept")
    started = time.process_time()
    start = weights if pairs.weights_of else None
    state = train_pairs(
        pairs, TrainingData(learnt), neighbours=lists, seed=1, folder=given.out / "pairs", process=process, workers=0,
        start=start,
    )  # fmt: skip
    print(f"pair network trained: {time.process_time() - started:.0f} s of CPU")
    begun = PairClassifier(pairs).eval()
    if start is not None:
        begin_with(begun, start)
    trained = load_pair(pairs, {f"{pairs.name}.{key}": value for key, value in state.items()}, device=process.device)
    for view in ("separate.mini", "separate.final"):
        stage = dataclasses.replace(pairs.stages[-1], groups=given.groups, view=view)
        print(f"{view}: {given.groups} groups of {stage.group}, average precision over all pairs:")
        for name, network in (("as it began", begun), ("trained", trained)):
            found = held_out(network, member, kept, untold, stage, seed=7, process=process).precision()
            print(f"    pair network {name}: {found['network']:.3f}; cosine of the descriptor: {found['cosine']:.3f}")


if __name__ == "__main__":
    main()
