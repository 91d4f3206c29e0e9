"""The one door to AugLy 1.0.0: a shim for newer numpy and Pillow, randomness from a Generator, and its assets.

AugLy is the challenge's own augmentation library (Papakipos & Bitton 2022). Unmaintained since 2022, it needs three
things of Pillow 9 and numpy 1.23 restored, draws from the global generators, and reopens its assets at every call.
The emoji are Twemoji (CC-BY 4.0). One call at a time: the global generators are borrowed, so threads must not share it.
"""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image, ImageFont

FIXED_SEED = frozenset({"perspective_transform", "random_noise", "shuffle_pixels"})
"""Functions whose default seed is a constant, which would give every picture the same noise."""

FONTS = (
    "AlexBrush-Regular", "CaviarDreams", "DancingScript-Regular", "GrandHotel-Regular", "IBMPlexMono-Bold",
    "IBMPlexSans-Regular", "IBMPlexSerif-Italic", "Impact", "LeagueSpartan-Bold", "Lobster_1.3",
    "MountainsofChristmas", "Pacifico", "Raleway-ExtraBold", "Raleway-Light", "SolveigBold",
    "SourceSansPro-Regular", "Titillium-Bold", "berkshireswash-regular",
)  # fmt: skip
"""Fonts that load fast, draw every ASCII letter, digit and space, and whose glyph lists begin at the space."""


@contextlib.contextmanager
def isolated(rng: np.random.Generator) -> Iterator[None]:
    """Seed the global generators of `random` and numpy from `rng`, and put them back as they were found."""
    kept = random.getstate(), np.random.get_state()
    random.seed(int(rng.integers(2**32)))
    np.random.seed(int(rng.integers(2**32)))
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])


def call(name: str, image: np.ndarray, rng: np.random.Generator, **options: Any) -> np.ndarray:
    """Return a picture edited by one function of `augly.image`.

    Args:
        name: the function's name there.
        image: (h, w, 3) uint8 RGB.
        rng: the only source of randomness.
        options: the function's own keywords.

    Returns:
        (h', w', 3) uint8 RGB.
    """
    if name in FIXED_SEED:
        options.setdefault("seed", int(rng.integers(2**31)))
    with isolated(rng):  # the import, too, draws from the global generator
        result = getattr(_library(), name)(Image.fromarray(image), **options)
    return np.array(result.convert("RGB"))


@functools.cache
def assets() -> Path:
    """Return the folder of AugLy's fonts, emoji and screenshot templates."""
    # Found beside the package, not through it: importing AugLy would draw from the global generator.
    from importlib.util import find_spec

    spec = find_spec("augly")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "assets"


def font(name: str) -> str:
    """Return the path of a bundled font."""
    return str(assets() / "fonts" / f"{name}.ttf")


def glyphs(text: str) -> list[int]:
    """Return ASCII text as the indices that `overlay_text` takes; right for every font of `FONTS`."""
    return [ord(character) - ord(" ") for character in text]


@functools.cache
def emoji_files() -> tuple[Path, ...]:
    """Return the paths of all bundled emoji, in the same order on every machine."""
    return tuple(sorted((assets() / "twemojis").rglob("*.png")))


@functools.cache
def emoji_numbers(category: str) -> tuple[int, ...]:
    """Return the indices of the emoji of a category ("smileys", "flags", ...); "" for all."""
    return tuple(k for k, path in enumerate(emoji_files()) if category in ("", path.parent.name))


@functools.cache
def emoji(index: int) -> np.ndarray:
    """Return the emoji of that index in `emoji_files`: (72, 72, 4) uint8 RGBA, read once a process."""
    with Image.open(emoji_files()[index]) as picture:
        pixels = np.array(picture.convert("RGBA"))
    pixels.flags.writeable = False  # shared by all callers
    return pixels


@functools.cache
def _library() -> ModuleType:
    import pylibmagic  # noqa: F401  (carries libmagic, which AugLy loads at import)

    if not hasattr(np, "float"):
        setattr(np, "float", float)  # noqa: B010  (numpy 2 has no such attribute to assign to)
    if not hasattr(ImageFont.FreeTypeFont, "getsize_multiline"):
        setattr(ImageFont.FreeTypeFont, "getsize_multiline", _getsize_multiline)  # noqa: B010
    import augly.image

    tools = augly.image.utils
    tools.get_template_and_bbox = _read_once(tools.get_template_and_bbox)
    return augly.image


def _getsize_multiline(font: ImageFont.FreeTypeFont, text: str, *, spacing: int = 4) -> tuple[int, int]:
    """Width and height of lines of text in px, as Pillow 9 measured them."""
    lines = text.split("\n")
    width = max(font.getbbox(line)[2] for line in lines)
    return int(width), int(len(lines) * (font.getbbox("A")[3] + spacing) - spacing)


def _read_once(read: Any) -> Any:
    """Keep decoded screenshot templates; AugLy decodes a megapixel of PNG at every call."""
    kept = functools.cache(lambda *paths: (lambda template, box: (template.convert("RGB"), box))(*read(*paths)))

    def template_and_box(*paths: str) -> tuple[Image.Image, Any]:
        template, box = kept(*paths)
        return template.copy(), box  # AugLy may paste into it

    return template_and_box
