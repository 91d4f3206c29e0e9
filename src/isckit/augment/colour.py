"""Edits of values that leave every pixel where it is, grain of `corrupt` included; blur and noise are in `degrade`."""

from __future__ import annotations

import functools
import math
import os
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

from isckit.augment.draws import Range


def random_colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """Return a colour drawn uniformly over RGB."""
    red, green, blue = rng.integers(256, size=3).tolist()
    return red, green, blue


def colour_jitter(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
    hue: float = 0.1,
) -> np.ndarray:
    """Change brightness, contrast, saturation (factors 1 +- value) and hue (turns, +- value), in random order.

    The functions are albumentations' twins of torchvision's, called without a transform object around them.
    """
    edits = _albumentations()
    steps = [
        (edits.adjust_brightness_torchvision, rng.uniform(max(0.0, 1 - brightness), 1 + brightness)),
        (edits.adjust_contrast_torchvision, rng.uniform(max(0.0, 1 - contrast), 1 + contrast)),
        (edits.adjust_saturation_torchvision, rng.uniform(max(0.0, 1 - saturation), 1 + saturation)),
    ]
    if hue > 0:  # the dearest of the four
        steps.append((edits.adjust_hue_torchvision, rng.uniform(-hue, hue)))
    for k in rng.permutation(len(steps)):
        adjust, amount = steps[k]
        image = adjust(image, amount)
    return np.ascontiguousarray(image)


def enhance(
    image: np.ndarray, rng: np.random.Generator, *, factor: Range = (0.25, 1.75), intensity: float = 1.0
) -> np.ndarray:
    """Change brightness, contrast, saturation, in this order, as the Descriptor track's second prize drew them.

    With I = `intensity`: brightness and contrast 1 - I + I * U(factor); saturation 1 - I + I * (0.2 + exp(5 u) / 6),
    u of U(0, 1), which is up to 25 at I = 1.
    """
    edits = _albumentations()
    by_brightness, by_contrast = rng.uniform(*factor, 2).tolist()
    by_saturation = 0.2 + math.exp(5 * rng.random()) / 6
    for adjust, amount in (
        (edits.adjust_brightness_torchvision, by_brightness),
        (edits.adjust_contrast_torchvision, by_contrast),
        (edits.adjust_saturation_torchvision, by_saturation),
    ):
        image = adjust(image, 1 - intensity + intensity * amount)
    return np.ascontiguousarray(image)


def brightness(image: np.ndarray, rng: np.random.Generator, *, factor: Range = (0.05, 0.4)) -> np.ndarray:
    """Multiply by `factor`; the default darkens strongly."""
    table = np.clip(np.rint(np.arange(256) * rng.uniform(*factor)), 0, 255).astype(np.uint8)
    return cv2.LUT(image, table)


def grayscale(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put the luma in all three channels."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def fade(image: np.ndarray, rng: np.random.Generator, *, level: Range = (0.6, 1.0)) -> np.ndarray:
    """Mix with white; `level` is the picture's own share."""
    share = rng.uniform(*level)
    return cv2.LUT(image, np.rint(255 - share * (255 - np.arange(256))).astype(np.uint8))


def invert(image: np.ndarray, rng: np.random.Generator, *, none: bool = False) -> np.ndarray:
    """Negate some of the channels: one of the seven choices that negate at least one; with `none`, each by a coin."""
    chosen = (int(rng.integers(0 if none else 1, 8)) >> np.arange(3)) & 1
    values = np.arange(256)[:, None]
    return cv2.LUT(image, np.where(chosen, 255 - values, values).astype(np.uint8)[None])


def shuffle_channels(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Permute the channels: one of the five orders that are not the present one."""
    orders = ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    return np.ascontiguousarray(image[..., orders[rng.integers(5)]])


def swap_channels(image: np.ndarray, rng: np.random.Generator, *, repeated: float = 0.25) -> np.ndarray:
    """Permute the channels, or with probability `repeated` draw each of the three from all three."""
    order = rng.integers(3, size=3) if rng.random() < repeated else rng.permutation(3)
    return np.ascontiguousarray(image[..., order])


def solarize(image: np.ndarray, rng: np.random.Generator, *, threshold: Range = (0.3, 0.8)) -> np.ndarray:
    """Negate the values above `threshold` (share of full scale)."""
    values = np.arange(256)
    return cv2.LUT(image, np.where(values >= rng.uniform(*threshold) * 255, 255 - values, values).astype(np.uint8))


def equalize(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Spread the values of each channel evenly, as Pillow does."""
    return np.array(ImageOps.equalize(Image.fromarray(image)))


def auto_augment(image: np.ndarray, rng: np.random.Generator, *, policy: str = "imagenet") -> np.ndarray:
    """Edit by one of the 25 pairs of operations of a policy (Cubuk et al. 2019), "imagenet" or "cifar10".

    torchvision's, whose numbers come from a seed of `rng`.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(1 << 62)))
        return np.array(_auto_augment(policy)(Image.fromarray(image)))


@functools.cache
def _auto_augment(policy: str) -> Any:
    from torchvision.transforms import AutoAugment, AutoAugmentPolicy

    return AutoAugment(AutoAugmentPolicy(policy))


def posterize(image: np.ndarray, rng: np.random.Generator, *, bits: tuple[int, int] = (2, 4)) -> np.ndarray:
    """Keep the upper `bits` of each value."""
    return image & np.uint8(256 - 2 ** (8 - rng.integers(*bits, endpoint=True)))


@functools.cache
def _albumentations() -> ModuleType:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for its newest version at import
    from albumentations.augmentations.pixel import functional

    return functional


PIXEL_EDITS = (
    "Blur", "CLAHE", "ChannelDropout", "ChannelShuffle", "ColorJitter", "Downscale", "Emboss", "Equalize", "FancyPCA",
    "GaussNoise", "GlassBlur", "HueSaturationValue", "ISONoise", "ImageCompression", "InvertImg", "MedianBlur",
    "MotionBlur", "MultiplicativeNoise", "Posterize", "RGBShift", "RandomBrightnessContrast", "RandomFog",
    "RandomGamma", "RandomRain", "RandomSnow", "RandomToneCurve", "Sharpen", "Solarize", "ToSepia",
)  # fmt: skip
_GREY_LEVELS = 0.2 * 255
_MEAN_COUNT = 40.0


def pixel_edit(image: np.ndarray, rng: np.random.Generator, *, names: tuple[str, ...] = PIXEL_EDITS) -> np.ndarray:
    """Apply one of albumentations' edits of these names, with even chances and its default ranges."""
    edit = _edit(names[rng.integers(len(names))])
    edit.set_random_seed(int(rng.integers(2**31)))
    return np.ascontiguousarray(edit(image=np.ascontiguousarray(image))["image"])


def corrupt(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Apply one of nine: a tenth of the pixels black, white or either; Gauss, Laplace or Poisson noise, grey or not."""
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
