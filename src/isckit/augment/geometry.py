"""Edits that move pixels: resize, crop, flip, rotate, perspective, aspect, pad."""

from __future__ import annotations

import math

import cv2
import numpy as np

from isckit.augment.colour import random_colour
from isckit.augment.draws import Amount, Range, draw

_FILTERS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize to (height, width, 3) uint8: bicubic, antialiased, the one filter of training and inference."""
    if image.shape[:2] == (height, width):
        return image.copy()
    import torch
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import resize as antialiased

    planes = torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)  # torch warns of read-only
    small = antialiased(planes, [height, width], interpolation=InterpolationMode.BICUBIC, antialias=True)
    return small.permute(1, 2, 0).contiguous().numpy()


def square(image: np.ndarray, size: int) -> np.ndarray:
    """Resize to (size, size, 3), aspect ignored, as a network sees a whole image."""
    return resize(image, size, size)


def bounded(image: np.ndarray, pixels: float) -> np.ndarray:
    """Return the image itself, or shrunk to about that many pixels, aspect kept."""
    height, width = image.shape[:2]
    if height * width <= pixels:
        return image
    factor = math.sqrt(pixels / (height * width))
    return resize(image, max(1, int(height * factor)), max(1, int(width * factor)))


def crop(
    image: np.ndarray, rng: np.random.Generator, *, scale: Range = (0.5, 1.0), ratio: Range = (3 / 4, 4 / 3)
) -> np.ndarray:
    """Crop a random box of a `scale` share of the area; `ratio` is its aspect over the image's own (log-uniform)."""
    height, width = image.shape[:2]
    area = rng.uniform(*scale)
    # Only aspects with both sides inside: the drawn area is exact and nothing is rejected.
    low, high = (min(max(math.log(r), math.log(area)), -math.log(area)) for r in ratio)
    aspect = math.exp(low + (high - low) * rng.random())
    box_h = max(1, min(height, round(height * math.sqrt(area / aspect))))
    box_w = max(1, min(width, round(width * math.sqrt(area * aspect))))
    top, left = rng.integers(height - box_h, endpoint=True), rng.integers(width - box_w, endpoint=True)
    return image[top : top + box_h, left : left + box_w].copy()


def resized_crop(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    size: int,
    scale: Range = (0.5, 1.0),
    ratio: Range = (3 / 4, 4 / 3),
) -> np.ndarray:
    """Resize the box of `crop` to (size, size, 3)."""
    return square(crop(image, rng, scale=scale, ratio=ratio), size)


def random_resized_crop(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    size: int,
    scale: Range = (0.08, 1.0),
    ratio: Range = (3 / 4, 4 / 3),
) -> np.ndarray:
    """Crop as torchvision's RandomResizedCrop, `ratio` the box's own aspect; (size, size, 3) by the kit's filter."""
    top, left, box_h, box_w = _box(image.shape[0], image.shape[1], rng, scale, ratio)
    return square(image[top : top + box_h, left : left + box_w], size)


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


