"""Edits that no training pipeline of the default model has: warps, weather, corruptions, puzzles, two at a time.

    .venv/bin/python benchmarks/hard_set.py --photos DIR --out DIR
    isckit infer --queries DIR/queries --references DIR/references --out FOUND
    isckit score FOUND/descriptors.h5 --ground-truth DIR/ground_truth.csv      # and FOUND/matching.csv

Take photographs that the model was not trained on. Half of the queries are copies of references, half of others.
"""

import argparse
from pathlib import Path

import albumentations as A
import numpy as np
from PIL import Image
from tqdm import tqdm

from isckit.data.image_sets import open_folder
from isckit.data.images import decode
from isckit.types import Role

GEOMETRY = (
    A.ElasticTransform(alpha=120, sigma=9, p=1),
    A.GridDistortion(distort_limit=(-0.35, 0.35), p=1),
    A.OpticalDistortion(distort_limit=(-0.6, 0.6), p=1),
    A.ThinPlateSpline(scale_range=(0.15, 0.3), p=1),
    A.PiecewiseAffine(scale=(0.03, 0.05), p=1),
    A.RandomGridShuffle(grid=(2, 2), p=1),
    A.Affine(shear={"x": (-35, 35), "y": (-15, 15)}, p=1),
)
LOOKS = (
    A.RandomFog(alpha_coef=0.15, fog_coef_range=(0.5, 0.8), p=1),
    A.RandomRain(p=1),
    A.RandomSunFlare(p=1),
    A.Spatter(p=1),
    A.GlassBlur(sigma=0.7, max_delta=3, iterations=1, p=1),
    A.ZoomBlur(max_factor=(1.1, 1.2), p=1),
    A.Superpixels(p_replace=(0.6, 0.8), n_segments=(150, 250), p=1),
    A.Emboss(alpha=(0.6, 0.9), p=1),
    A.ToSepia(p=1),
    A.PlasmaShadow(shadow_intensity_range=(0.5, 0.8), p=1),
    A.GridDropout(ratio=0.4, p=1),
    A.RingingOvershoot(blur_limit=(9, 15), p=1),
)
CROP = (0.5, 0.9)
"""Part of both sides that a crop before them keeps; half of the queries are cropped."""


def edited(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A crop for every second picture, then one edit of places and one of looks."""
    height, width = picture.shape[:2]
    if rng.random() < 0.5:
        h, w = (int(side * rng.uniform(*CROP)) for side in (height, width))
        top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
        picture = picture[top : top + h, left : left + w]
    chosen = A.Compose(
        [GEOMETRY[rng.integers(len(GEOMETRY))], LOOKS[rng.integers(len(LOOKS))]], seed=int(rng.integers(2**31))
    )
    return chosen(image=np.ascontiguousarray(picture))["image"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--references", type=int, default=600)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--seed", type=int, default=9)
    given = parser.parse_args()
    photos, rng = open_folder(given.photos, Role.EXTERNAL), np.random.default_rng(given.seed)
    rows = rng.permutation(len(photos))[: given.references + given.queries // 2].tolist()
    references, others = rows[: given.references], rows[given.references :]
    for name in ("references", "queries"):
        (given.out / name).mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(references):
        (given.out / "references" / f"R{number:06d}.jpg").write_bytes(photos.read(row))
    copied = rng.permutation(len(references))[: given.queries - len(others)].tolist()
    sources = [(references[number], f"R{number:06d}") for number in copied] + [(row, "") for row in others]
    lines = ["query_id,reference_id"]
    for number, place in enumerate(tqdm(rng.permutation(len(sources)), desc="edit", unit="img")):
        row, reference = sources[place]
        picture = edited(decode(photos.read(row), name=str(row)), rng)
        Image.fromarray(picture).save(given.out / "queries" / f"Q{number:05d}.jpg", quality=80)
        lines.append(f"Q{number:05d},{reference}")
    (given.out / "ground_truth.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
