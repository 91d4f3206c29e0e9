"""Drawings of printed pages: headline, columns of type, charts, plates."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from isckit.data.drawings.balls import spheres
from isckit.data.drawings.outdoors import garden, landscape, town
from isckit.data.drawings.paint import Rng, line, palette
from isckit.data.drawings.portraits import portrait

Box = tuple[int, int, int, int]
_LETTERS = list("abcdeghiklmnoprstuvwy  ABDEGMNRST")


def page(rng: Rng, h: int, w: int) -> np.ndarray:
    """A printed page: headline, columns of type, charts and a picture."""
    paper, ink = 1 - 0.15 * rng.random(3), palette(rng, 3)[0] * 0.6
    picture = np.full((h, w, 3), paper, np.float32)
    band = int(h * rng.uniform(0.08, 0.2))
    cv2.rectangle(picture, (0, 0), (w, band), palette(rng, 3)[rng.integers(3)].tolist(), -1)
    _type(rng, picture, (6, 0, w - 6, band), (1 - ink).tolist(), scale=band / 40)
    columns, top = int(rng.choice([1, 2, 2, 3, 3])), band + 5
    for c in range(columns):
        x0, x1, y = int(c * w / columns) + 5, int((c + 1) * w / columns) - 5, top
        while y < h - 25:
            tall = int(rng.uniform(0.12, 0.4) * h)
            box = (x0, y, x1, min(y + tall, h - 5))
            (_type, _type, _plate, _plate, _bars, _curve, _pie)[rng.integers(7)](rng, picture, box, ink.tolist())
            y += tall + 6
    return picture


def _type(rng: Rng, picture: np.ndarray, box: Box, ink: list[float], scale: float = 0.3) -> None:
    x0, y0, x1, y1 = box
    step = max(8, int(26 * scale))
    for y in range(y0 + step, y1, step):
        letters = rng.choice(_LETTERS, max(2, int((x1 - x0) / (17 * scale)) - int(rng.integers(0, 4))))
        font = int(rng.integers(0, 5)) if scale > 0.5 else cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(picture, "".join(letters), (x0, y), font, scale, ink, 1, cv2.LINE_AA)


def _bars(rng: Rng, picture: np.ndarray, box: Box, ink: list[float]) -> None:
    x0, y0, x1, y1 = box
    edges, colours = np.linspace(x0, x1, int(rng.integers(4, 12))), palette(rng, 3)
    for a, b in pairwise(edges):
        top = int(y1 - rng.uniform(0.1, 1) * (y1 - y0))
        cv2.rectangle(picture, (int(a) + 1, top), (int(b) - 1, y1), colours[rng.integers(3)].tolist(), -1)
    cv2.line(picture, (x0, y1), (x1, y1), ink, 1)


def _curve(rng: Rng, picture: np.ndarray, box: Box, ink: list[float]) -> None:
    x0, y0, x1, y1 = box
    cv2.rectangle(picture, (x0, y0), (x1, y1), ink, 1)
    for colour in palette(rng, int(rng.integers(1, 5))):
        y = (y0 + y1) / 2 + (y1 - y0) * 0.9 * line(rng, max(2, x1 - x0), cells=4)
        points = np.stack([np.linspace(x0, x1, len(y)), y], -1).astype(np.int32)
        cv2.polylines(picture, [points], False, colour.tolist(), int(rng.integers(1, 3)), cv2.LINE_AA)


def _pie(rng: Rng, picture: np.ndarray, box: Box, ink: list[float]) -> None:
    x0, y0, x1, y1 = box
    radius, angle = max(3, min(x1 - x0, y1 - y0) // 2), rng.uniform(0, 360)
    centre = ((x0 + x1) // 2, (y0 + y1) // 2)
    shares = rng.dirichlet(np.ones(int(rng.integers(2, 7))) * 2) * 360
    for share, colour in zip(shares, palette(rng, len(shares)), strict=True):
        cv2.ellipse(picture, centre, (radius, radius), 0, angle, angle + share, colour.tolist(), -1)
        angle += share
    cv2.circle(picture, centre, radius, ink, 1)


def _plate(rng: Rng, picture: np.ndarray, box: Box, ink: list[float]) -> None:
    x0, y0, x1, y1 = box
    if min(x1 - x0, y1 - y0) >= 24:
        draw = (landscape, garden, town, spheres, portrait)[rng.integers(5)]
        picture[y0:y1, x0:x1] = draw(rng, y1 - y0, x1 - x0)
    cv2.rectangle(picture, (x0, y0), (x1, y1), ink, 1)