def other_format(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Crop a picture that lies so that it stands, and the other way round, with its sides' ratio turned over."""
    height, width = image.shape[:2]
    long, short = max(height, width), max(1, round(min(height, width) ** 2 / max(height, width)))
    start = int(rng.integers(long - short + 1))
    return (image[:, start : start + short] if width > height else image[start : start + short]).copy()


def padded_crop(image: np.ndarray, rng: np.random.Generator, *, size: int, share: float = 10 / 256) -> np.ndarray:
    """Resize to a square, add a black border of `share` of its side all round, crop the size at random."""
    border = round(share * size)
    framed = cv2.copyMakeBorder(
        square(image, size), border, border, border, border, cv2.BORDER_CONSTANT, value=(0, 0, 0)
    )
    top, left = rng.integers(2 * border, size=2, endpoint=True).tolist()
    return framed[top : top + size, left : left + size].copy()


def hflip(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirror left and right."""
    return cv2.flip(image, 1)


def vflip(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirror top and bottom."""
    return cv2.flip(image, 0)


def rotate90(image: np.ndarray, rng: np.random.Generator, *, turns: tuple[int, int] = (1, 3)) -> np.ndarray:
    """Turn by quarter turns, anticlockwise."""
    return np.rot90(image, int(rng.integers(*turns, endpoint=True))).copy()


def inscribed(width: int, height: int, angle: float) -> tuple[float, float]:
    """Return the sides (width, height) of the largest upright rectangle in one turned by `angle` degrees.

    Either all four of its corners touch (both constraints w|cos| + h|sin| <= width, w|sin| + h|cos| <= height bind),
    or the turned rectangle is so slim that only its short side binds.
    """
    sin, cos = abs(math.sin(math.radians(angle))), abs(math.cos(math.radians(angle)))
    short, long = sorted((width, height))
    if short <= 2 * sin * cos * long or math.isclose(sin, cos):
        half = short / 2
        return (half / sin, half / cos) if width >= height else (half / cos, half / sin)
    return (width * cos - height * sin) / (cos**2 - sin**2), (height * cos - width * sin) / (cos**2 - sin**2)


def rotate(image: np.ndarray, rng: np.random.Generator, *, angle: Amount = (-180.0, 180.0)) -> np.ndarray:
    """Turn by `angle` degrees and keep the largest rectangle that shows no border."""
    degrees = draw(rng, angle)
    width, height = inscribed(image.shape[1], image.shape[0], degrees)
    return _turn(image, degrees, max(1, math.floor(width + 1e-6)), max(1, math.floor(height + 1e-6)), None)


def rotate_pad(image: np.ndarray, rng: np.random.Generator, *, angle: Range = (-180.0, 180.0)) -> np.ndarray:
    """Turn by `angle` degrees on a canvas that holds the whole image; corners of a random colour."""
    degrees = rng.uniform(*angle)
    height, width = image.shape[:2]
    sin, cos = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
    wide, high = math.ceil(width * cos + height * sin - 1e-6), math.ceil(width * sin + height * cos - 1e-6)
    return _turn(image, degrees, wide, high, random_colour(rng))


def _turn(image: np.ndarray, degrees: float, width: int, height: int, fill: tuple[int, int, int] | None) -> np.ndarray:
    centre = (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2
    matrix = cv2.getRotationMatrix2D(centre, degrees, 1.0)
    matrix[:, 2] += (width - 1) / 2 - centre[0], (height - 1) / 2 - centre[1]
    border = cv2.BORDER_REPLICATE if fill is None else cv2.BORDER_CONSTANT
    return cv2.warpAffine(image, matrix, (width, height), borderMode=border, borderValue=fill or (0, 0, 0))


def rotate_in_place(image: np.ndarray, rng: np.random.Generator, *, angle: Amount = (0.0, 360.0)) -> np.ndarray:
    """Turn by `angle` degrees on a canvas of the same shape, corners black."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), draw(rng, angle), 1.0)
    return cv2.warpAffine(image, matrix, (width, height))


def shear(image: np.ndarray, rng: np.random.Generator, *, most: float = 45.0) -> np.ndarray:
    """Slant rows by up to `most` degrees to either side, about the centre; corners black."""
    slope = math.tan(math.radians(rng.uniform(-most, most)))
    height, width = image.shape[:2]
    matrix = np.array([[1, slope, -slope * (height - 1) / 2], [0, 1, 0]], np.float32)
    return cv2.warpAffine(image, matrix, (width, height))


def perspective(image: np.ndarray, rng: np.random.Generator, *, distortion: Range = (0.1, 0.5)) -> np.ndarray:
    """Move each corner inwards by up to `distortion` of half a side, border black (torchvision's meaning)."""
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * (width / 2, height / 2)
    moved = corners + inwards * rng.uniform(0, rng.uniform(*distortion), (4, 2))
    matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    return cv2.warpPerspective(image, matrix, (width, height))


def corner_jitter(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    sigma: Range = (0.04, 0.2),
    border: tuple[str, ...] = ("black",),
) -> np.ndarray:
    """Move each corner by Gaussian noise, `sigma` as a share of the short side (AugLy's perspective transform).

    `border` holds what may be done with the border, with even chances: "black" leaves it, "cropped" cuts the picture
    to the upright rectangle between the inner corners, where there is one.
    """
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + rng.standard_normal((4, 2), np.float32) * np.float32(rng.uniform(*sigma) * min(height, width))
    out = cv2.warpPerspective(image, cv2.getPerspectiveTransform(corners, moved), (width, height))
    if border[rng.integers(len(border))] == "black":
        return out
    x, y = moved.T
    left, right = math.ceil(max(0, x[0], x[3])), int(min(width, x[1], x[2]))
    top, bottom = math.ceil(max(0, y[0], y[1])), int(min(height, y[2], y[3]))
    return out[top:bottom, left:right].copy() if left < right and top < bottom else out


def shift_channels(image: np.ndarray, rng: np.random.Generator, *, share: float = 0.05) -> np.ndarray:
    """Move red and blue in opposite directions by up to `share` of the short side; borders are cut off."""
    height, width = image.shape[:2]
    most = int(min(share * min(height, width), (min(height, width) - 1) / 2))
    down, right = rng.integers(-most, most, size=2, endpoint=True).tolist()
    rows, columns = abs(down), abs(right)
    inner = height - 2 * rows, width - 2 * columns
    starts = [(rows - k * down, columns - k * right) for k in (1, 0, -1)]
    return np.stack([image[y : y + inner[0], x : x + inner[1], c] for c, (y, x) in enumerate(starts)], axis=2)


def aspect(image: np.ndarray, rng: np.random.Generator, *, ratio: Range = (0.5, 2.0)) -> np.ndarray:
    """Change width / height by a factor `ratio` (log-uniform), area kept."""
    root = math.exp(rng.uniform(*np.log(ratio)) / 2)
    height, width = image.shape[:2]
    return resize(image, max(1, round(height / root)), max(1, round(width * root)))


def downscale(image: np.ndarray, rng: np.random.Generator, *, factor: Range = (0.5, 0.9)) -> np.ndarray:
    """Shrink both sides by `factor`."""
    ratio = rng.uniform(*factor)
    return resize(image, max(1, round(image.shape[0] * ratio)), max(1, round(image.shape[1] * ratio)))


def stretch(image: np.ndarray, rng: np.random.Generator, *, size: int, scale: float = 1.0) -> np.ndarray:
    """Resize to a square of `scale` times the network's side, aspect ignored."""
    return square(image, round(scale * size))


def enlarge(image: np.ndarray, rng: np.random.Generator, *, size: int) -> np.ndarray:
    """Enlarge sides shorter than half the network's side up to that, by a random filter; most stay as they are."""
    height, width = (max(side, math.ceil(size / 2)) for side in image.shape[:2])
    if (height, width) == image.shape[:2]:
        return image.copy()
    return cv2.resize(image, (width, height), interpolation=_FILTERS[rng.integers(len(_FILTERS))])


def pad(image: np.ndarray, rng: np.random.Generator, *, share: Range = (0.05, 0.25), even: bool = False) -> np.ndarray:
    """Add a border of one random colour; each of the four sides grows by its own `share` of that dimension.

    `even`: opposite sides grow alike.
    """
    height, width = image.shape[:2]
    shares = rng.uniform(*share, 2).repeat(2) if even else rng.uniform(*share, 4)
    top, bottom, left, right = np.ceil(shares * (height, height, width, width)).astype(int).tolist()
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=random_colour(rng))


def pad_square(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add a border of a random colour that makes the image square, centred."""
    height, width = image.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return cv2.copyMakeBorder(
        image, top, side - height - top, left, side - width - left, cv2.BORDER_CONSTANT, value=random_colour(rng)
    )


def _box(height: int, width: int, rng: np.random.Generator, scale: Range, ratio: Range) -> tuple[int, int, int, int]:
    """Return top, left, height, width; after ten that do not fit, a central box of the nearest allowed aspect."""
    for _ in range(10):
        area, aspect = rng.uniform(*scale) * height * width, math.exp(rng.uniform(*np.log(ratio)))
        box_h, box_w = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < box_h <= height and 0 < box_w <= width:
            top, left = rng.integers((height - box_h, width - box_w), endpoint=True).tolist()
            return top, left, box_h, box_w
    box_h, box_w = min(height, round(width / ratio[0])), min(width, round(height * ratio[1]))
    return (height - box_h) // 2, (width - box_w) // 2, box_h, box_w
