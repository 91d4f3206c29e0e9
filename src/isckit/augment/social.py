"""Edits that users of social networks make: emoji, text, meme captions, screenshots, stripes. Drawn by AugLy.

Emoji are AugLy's pictures pasted by us: the same pixels up to the resize filter, in less than half the time.
"""

from __future__ import annotations

import bisect
import math
import string

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from isckit.augment import augly
from isckit.augment.colour import random_colour
from isckit.augment.compose import mix, paste
from isckit.augment.draws import Amount, Range, draw
from isckit.augment.geometry import resize

_LETTERS = string.ascii_letters + string.digits + " "
_LONGEST = 40
_SMALLEST = 64
"""Width in px on which a caption, and sides on which a screenshot, can be drawn."""


def emoji(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    share: Range = (0.1, 0.3),
    opacity: Range = (1.0, 1.0),
    corner: Range = (0.0, 1.0),
    category: str = "",
) -> np.ndarray:
    """Paste a random emoji of `share` of the height; its corner lies at `corner` of each side, so it may hang over.

    `category` is one of AugLy's, "smileys" for one; "" for all.
    """
    numbers = augly.emoji_numbers(category)
    picture = augly.emoji(numbers[rng.integers(len(numbers))])
    height, width = image.shape[:2]
    side = max(1, round(rng.uniform(*share) * height))
    alpha = resize(np.repeat(picture[..., 3:], 3, axis=2), side, side)[..., :1] / np.float32(255)
    patch = resize(picture[..., :3], side, side)
    low, high = (np.multiply(end, (height, width)) for end in corner)
    top, left = rng.integers(low.astype(int), np.maximum(low + 1, high).astype(int)).tolist()
    return paste(image, patch, top=top, left=left, alpha=alpha * np.float32(rng.uniform(*opacity)))


def text(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    share: Amount = (0.1, 0.3),
    opacity: Range = (1.0, 1.0),
    letters: tuple[int, int] = (5, 9),
    lines: tuple[int, int] = (1, 2),
) -> np.ndarray:
    """Write random lines in a random font and colour; `share` is the font's size over the short side."""
    height, width = image.shape[:2]
    short = min(height, width)
    pixels = max(1, round(draw(rng, share) * short))
    wanted = [_line(rng, *letters) for _ in range(rng.integers(*lines, endpoint=True))]
    if not any(wanted):
        return image.copy()
    written = augly.call(
        "overlay_text",
        image,
        rng,
        text=[augly.glyphs(line) for line in wanted],
        font_file=augly.font(augly.FONTS[rng.integers(len(augly.FONTS))]),
        font_size=min(1.0, (pixels + 0.5) / short),  # AugLy multiplies by the short side and cuts
        color=random_colour(rng),
        x_pos=rng.uniform(0, 0.5),
        y_pos=rng.uniform(0, 0.5),
    )
    # AugLy's own opacity writes into an alpha channel that is dropped afterwards.
    return mix(written, image, rng.uniform(*opacity))


def text_inside(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    share: Range = (0.1, 0.3),
    opacity: Range = (0.1, 1.0),
) -> np.ndarray:
    """Write one line of a random length that fits, wholly inside; `share` is the font's size over the short side."""
    height, width = image.shape[:2]
    pixels = max(1, round(rng.uniform(*share) * min(height, width)))
    font = ImageFont.truetype(augly.font(augly.FONTS[rng.integers(len(augly.FONTS))]), pixels)
    line = _line(rng, _LONGEST, _LONGEST)
    fits = bisect.bisect(range(1, _LONGEST + 1), width, key=lambda letters: _reach(font, line[:letters])[0])
    line = line[: rng.integers(1, max(1, fits), endpoint=True)]
    right, bottom = _reach(font, line)
    if right > width or bottom > height or not line.strip():
        return image.copy()
    mask = Image.new("L", (right, bottom))
    ImageDraw.Draw(mask).text((0, 0), line, fill=255, font=font)
    alpha = np.asarray(mask)[..., None] * np.float32(rng.uniform(*opacity) / 255)
    patch = np.full((bottom, right, 3), random_colour(rng), np.uint8)
    top, left = rng.integers((height - bottom, width - right), endpoint=True).tolist()
    return paste(image, patch, top=top, left=left, alpha=alpha)


def _reach(font: ImageFont.FreeTypeFont, line: str) -> tuple[int, int]:
    """Return width and height in px of a line drawn at the origin."""
    _, _, right, bottom = font.getbbox(line)
    return math.ceil(right), math.ceil(bottom)


def meme(image: np.ndarray, rng: np.random.Generator, *, share: Range = (0.1, 0.35)) -> np.ndarray:
    """Put a caption on a bar above the image; the bar grows it by about `share` of its height."""
    width = max(image.shape[1], _SMALLEST)
    # AugLy tries sizes from 10 below the bar's height down by 5 until the text fits, and fails below 1: the last try
    # is 5 px, at which no letter of the caption font is wider than 6.
    bar = 10 + 5 * int(np.clip(round((rng.uniform(*share) * image.shape[0] - 10) / 5), 2, 40))
    captioned = augly.call(
        "meme_format",
        np.zeros((1, width, 3), np.uint8),
        rng,
        text=_line(rng, 2, min(20, (width - 10) // 6)),
        font_file=augly.font("Raleway-ExtraBold"),
        caption_height=bar,
        text_color=random_colour(rng),
        meme_bg_color=random_colour(rng),
    )
    return np.vstack([resize(captioned[:bar], max(1, bar * image.shape[1] // width), image.shape[1]), image])


def screenshot(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put the image into a page of a social network (AugLy's two templates), cropped or padded to fit."""
    pages = augly.assets() / "screenshot_templates"
    room = resize(image, max(image.shape[0], _SMALLEST), max(image.shape[1], _SMALLEST))
    return augly.call(
        "overlay_onto_screenshot",
        room,
        rng,
        template_filepath=str(pages / ("mobile.png", "web.png")[rng.integers(2)]),
        template_bboxes_filepath=str(pages / "bboxes.json"),
        crop_src_to_fit=bool(rng.integers(2)),
        resize_src_to_match_template=False,
    )


def stripes(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    width: Range = (0.05, 0.25),
    density: Range = (0.0, 0.8),
    opacity: Range = (0.3, 1.0),
) -> np.ndarray:
    """Cover with parallel lines of a random colour, direction and kind (solid, dotted, dashed)."""
    return augly.call(
        "overlay_stripes",
        image,
        rng,
        line_width=rng.uniform(*width),
        line_color=random_colour(rng),
        line_angle=rng.uniform(0, 180),
        line_density=rng.uniform(*density),
        line_type=("solid", "dotted", "dashed")[rng.integers(3)],
        line_opacity=rng.uniform(*opacity),
    )


def _line(rng: np.random.Generator, fewest: int, most: int) -> str:
    chosen = rng.integers(len(_LETTERS), size=rng.integers(fewest, most, endpoint=True))
    return "".join(_LETTERS[k] for k in chosen)
