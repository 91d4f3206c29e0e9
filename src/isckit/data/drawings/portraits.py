"""Drawings of people from the chest up."""

from __future__ import annotations

import cv2
import numpy as np

from isckit.data.drawings.paint import Rng, noise, palette, ramp, textures, tint


def portrait(rng: Rng, h: int, w: int) -> np.ndarray:
    """A person from the chest up: face, hair, eyes, mouth, perhaps glasses and a hat, before a blurred wall."""
    wall = ramp(palette(rng, 4), noise(rng, h, w, cells=rng.uniform(1, 4), octaves=4))
    picture = cv2.GaussianBlur(wall, (0, 0), rng.uniform(1, 6))
    skin, hair = tint(rng, *_SKINS, spread=0.02), tint(rng, *_HAIRS, spread=0.03)
    shirt = palette(rng, 3)[rng.integers(3)] * (0.6 + 0.6 * textures(rng, h, w)[rng.integers(7)])[..., None]
    r = min(h, w) * rng.uniform(0.2, 0.3)
    x, y = w * rng.uniform(0.3, 0.7), h * rng.uniform(0.4, 0.5)
    long, slim = rng.uniform(1.15, 1.4), rng.uniform(0.75, 0.95)
    locks = _oval(picture, x, y - 0.1 * r, r * slim * 1.25, r * long * rng.uniform(1.1, 1.25))
    locks[int(y + rng.uniform(-0.3, 1.4) * r) :] = 0
    parts = (
        (locks, hair * (0.7 + 0.5 * noise(rng, h, w, cells=10, octaves=3, stretch=0.2))[..., None]),
        (_oval(picture, x, y + 2.9 * r, 1.75 * r, 1.5 * r), shirt),
        (_oval(picture, x, y + 1.2 * r, 0.4 * r, 0.6 * r), skin * 0.8),
        (_oval(picture, x, y, r * slim, r * long), skin * _cheek(rng, h, w, x, y, r)[..., None]),
        (_oval(picture, x + rng.normal(0, 0.15) * r, y - r * long, r * slim, r * rng.uniform(0.25, 0.55)), hair),
    )
    for mask, colour in parts:
        picture = picture * (1 - mask[..., None]) + mask[..., None] * colour
    picture = np.ascontiguousarray(picture, np.float32)
    _features(rng, picture, x, y, r, skin, hair)
    return picture


_SKINS = ((0.95, 0.8, 0.7), (0.87, 0.67, 0.52), (0.7, 0.48, 0.34), (0.5, 0.33, 0.23), (0.34, 0.22, 0.16))
_HAIRS = ((0.08, 0.06, 0.05), (0.3, 0.18, 0.1), (0.6, 0.42, 0.2), (0.75, 0.7, 0.65), (0.5, 0.2, 0.1))


def _oval(picture: np.ndarray, x: float, y: float, a: float, b: float) -> np.ndarray:
    """Soft mask of an ellipse, (h, w) float32."""
    mask = np.zeros(picture.shape[:2], np.float32)
    cv2.ellipse(mask, (int(x), int(y)), (max(1, int(a)), max(1, int(b))), 0, 0, 360, 1.0, -1)
    return cv2.GaussianBlur(mask, (0, 0), 0.8)


def _cheek(rng: Rng, h: int, w: int, x: float, y: float, r: float) -> np.ndarray:
    column, row = np.arange(w)[None], np.arange(h)[:, None]
    side = rng.choice([-0.4, 0.4])
    light = 1.12 - 0.25 * (((column - x) / r + side) ** 2 + ((row - y) / r + 0.2) ** 2) / 2
    return light.clip(0.4, 1.2) + 0.08 * (noise(rng, h, w, cells=12, octaves=3) - 0.5)


def _features(rng: Rng, picture: np.ndarray, x: float, y: float, r: float, skin: np.ndarray, hair: np.ndarray) -> None:
    """Draw eyes, brows, nose, mouth and sometimes glasses and a hat into the picture."""
    eye, level, apart = r * rng.uniform(0.1, 0.16), y - r * rng.uniform(0.05, 0.2), r * rng.uniform(0.32, 0.42)
    iris, glasses = tint(rng, (0.3, 0.2, 0.1), (0.25, 0.4, 0.6), (0.3, 0.45, 0.25)).tolist(), rng.random() < 0.35
    brow, look, thick = rng.uniform(-12, 12), rng.uniform(-0.3, 0.3) * eye, max(1, int(r / 14))
    for sign in (-1, 1):
        at = (int(x + sign * apart), int(level))
        cv2.ellipse(picture, at, (int(eye * 1.6), int(eye)), 0, 0, 360, (0.95, 0.95, 0.92), -1, cv2.LINE_AA)
        cv2.circle(picture, (int(at[0] + look), at[1]), max(1, int(eye * 0.8)), iris, -1)
        cv2.circle(picture, (int(at[0] + look), at[1]), max(1, int(eye * 0.4)), (0.02, 0.02, 0.02), -1)
        arch = (at[0], int(level - eye)), (int(eye * 2), int(eye))
        cv2.ellipse(picture, *arch, sign * brow, 200, 340, hair.tolist(), thick + 1)
        if glasses:
            cv2.circle(picture, at, int(eye * 2.4), (0.1, 0.1, 0.12), thick)
    nose = [[x, level + eye], [x + r * 0.12, y + r * 0.35], [x - r * 0.08, y + r * 0.38]]
    cv2.polylines(picture, [np.array(nose, np.int32)], False, (skin * 0.65).tolist(), thick)
    lips, smile = tint(rng, (0.7, 0.25, 0.25), (0.55, 0.2, 0.2)).tolist(), rng.uniform(0.02, 0.25)
    mouth = (int(x), int(y + 0.6 * r)), (int(r * rng.uniform(0.2, 0.4)), max(1, int(r * smile)))
    cv2.ellipse(picture, *mouth, 0, 0, 180, lips, -1)
    if rng.random() < 0.3:
        hat, top = palette(rng, 3)[rng.integers(3)].tolist(), int(y - r * 0.75)
        cv2.rectangle(picture, (int(x - 0.8 * r), int(top - r * rng.uniform(0.4, 1))), (int(x + 0.8 * r), top), hat, -1)
        cv2.ellipse(picture, (int(x), top), (int(1.4 * r), int(0.18 * r)), 0, 0, 360, hat, -1)
