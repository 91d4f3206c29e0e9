"""Pages of made-up social networks around a photo, drawn by the kit: no real page is needed.

The second prize of the Descriptor track pasted photos into pages cut from query images; these stand in for them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from isckit.augment.colour import random_colour
from isckit.augment.draws import Range
from isckit.augment.geometry import resize

_SMALLEST = 48
"""Least width and height in px of a photo's place."""
_THEMES = ((255, 246, 150), (240, 250, 90), (24, 36, 175))
"""Grey levels of page, of panels, and of writing: two light themes and a dark one."""


@dataclass(frozen=True)
class _Pen:
    """Draws on a page; `unit` px is the height of a line of writing."""

    page: np.ndarray
    unit: int
    rng: np.random.Generator
    accent: tuple[int, int, int]

    def box(self, top: float, left: float, height: float, width: float, colour: tuple[int, int, int] | int) -> None:
        """Draw a filled upright rectangle; what hangs over is cut off."""
        rows = slice(max(0, round(top)), max(0, round(top + height)))
        self.page[rows, max(0, round(left)) : max(0, round(left + width))] = colour

    def disc(self, row: float, column: float, radius: float, colour: tuple[int, int, int]) -> None:
        """Draw a filled circle."""
        cv2.circle(self.page, (round(column), round(row)), max(1, round(radius)), colour, cv2.FILLED, cv2.LINE_AA)

    def lines(self, top: float, left: float, bottom: float, right: float, ink: int) -> None:
        """Draw bars in place of writing, of random lengths, as many as there is room for."""
        step = 1.6 * self.unit
        for k in range(int((bottom - top) / step)):
            length = (right - left) * self.rng.uniform(0.3, 1.0)
            self.box(top + k * step + 0.3 * self.unit, left, 0.7 * self.unit, length, ink)


def page(
    image: np.ndarray,
    rng: np.random.Generator,
    *,
    across: Range = (0.45, 1.0),
    aspect: Range = (0.6, 1.7),
) -> np.ndarray:
    """Show the image as the photo of a post: header, avatar, lines of writing, buttons, all at random.

    Args:
        image: (h, w, 3) uint8.
        rng: decides all of the page.
        across: the photo's width over the page's.
        aspect: width over height of the photo's place (log-uniform); with even chances the image fills it and is cut
            off, or is shown whole between bars.
    """
    paper, panel, ink = _THEMES[rng.integers(len(_THEMES))]
    width = max(_SMALLEST, image.shape[1])
    height = max(_SMALLEST, round(width / math.exp(rng.uniform(*np.log(aspect)))))
    bars = None if rng.random() < 0.5 else ((0, 0, 0), (255, 255, 255), (panel, panel, panel))[rng.integers(3)]
    photo = _fitted(image, height, width, bars)
    whole = round(width / rng.uniform(*across))
    unit = max(2, whole // 40)
    header, post, foot = (np.round(rng.uniform((2, 3, 3), (4, 9, 12)) * unit).astype(int)).tolist()
    sheet = np.full((header + post + height + foot, whole, 3), paper, np.uint8)
    left = int(rng.uniform(0, 1) * (whole - width))
    pen = _Pen(sheet, unit, rng, random_colour(rng))
    _sides(pen, left=left, width=width, top=header, panel=panel, ink=ink)
    _header(pen, height=header)
    _post(pen, top=header, height=post, left=left, width=width, ink=ink)
    sheet[header + post : header + post + height, left : left + width] = photo
    _buttons(pen, top=header + post + height, height=foot, left=left, width=width, panel=panel, ink=ink)
    return sheet


def _fitted(image: np.ndarray, height: int, width: int, bars: tuple[int, int, int] | None) -> np.ndarray:
    """The image in a place of that shape, centred: it fills the place, or is shown whole between `bars`."""
    ratios = height / image.shape[0], width / image.shape[1]
    if bars is None:
        # Cut first: enlarging what is thrown away would cost most for the slimmest pictures.
        seen = [max(1, round(side * ratio / max(ratios))) for side, ratio in zip(image.shape, ratios, strict=False)]
        top, left = (image.shape[0] - seen[0]) // 2, (image.shape[1] - seen[1]) // 2
        return resize(image[top : top + seen[0], left : left + seen[1]], height, width)
    inner = [
        max(1, min(room, round(min(ratios) * side))) for side, room in zip(image.shape, (height, width), strict=False)
    ]
    out = np.full((height, width, 3), bars, np.uint8)
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    out[top : top + inner[0], left : left + inner[1]] = resize(image, *inner)
    return out


def _header(pen: _Pen, *, height: int) -> None:
    """The network's own bar: logo, search field, some icons."""
    whole, white = pen.page.shape[1], (255, 255, 255)
    pen.box(0, 0, height, whole, pen.accent)
    pen.disc(height / 2, 1.2 * pen.unit, 0.8 * pen.unit, white)
    pen.box(0.3 * height, 3 * pen.unit, 0.4 * height, pen.rng.uniform(0.2, 0.5) * whole, white)
    for k in range(pen.rng.integers(1, 5)):
        pen.disc(height / 2, whole - (1.5 + 2.2 * k) * pen.unit, 0.5 * pen.unit, white)


def _post(pen: _Pen, *, top: int, height: int, left: int, width: int, ink: int) -> None:
    """Avatar and name of who wrote, and what."""
    radius = 1.1 * pen.unit
    pen.disc(top + 1.5 * pen.unit, left + 1.5 * pen.unit, radius, random_colour(pen.rng))
    start = left + 3.2 * pen.unit
    pen.box(top + 0.6 * pen.unit, start, 0.8 * pen.unit, pen.rng.uniform(0.15, 0.4) * width, ink)
    pen.box(top + 1.8 * pen.unit, start, 0.5 * pen.unit, pen.rng.uniform(0.1, 0.25) * width, ink)
    pen.lines(top + 3 * pen.unit, left + pen.unit, top + height, left + width - pen.unit, ink)


def _buttons(pen: _Pen, *, top: int, height: int, left: int, width: int, panel: int, ink: int) -> None:
    """Two to four buttons under the photo, the first in the network's colour, and comments below."""
    count = int(pen.rng.integers(2, 5))
    for k in range(count):
        start = left + (k + 0.1) * width / count
        pen.box(top + 0.5 * pen.unit, start, 1.6 * pen.unit, 0.8 * width / count, pen.accent if k == 0 else panel)
        pen.box(top + pen.unit, start + 0.2 * width / count, 0.6 * pen.unit, 0.4 * width / count, ink)
    pen.lines(top + 3 * pen.unit, left + pen.unit, top + height, left + width - pen.unit, ink)


def _sides(pen: _Pen, *, left: int, width: int, top: int, panel: int, ink: int) -> None:
    """Panels with writing beside the post, where there is room."""
    high, whole = pen.page.shape[:2]
    for start, end in ((0, left), (left + width, whole)):
        if end - start >= 4 * pen.unit:
            pen.box(top + pen.unit, start + 0.5 * pen.unit, high, end - start - pen.unit, panel)
            room = pen.rng.uniform(0.3, 1.0) * (high - top)
            pen.lines(top + 2 * pen.unit, start + pen.unit, top + room, end - 1.5 * pen.unit, ink)
