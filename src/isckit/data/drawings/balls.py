"""Drawings of balls on a floor, ray-traced."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isckit.data.drawings.paint import Rng, palette, plane, ramp


def spheres(rng: Rng, h: int, w: int) -> np.ndarray:
    """Ray-traced balls with stripes, highlights, shadows and one reflection, on a patterned floor."""
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
        """A random scene of three to ten balls."""
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
        """(balls, n) distance along unit rays to each ball, infinity where it is missed."""
        along = np.einsum("ij,ij->i", origin, ray) - self.centres @ ray.T
        apart = np.einsum("ij,ij->i", origin, origin) - 2 * self.centres @ origin.T
        root = along**2 - apart + (self.radii**2 - (self.centres**2).sum(1))[:, None]
        near = -along - np.sqrt(np.maximum(root, 0))
        return np.where((root > 0) & (near > 1e-3), near, np.float32(np.inf))

    def trace(self, origin: np.ndarray, ray: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Colour, point, normal and whether anything was met, for rays (n, 3) from origins (n, 3)."""
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
