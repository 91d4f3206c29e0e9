"""Drawings of the world outside: landscapes, towns, gardens."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from isckit.synthetic.paint import Rng, line, noise, palette, plane, ramp, tint
from isckit.synthetic.things import portrait, spheres


def _sky(rng: Rng, h: int, w: int) -> np.ndarray:
    """Day, dusk, overcast or night from zenith to horizon, with a sun or moon and clouds."""
    x, y = plane(h, w)
    colours = np.array(_SKIES[rng.integers(len(_SKIES))], np.float32) + rng.normal(0, 0.05, (3, 3)).astype(np.float32)
    fall = ((np.arange(h) / h) ** rng.uniform(0.6, 1.4) * 1.3)[:, None]
    sky = ramp(colours, fall + 0.08 * noise(rng, h, w, cells=1, octaves=2))
    away = np.hypot(x - rng.uniform(-1, 1), y - rng.uniform(-0.9, 0))
    disc = ((rng.uniform(0.05, 0.18) - away) * 40).clip(0, 1) * (rng.random() < 0.6)
    light = (disc + 0.3 * np.exp(-3 * away))[..., None] * tint(rng, (1, 0.95, 0.8), (1, 0.8, 0.5), (0.9, 0.95, 1))
    clouds = noise(rng, h, w, cells=rng.uniform(1.5, 4), octaves=6, stretch=rng.uniform(1.5, 4))
    cover = ((clouds - rng.uniform(0.4, 0.8)) * 3).clip(0, 0.85)[..., None]
    return (sky + light) * (1 - cover) + cover * (0.3 + 0.6 * clouds[..., None]) * (0.4 + colours[2])


_SKIES = (
    ((0.15, 0.35, 0.75), (0.45, 0.68, 0.93), (0.85, 0.92, 0.97)),
    ((0.1, 0.45, 0.8), (0.3, 0.7, 0.9), (0.7, 0.9, 0.95)),
    ((0.2, 0.15, 0.4), (0.75, 0.35, 0.4), (1.0, 0.75, 0.4)),
    ((0.45, 0.5, 0.75), (0.95, 0.7, 0.7), (1.0, 0.9, 0.75)),
    ((0.5, 0.53, 0.57), (0.68, 0.7, 0.72), (0.85, 0.85, 0.83)),
    ((0.02, 0.03, 0.1), (0.06, 0.1, 0.25), (0.2, 0.25, 0.42)),
)
_ROCKS = (
    (0.35, 0.4, 0.25),
    (0.45, 0.36, 0.28),
    (0.2, 0.35, 0.2),
    (0.6, 0.42, 0.3),
    (0.4, 0.42, 0.46),
    (0.7, 0.62, 0.45),
)
_LEAVES = ((0.1, 0.22, 0.08), (0.22, 0.3, 0.1), (0.06, 0.16, 0.12), (0.45, 0.28, 0.08), (0.35, 0.12, 0.06))
_WALLS = (
    (0.6, 0.32, 0.24),
    (0.85, 0.78, 0.62),
    (0.7, 0.7, 0.72),
    (0.5, 0.42, 0.36),
    (0.35, 0.42, 0.5),
    (0.9, 0.88, 0.84),
    (0.8, 0.6, 0.4),
    (0.62, 0.72, 0.66),
)


def landscape(rng: Rng, h: int, w: int) -> np.ndarray:
    """Draw mountain ridges in haze under a sky, with a lake that mirrors them or a wood in front."""
    picture = _sky(rng, h, w)
    haze, near = picture[h // 2].mean(0), tint(rng, *_ROCKS) * rng.uniform(0.7, 1.3)
    y, layers = np.arange(h)[:, None], int(rng.integers(2, 6))
    for k in range(layers):
        depth = (k + 1) / layers
        tall = rng.uniform(0.1, 0.6) * (1.1 - 0.8 * depth)
        ridge = h * (0.35 + 0.35 * depth + tall * line(rng, w, cells=rng.uniform(1, 5)))
        grain = noise(rng, h, w, cells=5, octaves=5)
        slope = np.gradient(cv2.GaussianBlur(grain, (0, 0), 1.5))[1] * 25
        rock = (haze * (1 - depth) + near * depth) * (0.7 + 0.5 * grain + slope * depth)[..., None]
        snow = (1 - (y - ridge) / (0.12 * h)).clip(0, 1) * (grain > 0.45) * (rng.random() < 0.5)
        picture = np.where((y > ridge)[..., None], rock + 0.6 * snow[..., None] * (1 - 0.5 * depth), picture)
    return (_lake if rng.random() < 0.45 else _wood)(rng, picture.astype(np.float32))


def _lake(rng: Rng, picture: np.ndarray) -> np.ndarray:
    h, w = picture.shape[:2]
    shore = int(h * rng.uniform(0.55, 0.8))
    depth = np.arange(h - shore, dtype=np.float32)[:, None]
    shake = (noise(rng, h - shore, w, cells=6, octaves=4, stretch=5) - 0.5) * (2 + depth * 0.15)
    x = np.arange(w, dtype=np.float32)[None] + shake
    mirror = cv2.remap(picture, x, shore - 1 - depth * 0.9 + 2 * shake, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    picture[shore:] = mirror * 0.75 + 0.1 * np.array([0.3, 0.6, 0.8]) + shake[..., None] * 0.02
    return picture


def _wood(rng: Rng, picture: np.ndarray) -> np.ndarray:
    h, w = picture.shape[:2]
    dark = tint(rng, *_LEAVES, spread=0.03)
    ground = h * (rng.uniform(0.78, 0.95) + 0.15 * line(rng, w, cells=2))
    for x in np.sort(rng.uniform(0, w, int(rng.integers(3, 30)))):
        foot, tall = ground[int(x)] + 4, h * rng.uniform(0.1, 0.35)
        colour = (dark * rng.uniform(0.5, 1.5)).tolist()
        if rng.random() < 0.7:
            for tier in range(4):
                top, half = foot - tall * (1 - 0.2 * tier), tall * (0.08 + 0.06 * tier)
                points = [[x, top], [x - half, top + tall * 0.4], [x + half, top + tall * 0.4]]
                cv2.fillPoly(picture, [np.array(points, np.int32)], colour)
        else:
            cv2.line(picture, (int(x), int(foot)), (int(x), int(foot - tall * 0.6)), colour, max(1, int(tall / 14)))
            for dx, dy in rng.normal(0, 0.14, (25, 2)) * tall:
                cv2.circle(
                    picture,
                    (int(x + dx), int(foot - tall * 0.7 + dy)),
                    max(1, int(tall * 0.08)),
                    (np.array(colour) * rng.uniform(0.7, 1.9)).tolist(),
                    -1,
                )
    below = (np.arange(h)[:, None] > ground)[..., None]
    return np.where(below, dark * (0.6 + 1.6 * noise(rng, h, w, cells=20, octaves=3))[..., None], picture)


def town(rng: Rng, h: int, w: int) -> np.ndarray:
    """Draw rows of houses with lit or dark windows, roofs and haze, under a sky."""
    picture = _sky(rng, h, w).astype(np.float32)
    night, walls = rng.random() < 0.4, [tint(rng, *_WALLS, spread=0.07) for _ in range(6)]
    if night:
        picture *= 0.25
    for row in (0.45, 0.6, 0.78, 1.0)[int(rng.integers(0, 3)) :]:
        left = -rng.uniform(0, 0.1) * w
        while left < w:
            wide, top = w * rng.uniform(0.05, 0.2) * (0.5 + row), h * (row - rng.uniform(0.08, 0.45))
            wall = walls[rng.integers(6)] * (0.35 if night else 0.9) * rng.uniform(0.7, 1.1) * (0.4 + 0.6 * row)
            _house(rng, picture, (int(left), int(top), int(left + wide), int(h * row) + 2), wall, night=night)
            left += wide * rng.uniform(0.8, 1.3)
        haze = (1 - row) * (0.05 if night else 0.35)
        picture = picture * (1 - haze) + haze * 0.8
    return picture


def _house(rng: Rng, picture: np.ndarray, box: tuple[int, int, int, int], wall: np.ndarray, *, night: bool) -> None:
    x0, y0, x1, y1 = box
    cv2.rectangle(picture, (x0, y0), (x1, y1), wall.tolist(), -1)
    cv2.rectangle(picture, (x1 - max(1, (x1 - x0) // 5), y0), (x1, y1), (wall * 0.7).tolist(), -1)
    if rng.random() < 0.4:
        peak = [[x0 - 2, y0], [(x0 + x1) // 2, y0 - (x1 - x0) // 2], [x1 + 2, y0]]
        cv2.fillPoly(picture, [np.array(peak, np.int32)], (wall[::-1] * 0.8).tolist())
    pane, gap = int(rng.integers(2, 6)), int(rng.integers(2, 6))
    lamp = np.array([1, rng.uniform(0.7, 1), rng.uniform(0.3, 0.8)])
    for y in range(y0 + gap, y1 - pane, pane + gap):
        for x in range(x0 + gap, x1 - pane, pane + gap):
            lit = rng.random() < (0.45 if night else 0.12)
            colour = lamp * rng.uniform(0.7, 1) if lit else wall * rng.uniform(0.3, 0.7)
            cv2.rectangle(picture, (x, y), (x + pane - 1, y + pane), colour.tolist(), -1)


def garden(rng: Rng, h: int, w: int) -> np.ndarray:
    """Draw flowers and leaves at several depths, the far ones out of focus."""
    green = np.stack([tint(rng, *_LEAVES) * s for s in (1, 1.6, 2.2, 3)]) + rng.uniform(0, 0.25)
    picture = ramp(green, noise(rng, h, w, cells=rng.uniform(1, 4), octaves=4)).astype(np.float32) * 0.7
    petals, short = palette(rng, 5), min(h, w)
    for depth in (0, 1, 2):
        for _ in range(int(rng.integers(2, 14 - 4 * depth))):
            x, y, radius = rng.uniform(0, w), rng.uniform(0, h), short * rng.uniform(0.04, 0.11) * (1 + depth)
            root = (int(x + rng.normal(0, radius)), h)
            cv2.line(picture, (int(x), int(y)), root, (green[0] * 0.8).tolist(), 1 + 2 * depth)
            _flower(rng, picture, x, y, radius, petals[rng.integers(5)])
        if depth < 2:
            picture[:] = cv2.GaussianBlur(picture, (0, 0), 2.5 - 1.6 * depth)
    return picture * (0.8 + 0.4 * noise(rng, h, w, cells=30, octaves=2))[..., None]


def _flower(rng: Rng, picture: np.ndarray, x: float, y: float, radius: float, colour: np.ndarray) -> None:
    n, start, slim = int(rng.integers(4, 15)), rng.uniform(0, 360), rng.uniform(0.15, 0.4)
    for ring in (1.0, 0.65):
        for angle in start + np.arange(n) * 360 / n + ring * 20:
            a = np.deg2rad(angle)
            centre = (int(x + np.cos(a) * radius * ring * 0.5), int(y + np.sin(a) * radius * ring * 0.5))
            axes = (max(1, int(radius * ring * 0.5)), max(1, int(radius * ring * slim)))
            shade = colour * (1.15 - 0.35 * ring) * rng.uniform(0.8, 1.1)
            cv2.ellipse(picture, centre, axes, angle, 0, 360, shade.tolist(), -1)
    heart = max(1, int(radius * rng.uniform(0.12, 0.3)))
    cv2.circle(picture, (int(x), int(y)), heart, (1 - 0.8 * colour).tolist(), -1)
    for dx, dy in rng.normal(0, heart * 0.4, (8, 2)):
        cv2.circle(picture, (int(x + dx), int(y + dy)), max(1, heart // 5), (0.5 * colour).tolist(), -1)


Box = tuple[int, int, int, int]
_LETTERS = list("abcdeghiklmnoprstuvwy  ABDEGMNRST")


def page(rng: Rng, h: int, w: int) -> np.ndarray:
    """Draw a printed page: headline, columns of type, charts and a picture."""
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
