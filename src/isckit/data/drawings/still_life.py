"""Drawings of vases, bottles and fruit on a table."""

from __future__ import annotations

import cv2
import numpy as np

from isckit.data.drawings.paint import Rng, noise, palette, textures


def still_life(rng: Rng, h: int, w: int) -> np.ndarray:
    """Vases, bottles and fruit on a table before a papered wall."""
    bank = textures(rng, h, w)
    wall, cloth = bank[rng.integers(7, size=2)]
    colours = palette(rng, 4, saturation=0.7)
    edge = int(h * rng.uniform(0.5, 0.7))
    y = np.arange(h, dtype=np.float32)[:, None, None]
    picture = np.where(
        y < edge,
        colours[2] * (0.65 + rng.uniform(0.2, 0.6) * wall)[..., None],
        colours[rng.integers(2)] * (0.8 + rng.uniform(0, 0.6) * cloth)[..., None],
    )
    picture = picture * (0.7 + 0.5 * noise(rng, h, w, cells=1, octaves=2))[..., None]
    side = rng.choice([-1, 1])
    feet = np.sort(rng.uniform(edge + 0.05 * h, 0.97 * h, int(rng.integers(4, 11))))
    for foot in feet:
        draw = _fruit if rng.random() < 0.5 else _vase
        picture = draw(rng, picture, rng.uniform(0.08, 0.92) * w, foot, side, bank)
    return picture


def _fruit(rng: Rng, picture: np.ndarray, cx: float, foot: float, side: int, bank: np.ndarray) -> np.ndarray:
    h, w = picture.shape[:2]
    radius = min(h, w) * rng.uniform(0.06, 0.15)
    y, x = np.ogrid[:h, :w]
    u, v = (x - cx) / radius, (y - foot + radius * 0.9) / radius
    return _body(
        rng,
        picture,
        inside=u**2 + v**2 < 1,
        across=np.broadcast_to(u, (h, w)),
        down=np.broadcast_to(v, (h, w)),
        shadow=(cx + side * radius * 0.7, foot, radius),
        side=side,
        bank=bank,
    )


def _vase(rng: Rng, picture: np.ndarray, cx: float, foot: float, side: int, bank: np.ndarray) -> np.ndarray:
    h, w = picture.shape[:2]
    tall, wide = h * rng.uniform(0.2, 0.55), w * rng.uniform(0.04, 0.11)
    profile = cv2.resize(rng.uniform(0.25, 1, (1, int(rng.integers(4, 7)))), (h, 1), interpolation=cv2.INTER_CUBIC)[0]
    y, x = np.arange(h)[:, None], np.arange(w)[None]
    level = (y - foot + tall) / tall
    half = wide * np.maximum(profile[(level.clip(0, 1) * (h - 1)).astype(int)], 0.15)
    u = (x - cx) / half
    down = np.broadcast_to(0.6 * (level - 0.5), (h, w))
    return _body(
        rng,
        picture,
        inside=(np.abs(u) < 1) & (level > 0) & (level < 1),
        across=u,
        down=down,
        shadow=(cx + side * wide, foot, wide),
        side=side,
        bank=bank,
    )


def _body(
    rng: Rng,
    picture: np.ndarray,
    *,
    inside: np.ndarray,
    across: np.ndarray,
    down: np.ndarray,
    shadow: tuple[float, float, float],
    side: int,
    bank: np.ndarray,
) -> np.ndarray:
    """Shade a round body lit from one side, with pattern, highlight and a soft shadow on the table."""
    h, w = picture.shape[:2]
    x, foot, radius = shadow
    dark = np.zeros((h, w), np.float32)
    cv2.ellipse(dark, (int(x), int(foot)), (int(radius * 1.5) + 1, int(radius * 0.35) + 1), 0, 0, 360, 1.0, -1)
    picture = picture * (1 - 0.6 * cv2.GaussianBlur(dark, (0, 0), radius * 0.15 + 0.5))[..., None]
    light = (1 - (0.7 * across + 0.5 * side) ** 2 * 0.5 - 0.35 * (down + 0.2) ** 2).clip(0.15, 1)
    pattern = bank[rng.integers(7)] * rng.choice([0.0, 0.2, 0.6])
    gloss = np.exp(-((across + 0.4 * side) ** 2 + (down + 0.35) ** 2) * 30) * rng.uniform(0, 0.9)
    body = palette(rng, 3)[rng.integers(3)] * ((0.75 + pattern) * light)[..., None] + gloss[..., None]
    return np.where(inside[..., None], body, picture)
