"""Figure: how far descriptors move with the batch size and with bf16; the tolerances of the rules leave room for it.

python benchmarks/tolerance.py --name RUN --data DIR [--root ROOT]
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from isckit.data.layouts import open_disc, require
from isckit.judge.audit.compare import compare_descriptors
from isckit.judge.rules.experiments.contestant import INFER, Answer, Drawn, ask
from isckit.runs.workspace import Workspace

IMAGES = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True, help="a fitted run")
    parser.add_argument("--data", type=Path, required=True, help="the images")
    parser.add_argument("--root", type=Path, default=Path(), help="folder that holds checkpoints/")
    arguments = parser.parse_args()
    disc, name = open_disc(arguments.data), arguments.name
    sides = [require(disc, image_set) for image_set in ("queries", "references")]
    drawn = [Drawn.as_they_are(images, np.arange(min(IMAGES, len(images)))) for images in sides]
    with tempfile.TemporaryDirectory() as place:
        half = Workspace(Path(place) / "bf16")
        shutil.copytree(Workspace(arguments.root).checkpoint(name), half.checkpoint(name))
        recipe = json.loads(half.recipe(name).read_text())
        recipe["extract"]["bf16"] = True
        half.recipe(name).write_text(json.dumps(recipe))

        def answer(what: str, root: Path, batch: int) -> Answer:
            return ask(INFER, *drawn, folder=Path(place) / what, batch=batch, name=name, root=root)

        full = [answer(f"float32-{batch}", arguments.root, batch) for batch in (1, 16)]
        short = [answer(f"bf16-{batch}", half.root, batch) for batch in (1, 16)]
    answers = {
        "float32, batches of 1 against 16": full,
        "bf16, batches of 1 against 16": short,
        "bf16 against float32": [short[0], full[0]],
    }
    for words, (first, second) in answers.items():
        pairs = ((first.queries, second.queries), (first.references, second.references))
        largest = max(compare_descriptors(a, b).largest for a, b in pairs if a and b)
        print(f"{words:34} at most {largest:.1e} of a vector's length")


if __name__ == "__main__":
    main()
