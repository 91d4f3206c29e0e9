"""Edits that lose detail or add grain: blur, sharpen, noise, pixelation, pixel shuffling, JPEG.

Lengths are shares of the short side, so that one set of ranges serves every training resolution.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from isckit.augment.draws import Amount, Choice, Range, draw, draw_whole
from isckit.augment.geometry import square


def blur(image: np.ndarray, rng: np.random.Generator, *, sigma: Amount = (0.005, 0.04)) -> np.ndarray:
    """Gaussian blur; `sigma` as a share of the short side (0.04 is 10 px at 256)."""
    return gaussian(image, draw(rng, sigma) * min(image.shape[:2]))


def gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of `sigma` px; above 2 px by three box filters, whose cost does not grow with sigma."""
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
    """Pillow's EDGE_ENHANCE or EDGE_ENHANCE_MORE, with even chances."""
    centre = (10, 9)[rng.integers(2)]
    kernel = np.full((3, 3), -1, np.float32)
    kernel[1, 1] = centre
    return cv2.filter2D(image, -1, kernel / (centre - 8), borderType=cv2.BORDER_REPLICATE)


def noise(image: np.ndarray, rng: np.random.Generator, *, deviation: Range = (5.0, 40.0)) -> np.ndarray:
    """Gaussian noise of `deviation` grey levels, independent for each value."""
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


_FILTERS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


def random_resized_crop(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    size: int,
    scale: Range = (0.08, 1.0),
    ratio: Range = (3 / 4, 4 / 3),
) -> np.ndarray:
    """torchvision's RandomResizedCrop: `ratio` is the box's own aspect; to (size, size, 3) by the kit's one filter."""
    top, left, box_h, box_w = _box(image.shape[0], image.shape[1], rng, scale, ratio)
    return square(image[top : top + box_h, left : left + box_w], size)


def _box(height: int, width: int, rng: np.random.Generator, scale: Range, ratio: Range) -> tuple[int, int, int, int]:
    """Top, left, height, width; after ten boxes that do not fit, the central one of the nearest aspect allowed."""
    for _ in range(10):
        area, aspect = rng.uniform(*scale) * height * width, math.exp(rng.uniform(*np.log(ratio)))
        box_h, box_w = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < box_h <= height and 0 < box_w <= width:
            top, left = rng.integers((height - box_h, width - box_w), endpoint=True).tolist()
            return top, left, box_h, box_w
    box_h, box_w = min(height, round(width / ratio[0])), min(width, round(height * ratio[1]))
    return (height - box_h) // 2, (width - box_w) // 2, box_h, box_w


def corner_crop(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    low: Amount = (0.0, 0.25),
    high: Amount = (0.75, 1.0),
) -> np.ndarray:
    """Crop between two corners; each coordinate is drawn by itself, `low` and `high` as shares of the sides."""
    (top, bottom), (left, right) = (
        (int(draw(rng, low) * side), math.ceil(draw(rng, high) * side)) for side in image.shape[:2]
    )
    return image[top:bottom, left:right].copy()


def padded_crop(image: np.ndarray, rng: np.random.Generator, *, size: int, share: float = 10 / 256) -> np.ndarray:
    """Square of the size, black border of `share` of the side on all sides, and a random crop of the size."""
    border = round(share * size)
    framed = cv2.copyMakeBorder(
        square(image, size), border, border, border, border, cv2.BORDER_CONSTANT, value=(0, 0, 0)
    )
    top, left = rng.integers(2 * border, size=2, endpoint=True).tolist()
    return framed[top : top + size, left : left + size].copy()


def stretch(image: np.ndarray, rng: np.random.Generator, *, size: int, scale: float = 1.0) -> np.ndarray:
    """Resize to a square of `scale` times the network's side, aspect ignored."""
    return square(image, round(scale * size))


def enlarge(image: np.ndarray, rng: np.random.Generator, *, size: int) -> np.ndarray:
    """Bring sides shorter than half the network's side up to that, by a random filter; mostly nothing is done."""
    height, width = (max(side, math.ceil(size / 2)) for side in image.shape[:2])
    if (height, width) == image.shape[:2]:
        return image.copy()
    return cv2.resize(image, (width, height), interpolation=_FILTERS[rng.integers(len(_FILTERS))])


def rotate_in_place(image: np.ndarray, rng: np.random.Generator, *, angle: Amount = (0.0, 360.0)) -> np.ndarray:
    """Turn by `angle` degrees on a canvas of the same shape, corners black."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), draw(rng, angle), 1.0)
    return cv2.warpAffine(image, matrix, (width, height))
