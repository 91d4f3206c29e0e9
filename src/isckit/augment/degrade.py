"""Edits that lose detail or add grain: blur, sharpen, noise, pixelation, pixel shuffling, JPEG.

Lengths are shares of the short side, so that one set of ranges serves every training resolution.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from isckit.augment.draws import Amount, Choice, Range, draw, draw_whole


def blur(image: np.ndarray, rng: np.random.Generator, *, sigma: Amount = (0.005, 0.04)) -> np.ndarray:
    """Blur by a Gaussian; `sigma` as a share of the short side (0.04 is 10 px at 256)."""
    return gaussian(image, draw(rng, sigma) * min(image.shape[:2]))


def gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur by a Gaussian of `sigma` px; above 2 px by three box filters, whose cost does not grow with sigma."""
    if sigma <= 0.1:
        return image.copy()
    if sigma < 2:
        return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    # Boxes of widths w and w + 2, as many of each as bring the sum of their variances (w^2 - 1) / 12 nearest sigma^2.
    width = int(math.sqrt(4 * sigma**2 + 1))
    width -= 1 - width % 2
    narrow = round((3 * width**2 + 12 * width + 9 - 12 * sigma**2) / (4 * width + 4))
    for k in range(3):
        side = width if k < narrow else width + 2
        image = cv2.blur(image, (side, side), borderType=cv2.BORDER_REPLICATE)
    return image


def motion_blur(image: np.ndarray, rng: np.random.Generator, *, length: Range = (0.02, 0.1)) -> np.ndarray:
    """Average along a line of random direction; `length` as a share of the short side, at least 3 px."""
    reach = max(1.0, rng.uniform(*length) * min(image.shape[:2]) / 2)
    angle = rng.uniform(0, math.pi)
    centre = math.ceil(reach)
    kernel = np.zeros((2 * centre + 1, 2 * centre + 1), np.float32)
    across, down = round(reach * math.cos(angle)), round(reach * math.sin(angle))
    cv2.line(kernel, (centre - across, centre - down), (centre + across, centre + down), color=1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def sharpen(image: np.ndarray, rng: np.random.Generator, *, factor: Range = (2.0, 20.0)) -> np.ndarray:
    """Move away from the smoothed image by `factor` (1 changes nothing), as Pillow's Sharpness does."""
    smooth = np.ones((3, 3), np.float32) / 13
    smooth[1, 1] = 5 / 13
    strength = rng.uniform(*factor)
    kernel = (1 - strength) * smooth
    kernel[1, 1] += strength
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def edge_enhance(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Apply Pillow's EDGE_ENHANCE or EDGE_ENHANCE_MORE, with even chances."""
    centre = (10, 9)[rng.integers(2)]
    kernel = np.full((3, 3), -1, np.float32)
    kernel[1, 1] = centre
    return cv2.filter2D(image, -1, kernel / (centre - 8), borderType=cv2.BORDER_REPLICATE)


def noise(image: np.ndarray, rng: np.random.Generator, *, deviation: Range = (5.0, 40.0)) -> np.ndarray:
    """Add Gaussian noise of `deviation` grey levels, independent for each value."""
    grain = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(*deviation))
    return np.clip(np.rint(image + grain), 0, 255).astype(np.uint8)


def pixelate(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    ratio: Amount = (0.1, 1.0),
    look: tuple[str, ...] = ("blocky", "soft"),
) -> np.ndarray:
    """Shrink to `ratio` of each side and back; "blocky" (nearest) or "soft" (bicubic, as AugLy), with even chances."""
    height, width = image.shape[:2]
    share = draw(rng, ratio)
    size = max(1, round(width * share)), max(1, round(height * share))
    back = cv2.INTER_NEAREST if look[rng.integers(len(look))] == "blocky" else cv2.INTER_CUBIC
    return cv2.resize(cv2.resize(image, size, interpolation=cv2.INTER_AREA), (width, height), interpolation=back)


def pixel_shuffle(image: np.ndarray, rng: np.random.Generator, *, share: Range = (0.05, 0.2)) -> np.ndarray:
    """Permute a random `share` of the pixels among themselves."""
    pixels = image.reshape(-1, 3).copy()
    chosen = rng.choice(len(pixels), math.ceil(rng.uniform(*share) * len(pixels)), replace=False)
    pixels[chosen] = pixels[rng.permutation(chosen)]
    return pixels.reshape(image.shape)


def jpeg(image: np.ndarray, rng: np.random.Generator, *, quality: tuple[int, int] | Choice = (10, 50)) -> np.ndarray:
    """Encode as JPEG of that `quality` and decode."""
    level = draw_whole(rng, quality)
    # OpenCV takes the channels for BGR; without the swap red would be weighed as blue.
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, level])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    assert decoded is not None
    return decoded
