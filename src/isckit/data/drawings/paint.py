"""The paint box of every drawing: generators, coordinates, noise, palettes, textures, regions.

A drawing is `draw(rng, h, w)` and gives (h, w, 3) float32, RGB, nominally in 0..1. Same generator state, same picture.
"""

from __future__ import annotations

import cv2
import numpy as np

Rng = np.random.Generator


def plane(h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates x, y of every pixel, (h, w) each; the short side spans -1..1 and y points down."""
    scale = 2.0 / min(h, w)
    y, x = np.mgrid[:h, :w].astype(np.float32)
    return (x - w / 2) * scale, (y - h / 2) * scale


def noise(rng: Rng, h: int, w: int, *, cells: float = 4, octaves: int = 5, stretch: float = 1.0) -> np.ndarray:
    """Fractal value noise, (h, w) in 0..1; `cells` bumps along the short side, `stretch` times wider than high."""
    total, gain, unit = np.zeros((h, w), np.float32), 1.0, min(h, w)
    for octave in range(octaves):
        rows, columns = (max(2, round(cells * 2**octave * n / unit)) for n in (h, w / stretch))
        lattice = rng.random((min(rows, h), min(columns, w)), np.float32)
        total += gain * cv2.resize(lattice, (w, h), interpolation=cv2.INTER_CUBIC)
        gain *= 0.5
    return stretched(total)


def stretched(values: np.ndarray) -> np.ndarray:
    """The values mapped onto 0..1."""
    return (values - values.min()) / max(float(np.ptp(values)), 1e-6)


def line(rng: Rng, n: int, *, cells: float, octaves: int = 5) -> np.ndarray:
    """One fractal line of n points in -0.5..0.5 with `cells` bumps: a ridge, a curve of a chart."""
    total, at = np.zeros(n), np.linspace(0, 1, n)
    for octave in range(octaves):
        knots = rng.random(2 + round(cells * 2**octave))
        total += np.interp(at, np.linspace(0, 1, len(knots)), knots) * 0.5**octave
    return stretched(total) - 0.5


def palette(rng: Rng, n: int, *, saturation: float = 0.9) -> np.ndarray:
    """(n, 3) colours that go together, from dark to light: hues around one or two centres."""
    hue = rng.uniform(0, 360) + rng.choice([0.0, rng.uniform(90, 180)], n) + rng.normal(0, 22, n)
    chroma = rng.uniform(0.2, 1, n) * saturation * rng.uniform(0.4, 1)
    value = np.linspace(rng.uniform(0.08, 0.45), rng.uniform(0.85, 1), n) + rng.normal(0, 0.05, n)
    hsv = np.stack([hue % 360, chroma, value.clip(0, 1)], -1).astype(np.float32)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]


def tint(rng: Rng, *swatches: tuple[float, float, float], spread: float = 0.05) -> np.ndarray:
    """One of the given colours, (3,), a little off."""
    return (np.array(swatches[rng.integers(len(swatches))]) + rng.normal(0, spread, 3)).clip(0, 1).astype(np.float32)


def ramp(colours: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Colours interpolated at positions in 0..1: (..., 3)."""
    table = cv2.resize(np.ascontiguousarray(colours[None]), (256, 1), interpolation=cv2.INTER_LINEAR)[0]
    return table[(position.clip(0, 1) * 255).astype(np.uint8)]


def textures(rng: Rng, h: int, w: int) -> np.ndarray:
    """(7, h, w) grey textures in 0..1: stripes, weave, checks, dots, wood, cloud and grain."""
    x, y = plane(h, w)
    turn = rng.uniform(0, np.pi)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    f = rng.uniform(12, 40, 4)
    cloud = noise(rng, h, w)
    bank = (
        np.sin(u * f[0]) > 0,
        0.5 + 0.5 * np.sin(u * f[1]) * np.sin(v * f[2]),
        np.sin(u * f[3]) * np.sin(v * f[3]) > 0,
        np.hypot(np.sin(u * f[1]), np.sin(v * f[1])) < 0.6,
        0.5 + 0.5 * np.sin(u * 3 + cloud * f[2]),
        cloud,
        rng.random((h, w), np.float32),
    )
    return np.stack([np.asarray(t, np.float32) for t in bank])


def blob(rng: Rng, x: float, y: float, radius: float) -> np.ndarray:
    """Outline of a random shape in pixels, (points, 1, 2) int32: triangle to hexagon, petal flower or pebble."""
    corners = int(rng.choice([3, 4, 4, 5, 6, 48, 48]))
    angle = np.sort(rng.uniform(0, 2 * np.pi, corners)) if corners < 48 else np.linspace(0, 2 * np.pi, 48)
    wave = rng.uniform(0, 0.45) * np.cos(rng.integers(2, 7) * angle + rng.uniform(0, 6)) if corners == 48 else 0.0
    turn, flat = rng.uniform(0, np.pi), rng.uniform(0.4, 1)
    a, b = radius * (1 + wave) * np.cos(angle), radius * (1 + wave) * np.sin(angle) * flat
    points = np.stack([x + a * np.cos(turn) - b * np.sin(turn), y + a * np.sin(turn) + b * np.cos(turn)], -1)
    return points.astype(np.int32)[:, None]


def paint_regions(rng: Rng, regions: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Fill a (h, w) map of region numbers: each region its colour (n, 3), texture and light from one side."""
    h, w = regions.shape
    n, (x, y) = len(colours), plane(h, w)
    bank = textures(rng, h, w)
    rows, columns = np.indices((h, w), sparse=True)
    grain = bank[rng.integers(0, len(bank), n)[regions], rows, columns] - 0.5
    strength, slope = rng.choice([0.0, 0.25, 0.6, 1.0], n)[regions], rng.normal(0, 0.35, (2, n))
    light = 1 + strength * grain + slope[0][regions] * x + slope[1][regions] * y
    return (colours[regions] * light[..., None].clip(0.25, 1.8)).astype(np.float32)


def outlines(regions: np.ndarray) -> np.ndarray:
    """(h, w) float32, 1 where neighbouring pixels belong to different regions, softened."""
    edge = np.zeros(regions.shape, np.float32)
    edge[1:] = regions[1:] != regions[:-1]
    edge[:, 1:] = np.maximum(edge[:, 1:], regions[:, 1:] != regions[:, :-1])
    return cv2.GaussianBlur(edge, (3, 3), 0)
