"""The paint box of every drawing: generators, coordinates, noise, palettes, textures, regions.

A drawing is `draw(rng, h, w)` and gives (h, w, 3) float32, RGB, nominally in 0..1. Same generator state, same picture.
"""

from __future__ import annotations

import cv2
import numpy as np

Rng = np.random.Generator


def plane(h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates x, y of every pixel, (h, w) each; the short side spans -1..1 and y points down."""
    scale = 2.0 / min(h, w)
    y, x = np.mgrid[:h, :w].astype(np.float32)
    return (x - w / 2) * scale, (y - h / 2) * scale


def noise(rng: Rng, h: int, w: int, *, cells: float = 4, octaves: int = 5, stretch: float = 1.0) -> np.ndarray:
    """Return fractal noise, (h, w) in 0..1; `cells` bumps along the short side, `stretch` times wider than tall."""
    total, gain, unit = np.zeros((h, w), np.float32), 1.0, min(h, w)
    for octave in range(octaves):
        rows, columns = (max(2, round(cells * 2**octave * n / unit)) for n in (h, w / stretch))
        lattice = rng.random((min(rows, h), min(columns, w)), np.float32)
        total += gain * cv2.resize(lattice, (w, h), interpolation=cv2.INTER_CUBIC)
        gain *= 0.5
    return stretched(total)


def stretched(values: np.ndarray) -> np.ndarray:
    """Return the values mapped onto 0..1."""
    return (values - values.min()) / max(float(np.ptp(values)), 1e-6)


def line(rng: Rng, n: int, *, cells: float, octaves: int = 5) -> np.ndarray:
    """Return one fractal line of n points in -0.5..0.5 with `cells` bumps: a ridge, a curve of a chart."""
    total, at = np.zeros(n), np.linspace(0, 1, n)
    for octave in range(octaves):
        knots = rng.random(2 + round(cells * 2**octave))
        total += np.interp(at, np.linspace(0, 1, len(knots)), knots) * 0.5**octave
    return stretched(total) - 0.5


def palette(rng: Rng, n: int, *, saturation: float = 0.9) -> np.ndarray:
    """Return (n, 3) colours that go together, from dark to light: hues around one or two centres."""
    hue = rng.uniform(0, 360) + rng.choice([0.0, rng.uniform(90, 180)], n) + rng.normal(0, 22, n)
    chroma = rng.uniform(0.2, 1, n) * saturation * rng.uniform(0.4, 1)
    value = np.linspace(rng.uniform(0.08, 0.45), rng.uniform(0.85, 1), n) + rng.normal(0, 0.05, n)
    hsv = np.stack([hue % 360, chroma, value.clip(0, 1)], -1).astype(np.float32)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]


def tint(rng: Rng, *swatches: tuple[float, float, float], spread: float = 0.05) -> np.ndarray:
    """Return one of the given colours, (3,), a little off."""
    return (np.array(swatches[rng.integers(len(swatches))]) + rng.normal(0, spread, 3)).clip(0, 1).astype(np.float32)


def ramp(colours: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Return colours interpolated at positions in 0..1: (..., 3)."""
    table = cv2.resize(np.ascontiguousarray(colours[None]), (256, 1), interpolation=cv2.INTER_LINEAR)[0]
    return table[(position.clip(0, 1) * 255).astype(np.uint8)]


def textures(rng: Rng, h: int, w: int) -> np.ndarray:
    """Return (7, h, w) grey textures in 0..1: stripes, weave, checks, dots, wood, cloud and grain."""
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
    """Return the outline of a random shape in pixels, (points, 1, 2) int32: triangle to hexagon, petal flower or
    pebble.
    """
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
    """Return (h, w) float32, 1 where neighbouring pixels belong to different regions, softened."""
    edge = np.zeros(regions.shape, np.float32)
    edge[1:] = regions[1:] != regions[:-1]
    edge[:, 1:] = np.maximum(edge[:, 1:], regions[:, 1:] != regions[:, :-1])
    return cv2.GaussianBlur(edge, (3, 3), 0)


def dead_leaves(rng: Rng, h: int, w: int) -> np.ndarray:
    """Draw textured shapes dropped on each other, sizes by a power law (Lee, Mumford & Huang 2001)."""
    n = int(rng.integers(50, 320))
    regions = np.zeros((h, w), np.int32)
    radii = (0.035 * min(h, w) * rng.random(n) ** -0.6).clip(0, 0.33 * min(h, w))
    for k in range(n):
        cv2.fillPoly(regions, [blob(rng, rng.uniform(0, w), rng.uniform(0, h), radii[k])], k)
    colours = ramp(palette(rng, int(rng.integers(3, 8))), rng.random(n))
    return paint_regions(rng, regions, colours) * (1 - 0.5 * outlines(regions))[..., None]


def mosaic(rng: Rng, h: int, w: int) -> np.ndarray:
    """Draw Voronoi cells with lead lines over a cloudy motif: stained glass, cracked earth, pebbles."""
    n = int(rng.integers(25, 260))
    sites = np.ones((h, w), np.uint8)
    spread = rng.choice([0.25, 0.5, 1.0])
    centre, scatter = rng.uniform(0.2, 0.8, 2), rng.random((n, 2))
    at = np.where(rng.random((n, 1)) < 0.5, scatter, (centre + spread * (scatter - 0.5)).clip(0, 0.999))
    sites[(at[:, 0] * h).astype(int), (at[:, 1] * w).astype(int)] = 0
    distance, cells = cv2.distanceTransformWithLabels(sites, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    motif = noise(rng, h, w, cells=rng.uniform(1, 3), octaves=2)
    tone = motif[(at[:, 0] * h).astype(int), (at[:, 1] * w).astype(int)] + rng.normal(0, 0.12, n)
    colours = ramp(palette(rng, 6), np.resize(tone, cells.max() + 1))
    dome = 1.15 - rng.uniform(0, 0.03) * distance
    lead = rng.choice([0.0, 1.0]) * outlines(cells)[..., None]
    return paint_regions(rng, cells, colours) * dome[..., None] * (1 - 0.9 * outlines(cells)[..., None]) + 0.8 * lead


def julia(rng: Rng, h: int, w: int) -> np.ndarray:
    """Draw a Julia set just outside the cardioid, smooth escape time, turned and zoomed (Peitgen & Richter 1986)."""
    x, y = plane(h, w)
    t = rng.uniform(0, 2 * np.pi)
    c = np.complex64((0.5 * np.exp(1j * t) - 0.25 * np.exp(2j * t)) * rng.uniform(1.02, 1.12))
    view = np.exp(1j * rng.uniform(0, np.pi)) * rng.uniform(0.3, 1.1)
    z = ((x + 1j * y) * view + rng.normal(0, 0.35) + 1j * rng.normal(0, 0.35)).astype(np.complex64).ravel()
    steps, alive = np.full(z.size, 70.0, np.float32), np.arange(z.size)
    for step in range(70):
        z = z * z + c
        size = z.real**2 + z.imag**2
        out = size > 64
        steps[alive[out]] = step + 1 - np.log2(np.log2(size[out]) / 6)
        z, alive = z[~out], alive[~out]
        if not len(alive):
            break
    tone = stretched(np.log1p(steps.clip(0))).reshape(h, w)
    bands = 0.5 - 0.5 * np.cos(2 * np.pi * (tone * rng.uniform(1, 4) + rng.random()))
    return ramp(palette(rng, 5), bands) * (0.35 + 0.65 * tone)[..., None]


def flame(rng: Rng, h: int, w: int) -> np.ndarray:
    """Draw a fractal flame: random affine maps with bent coordinates, turned copies, log density (Draves & Reckase
    2003).
    """
    maps, n = int(rng.integers(3, 6)), 6000
    linear = rng.normal(0, 0.6, (maps, 2, 2)).astype(np.float32)
    linear /= np.maximum(0.6, np.linalg.norm(linear, 2, (1, 2)) / 0.9)[:, None, None].astype(np.float32)
    shift, hue, bend = rng.uniform(-0.8, 0.8, (maps, 2)).astype(np.float32), rng.random(maps), rng.integers(0, 4, maps)
    p, tone, points, tones = rng.uniform(-1, 1, (n, 2)).astype(np.float32), rng.random(n), [], []
    for step in range(25):
        groups = np.array_split(np.arange(n), np.sort(rng.integers(0, n, maps - 1)))
        p = p[rng.permutation(n)] if step < 4 else p
        for k, rows in enumerate(groups):
            p[rows] = _bend(p[rows] @ linear[k].T + shift[k], int(bend[k]))
            tone[rows] = (tone[rows] + hue[k]) / 2
        rows = rng.permutation(n)
        p, tone = p[rows], tone[rows]
        if step >= 5:
            points.append(p)
            tones.append(tone)
    density, warmth = _density(rng, np.concatenate(points), np.concatenate(tones), h, w)
    glow = density + 0.35 * cv2.GaussianBlur(density, (0, 0), 4)
    night = ramp(palette(rng, 3), noise(rng, h, w, cells=1.5, octaves=4)) * rng.uniform(0.1, 0.7)
    return night * (1 - 0.7 * density.clip(0, 1))[..., None] + ramp(palette(rng, 4)[::-1], warmth) * glow[..., None]


def _bend(q: np.ndarray, kind: int) -> np.ndarray:
    """Variations linear, sinusoidal, swirl and spherical of points (n, 2)."""
    r2 = (q**2).sum(1, keepdims=True)
    if kind == 1:
        return np.sin(1.6 * q)
    if kind == 2:
        s, c = np.sin(r2), np.cos(r2)
        return np.hstack([q[:, :1] * s - q[:, 1:] * c, q[:, :1] * c + q[:, 1:] * s])
    return q / (0.35 + r2) if kind == 3 else q


def _density(rng: Rng, p: np.ndarray, tone: np.ndarray, h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    """Log density and mean tone per pixel, (h, w) each, of points framed by their percentiles and turned about."""
    low, high = np.percentile(p, (4, 96), axis=0)
    p = (p - (low + high) / 2) / np.maximum(high - low, 0.2)
    angle = rng.integers(0, rng.integers(1, 6) + 1, len(p)) * (2 * np.pi / rng.integers(2, 6))
    x = p[:, 0] * np.cos(angle) - p[:, 1] * np.sin(angle)
    y = p[:, 0] * np.sin(angle) + p[:, 1] * np.cos(angle)
    column, row = (x * 0.85 * min(h, w) + w / 2).astype(int), (y * 0.85 * min(h, w) + h / 2).astype(int)
    seen = (column >= 0) & (column < w) & (row >= 0) & (row < h)
    flat = row[seen] * w + column[seen]
    hits = np.bincount(flat, minlength=h * w)
    warmth = np.bincount(flat, tone[seen], minlength=h * w) / np.maximum(hits, 1)
    density = np.log1p(hits) / np.log1p(np.percentile(hits, 99.5) + 1)
    return density.reshape(h, w).astype(np.float32), warmth.reshape(h, w)


def marble(rng: Rng, h: int, w: int) -> np.ndarray:
    """Draw sinusoids bent by noise that is bent by noise, with veins: marble, agate, oil on water."""
    x, y = plane(h, w)
    first, second = noise(rng, h, w, cells=2, octaves=6), noise(rng, h, w, cells=rng.uniform(2, 5), octaves=6)
    bend, (fx, fy, fr) = rng.uniform(2, 9), rng.uniform(1, 9, 3)
    rings = np.sin(fr * np.hypot(x - rng.normal(0, 0.7), y - rng.normal(0, 0.7)) + bend * second)
    wave = np.sin(fx * x + bend * first) + np.sin(fy * y + bend * second) + rings
    tone = 0.5 + 0.5 * np.sin(rng.uniform(0.7, 2.5) * wave + rng.uniform(0, 6))
    veins = (1 - np.abs(2 * noise(rng, h, w, cells=3, octaves=5) - 1)) ** rng.integers(6, 30)
    stone = ramp(palette(rng, int(rng.integers(4, 9))), tone) * (0.6 + 0.8 * second)[..., None]
    return stone + rng.uniform(-0.5, 0.5) * veins[..., None]


def kaleidoscope(rng: Rng, h: int, w: int) -> np.ndarray:
    """Draw a patch of leaves seen in mirrors: mandalas, tiles and rugs."""
    patch = dead_leaves(rng, 160, 160)
    x, y = plane(h, w)
    x, y = x - rng.normal(0, 0.2), y - rng.normal(0, 0.2)
    if rng.random() < 0.5:
        part = np.pi / rng.integers(3, 9)
        angle = np.abs((np.arctan2(y, x) + rng.uniform(0, 6)) % (2 * part) - part)
        u, v = np.hypot(x, y) * np.cos(angle), np.hypot(x, y) * np.sin(angle)
    else:
        turn, u, v = rng.choice([0, np.pi / 4]), x, y
        u, v = u * np.cos(turn) - v * np.sin(turn), u * np.sin(turn) + v * np.cos(turn)
    zoom = rng.uniform(60, 150)
    return cv2.remap(
        patch,
        (u * zoom).astype(np.float32),
        (v * zoom).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
