"""Pictures from nothing: thirteen families of drawings, seen through a camera; and the photographs our libraries ship.

Two seeds of one family look alike in style and differ in content, as the hard distractors of DISC21 do.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from isckit.synthetic import paint, scenes, things
from isckit.synthetic.paint import Rng, noise, plane

FAMILIES = {
    draw.__name__: draw
    for draw in (
        *(paint.dead_leaves, paint.mosaic, paint.julia, paint.flame, paint.marble, paint.kaleidoscope),
        *(scenes.landscape, scenes.town, scenes.garden),
        *(things.spheres, things.still_life, things.portrait),
        scenes.page,
    )
}
"""Every drawing by name."""

_ASPECTS = (1.0, 4 / 3, 4 / 3, 3 / 2, 3 / 4, 2 / 3, 16 / 9)
_PHOTOGRAPHS = (
    ("sklearn", "datasets/images/china.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
)


def picture(seed: int, *, size: tuple[int, int] | int = 256, family: str | None = None) -> np.ndarray:
    """Return the picture of a seed, (height, width, 3) uint8 RGB; equal arguments give equal pixels on one machine.

    Args:
        seed: any non-negative integer.
        size: height and width, or the longest side of a picture whose aspect ratio the seed draws.
        family: a name of FAMILIES; drawn by the seed if None.
    """
    rng = np.random.default_rng(seed)
    aspect, drawn = rng.choice(_ASPECTS), str(rng.choice(list(FAMILIES)))
    h, w = (round(size / max(aspect, 1)), round(size * min(aspect, 1))) if isinstance(size, int) else size
    return _photograph(rng, FAMILIES[family or drawn](rng, h, w))


def bundled_pictures() -> list[np.ndarray]:
    """Return twelve photographs, (H, W, 3) uint8 RGB each: the quarters of the three that scikit-learn and matplotlib
    ship.

    Quarters, because overlapping crops would be copies of each other that no ground truth knows.
    """
    quarters = []
    for package, path in _PHOTOGRAPHS:
        photograph = cv2.imread(str(_folder(package) / path), cv2.IMREAD_COLOR_RGB)
        assert photograph is not None, f"{package} ships {path}"
        for half in np.array_split(photograph, 2, axis=0):
            quarters += np.array_split(half, 2, axis=1)
    return quarters


def _folder(package: str) -> Path:
    """Where a package lies, found without the seconds that importing it costs."""
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations, f"{package} is a requirement of the kit"
    return Path(spec.submodule_search_locations[0])


def _photograph(rng: Rng, scene: np.ndarray) -> np.ndarray:
    """Expose a drawing: light, colour cast, tone curve, vignette, focus and grain, so that no area is flat."""
    h, w = scene.shape[:2]
    x, y = plane(h, w)
    light = rng.uniform(0.9, 1.1) * (1 - rng.uniform(0, 0.18) * (x**2 + y**2) / 2)
    light *= 0.94 + 0.12 * noise(rng, h, w, cells=1, octaves=2)
    scene = (scene.astype(np.float32) * light[..., None] * rng.normal(1, 0.04, 3)).clip(0, 1) ** rng.uniform(0.75, 1.25)
    scene = cv2.GaussianBlur(scene.astype(np.float32), (0, 0), rng.uniform(0.3, 0.7))
    grain = rng.standard_normal((h, w), np.float32)[..., None] * np.float32(rng.uniform(0.004, 0.03))
    return ((scene + grain) * 255).round().clip(0, 255).astype(np.uint8)
