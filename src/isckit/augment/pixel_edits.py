"""One of many small edits of pixels: albumentations' own, at their defaults, and strong corruptions."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np

PIXEL_EDITS = (
    "Blur", "CLAHE", "ChannelDropout", "ChannelShuffle", "ColorJitter", "Downscale", "Emboss", "Equalize", "FancyPCA",
    "GaussNoise", "GlassBlur", "HueSaturationValue", "ISONoise", "ImageCompression", "InvertImg", "MedianBlur",
    "MotionBlur", "MultiplicativeNoise", "Posterize", "RGBShift", "RandomBrightnessContrast", "RandomFog",
    "RandomGamma", "RandomRain", "RandomSnow", "RandomToneCurve", "Sharpen", "Solarize", "ToSepia",
)  # fmt: skip
_GREY_LEVELS = 0.2 * 255
_MEAN_COUNT = 40.0


def pixel_edit(image: np.ndarray, rng: np.random.Generator, *, names: tuple[str, ...] = PIXEL_EDITS) -> np.ndarray:
    """One of albumentations' edits of these names, with even chances and its default ranges."""
    edit = _edit(names[rng.integers(len(names))])
    edit.set_random_seed(int(rng.integers(2**31)))
    return np.ascontiguousarray(edit(image=np.ascontiguousarray(image))["image"])


def corrupt(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of nine: a tenth of the pixels black, white or either; Gauss, Laplace or Poisson noise, grey or coloured."""
    kind, seed = int(rng.integers(9)), int(rng.integers(2**63))
    # Its own generator, so that pictures of other shapes leave the draws that follow as they are.
    grain = np.random.default_rng(seed)
    if kind < 3:
        struck = grain.random(image.shape[:2]) < 0.1
        white = grain.random(image.shape[:2]) < 0.5 if kind == 0 else np.full(image.shape[:2], kind == 1)
        return np.where(struck[..., None], np.uint8(255) * white[..., None].astype(np.uint8), image)
    shape = (*image.shape[:2], 1 if kind % 2 else 3)
    if kind < 5:
        noise = grain.standard_normal(shape, np.float32) * np.float32(_GREY_LEVELS)
    elif kind < 7:
        noise = grain.laplace(0.0, _GREY_LEVELS, shape).astype(np.float32)
    else:
        noise = grain.poisson(_MEAN_COUNT, shape).astype(np.float32)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


@functools.cache
def _edit(name: str) -> Any:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for its newest version at import
    import albumentations

    return getattr(albumentations, name)(p=1.0)
