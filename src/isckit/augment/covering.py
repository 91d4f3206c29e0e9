"""Pictures, emoji and text in random rectangles: heavy occlusion, and separate's pastes (SeungKee Jeon 2021)."""

from __future__ import annotations

import math

import cv2
import numpy as np

from isckit.augment import augly, social
from isckit.augment.colour import random_colour
from isckit.augment.compose import mix, paste
from isckit.augment.draws import Range
from isckit.augment.geometry import resize

_CORNERS = 64
"""Places tried for each patch of `occlude`."""


def occlude(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    other: np.ndarray,
    count: tuple[int, int] = (3, 8),
    area: Range = (0.45, 0.8),
) -> np.ndarray:
    """Cover about a share `area` of the picture, and never more than its end, by `count` opaque patches.

    A patch is a rectangle of aspect 1/2 to 2 that shows a part of `other`, an emoji or text on a colour. Each is as
    large as the share still missing asks for, and lies where, of _CORNERS places drawn evenly, it hides the most.
    """
    out, covered = image, np.zeros(image.shape[:2], bool)
    wanted, patches = rng.uniform(*area), int(rng.integers(*count, endpoint=True))
    for left in range(patches, 0, -1):
        missing = wanted * covered.size - np.count_nonzero(covered)
        height, width = _sides(missing / left, image.shape[:2], rng)
        if not height * width:
            continue
        row, column = _freest_corner(covered, height, width, rng)
        covered[row : row + height, column : column + width] = True
        out = paste(out, _patch(other, height, width, rng), top=row, left=column)
    return out.copy() if out is image else out


def _sides(pixels: float, shape: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Return height and width of a rectangle of at most so many pixels that fits into the picture."""
    aspect = math.exp(rng.uniform(-math.log(2), math.log(2)))
    height = min(shape[0], math.floor(math.sqrt(max(0.0, pixels) / aspect)))
    return height, min(shape[1], math.floor(pixels / height)) if height else 0


def _freest_corner(covered: np.ndarray, height: int, width: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return row and column of the corner, of _CORNERS drawn, where the rectangle hides the most that was free."""
    corners = rng.integers((covered.shape[0] - height, covered.shape[1] - width), size=(_CORNERS, 2), endpoint=True)
    table = cv2.integral(covered.astype(np.uint8))
    top, left = corners.T
    bottom, right = top + height, left + width
    hidden = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    row, column = corners[int(np.argmin(hidden))].tolist()
    return row, column


def _patch(other: np.ndarray, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Return (height, width, 3): a part of `other`, an emoji or text on a random colour."""
    kind = int(rng.integers(3))
    if kind == 0:
        rows, columns = (max(1, side // 2) for side in other.shape[:2])
        top, left = rng.integers((other.shape[0] - rows, other.shape[1] - columns), endpoint=True).tolist()
        return resize(np.ascontiguousarray(other[top : top + rows, left : left + columns]), height, width)
    ground = np.full((height, width, 3), random_colour(rng), np.uint8)
    if kind == 1:
        return social.text(ground, rng, share=(0.3, 0.8))
    picture = _resized_emoji(augly.emoji(int(rng.integers(len(augly.emoji_files())))), height, width)
    return paste(ground, picture[..., :3], top=0, left=0, alpha=picture[..., 3:] / np.float32(255))


def _resized_emoji(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (h, w, 4) uint8 to (height, width, 4), colours and opacity apart."""
    alpha = resize(np.repeat(picture[..., 3:], 3, axis=2), height, width)[..., :1]
    return np.concatenate([resize(np.ascontiguousarray(picture[..., :3]), height, width), alpha], axis=2)


def onto_black(
    image: np.ndarray, rng: np.random.Generator, *, area: Range = (0.05, 1.0), opacity: Range = (0.5, 1.0)
) -> np.ndarray:
    """Paste the image on black of its shape; `area` is the rectangle's share of it, its aspect 1/2 to 2."""
    return _in_rectangle(np.zeros_like(image), image, rng, area, opacity)


def onto(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    other: np.ndarray,
    area: Range = (0.05, 1.0),
    opacity: Range = (0.5, 1.0),
    emoji: float = 0.0,
    text: float = 0.0,
) -> np.ndarray:
    """Paste as `onto_black` on `other`, stretched to the image's shape, with emoji or text on it by these chances."""
    ground = resize(other, *image.shape[:2])
    for chance, edit in ((emoji, sticker), (text, social.text)):
        if rng.random() < chance:
            ground = edit(ground, rng)
    return _in_rectangle(ground, image, rng, area, opacity)


def cover(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    other: np.ndarray,
    area: Range = (0.08, 0.5),
    opacity: Range = (0.4, 1.0),
) -> np.ndarray:
    """Paste `other` in a rectangle on the image."""
    return _in_rectangle(image, other, rng, area, opacity)


def sticker(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    area: Range = (0.05, 0.5),
    opacity: Range = (0.2, 1.0),
    kept: Range = (0.08, 0.5),
    filled: float = 1.0,
) -> np.ndarray:
    """Paste a part of an emoji in a rectangle on the image; `kept` is its share of the emoji.

    With the chance `filled` what is transparent gets a random colour.
    """
    files = augly.emoji_files()
    picture = _part(augly.emoji(int(rng.integers(len(files)))), rng, kept)
    colours, alpha = picture[..., :3], picture[..., 3:] / np.float32(255)
    fill = np.array(random_colour(rng), np.float32)
    if rng.random() < filled:
        colours, alpha = np.rint(fill + (colours - fill) * alpha).astype(np.uint8), np.ones_like(alpha)
    return _in_rectangle(image, np.ascontiguousarray(colours), rng, area, opacity, alpha=alpha)


def _part(picture: np.ndarray, rng: np.random.Generator, share: Range) -> np.ndarray:
    """Return a window of that share of the area, of the picture's aspect."""
    factor = math.sqrt(rng.uniform(*share))
    height, width = (max(1, round(factor * side)) for side in picture.shape[:2])
    top, left = rng.integers((picture.shape[0] - height, picture.shape[1] - width), endpoint=True).tolist()
    return picture[top : top + height, left : left + width]


def _in_rectangle(
    ground: np.ndarray,
    patch: np.ndarray,
    rng: np.random.Generator,
    area: Range,
    opacity: Range,
    *,
    alpha: np.ndarray | None = None,
) -> np.ndarray:
    """Return the ground with the patch wholly inside, at a place drawn evenly."""
    share, aspect, strength = (
        rng.uniform(*area),
        math.exp(rng.uniform(-math.log(2), math.log(2))),
        rng.uniform(*opacity),
    )
    rows, columns = ground.shape[:2]
    height = min(rows, max(1, round(rows * math.sqrt(share / aspect))))
    width = min(columns, max(1, round(columns * math.sqrt(share * aspect))))
    top, left = rng.integers((rows - height, columns - width), endpoint=True).tolist()
    small = resize(patch, height, width)
    weight: float | np.ndarray = strength
    if alpha is not None:
        weight = cv2.resize(alpha[..., 0], (width, height), interpolation=cv2.INTER_AREA)[..., None] * strength
    if (height, width) == (rows, columns) and alpha is None:
        return mix(small, ground, strength)
    return paste(ground, small, top=top, left=left, alpha=weight)
