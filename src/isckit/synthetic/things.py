"""Drawings of balls on a floor, ray-traced."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from isckit.synthetic.paint import Rng, noise, palette, plane, ramp, textures, tint


def spheres(rng: Rng, h: int, w: int) -> np.ndarray:
    """Draw ray-traced balls with stripes, highlights, shadows and one reflection, on a patterned floor."""
    x, y = plane(h, w)
    dip, focus = np.float32(rng.uniform(0.1, 0.5)), rng.uniform(1.4, 2.4)
    rays = np.stack([x, y + dip, np.full_like(x, focus)], -1).reshape(-1, 3)
    rays /= np.sqrt(np.einsum("ij,ij->i", rays, rays))[:, None]
    scene = Scene.drawn(rng)
    colour, point, normal, met = scene.trace(np.zeros_like(rays), rays)
    facing = np.einsum("ij,ij->i", rays, normal)[:, None]
    reflection = scene.trace(point + 1e-3 * normal, rays - 2 * facing * normal)[0]
    shine = (0.06 + 0.5 * (1 - np.abs(facing)) ** 3) * met[:, None]
    return (colour * (1 - shine) + shine * reflection).reshape(h, w, 3)


_UP = np.array([0, -1, 0], np.float32)


@dataclass(frozen=True)
class Scene:
    """Balls on the floor y = 1 under a sun; y points down, z away. All float32."""

    centres: np.ndarray
    radii: np.ndarray
    colours: np.ndarray
    stripes: np.ndarray
    sun: np.ndarray
    floor: np.ndarray
    tile: float
    pattern: int

    @staticmethod
    def drawn(rng: Rng) -> Scene:
        """Return a random scene of three to ten balls."""
        n = int(rng.integers(3, 11))
        radii = rng.uniform(0.25, 1.0, n)
        z = rng.uniform(2.8, 8, n)
        centres = np.stack([rng.uniform(-0.5, 0.5, n) * z, 1 - radii, z], -1)
        sun = rng.normal(0, 1, 3) * (1, 0, 1) + (0, -1.6, -0.5)
        stripes = rng.choice([0.0, rng.uniform(5, 20)], n) * rng.choice([-1, 1], n)
        f = np.float32
        return Scene(
            centres=centres.astype(f),
            radii=radii.astype(f),
            colours=palette(rng, n),
            stripes=stripes.astype(f),
            sun=(sun / np.linalg.norm(sun)).astype(f),
            floor=palette(rng, 3, saturation=0.6),
            tile=float(rng.uniform(0.7, 2.5)),
            pattern=int(rng.integers(0, 4)),
        )

    def distances(self, origin: np.ndarray, ray: np.ndarray) -> np.ndarray:
        """Return the (balls, n) distance along unit rays to each ball, infinity where it is missed."""
        along = np.einsum("ij,ij->i", origin, ray) - self.centres @ ray.T
        apart = np.einsum("ij,ij->i", origin, origin) - 2 * self.centres @ origin.T
        root = along**2 - apart + (self.radii**2 - (self.centres**2).sum(1))[:, None]
        near = -along - np.sqrt(np.maximum(root, 0))
        return np.where((root > 0) & (near > 1e-3), near, np.float32(np.inf))

    def trace(self, origin: np.ndarray, ray: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return colour, point, normal and whether anything was met, for rays (n, 3) from origins (n, 3)."""
        down = np.maximum(ray[:, 1], np.float32(1e-6))
        ground = np.where(ray[:, 1] > 1e-3, np.maximum(1 - origin[:, 1], 0) / down, np.float32(np.inf))
        hits = np.vstack([self.distances(origin, ray), ground])
        which, nearest = hits.argmin(0), hits.min(0)
        distance, met = np.minimum(nearest, 60), np.isfinite(nearest)
        ball = (which < len(self.radii)) & met
        point = origin + ray * distance[:, None]
        k = np.minimum(which, len(self.radii) - 1)
        normal = np.where(ball[:, None], (point - self.centres[k]) / self.radii[k, None], _UP)
        albedo = np.where(ball[:, None], self._skin(k, normal), self._tiles(point[:, 0], point[:, 2]))
        lit = self._light(ray, point, normal, albedo, ball)
        sky = ramp(self.floor, 0.55 + 0.9 * ray[:, 1])
        fog = np.where(met, (distance / 60) ** 0.7, 1.0)[:, None]
        return (lit * (1 - fog) + sky * fog).astype(np.float32), point, normal, met

    def _light(
        self, ray: np.ndarray, point: np.ndarray, normal: np.ndarray, albedo: np.ndarray, ball: np.ndarray
    ) -> np.ndarray:
        free = np.isinf(self.distances(point + 2e-3 * normal, np.broadcast_to(self.sun, ray.shape)).min(0))
        mirrored = ray - 2 * np.einsum("ij,ij->i", ray, normal)[:, None] * normal
        gloss = (mirrored @ self.sun).clip(0, 1) ** 40 * (ball & free)
        return albedo * (0.35 + 0.85 * (normal @ self.sun).clip(0, 1) * free)[:, None] + gloss[:, None]

    def _skin(self, k: np.ndarray, normal: np.ndarray) -> np.ndarray:
        wave = self.stripes[k] * np.where(self.stripes[k] > 0, normal[:, 1], normal[:, 0] + normal[:, 2])
        return self.colours[k] * (1 - 0.5 * (np.sin(wave) > 0.2))[:, None]

    def _tiles(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        u, v = u * self.tile, v * self.tile
        kinds = (
            lambda: (np.floor(u) + np.floor(v)) % 2,
            lambda: np.floor(u) % 2,
            lambda: np.hypot(u % 1 - 0.5, v % 1 - 0.5) < 0.35,
            lambda: np.hypot(u, v - 5) % 1,
        )
        return ramp(self.floor[:2], kinds[self.pattern]().astype(np.float32))


def still_life(rng: Rng, h: int, w: int) -> np.ndarray:
    """Draw vases, bottles and fruit on a table before a papered wall."""
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


def portrait(rng: Rng, h: int, w: int) -> np.ndarray:
    """Draw a person from the chest up: face, hair, eyes, mouth, perhaps glasses and a hat, before a blurred wall."""
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
