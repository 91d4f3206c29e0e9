"""Augmentation as data: the ops by name, steps with probabilities and ranges, and the pipeline that runs them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from isckit.augment import colour, compose, covering, degrade, geometry, pages, social
from isckit.augment.geometry import bounded, square

Op = Callable[..., np.ndarray]

_ALL: tuple[Op, ...] = (
    geometry.crop, geometry.resized_crop, geometry.hflip, geometry.vflip, geometry.rotate, geometry.rotate_pad,
    geometry.rotate90, geometry.perspective, geometry.corner_jitter, geometry.shift_channels, geometry.aspect,
    geometry.downscale, geometry.pad, geometry.pad_square,
    geometry.random_resized_crop, geometry.corner_crop, geometry.padded_crop, geometry.stretch, geometry.enlarge,
    geometry.rotate_in_place, geometry.other_format,
    colour.colour_jitter, colour.enhance, colour.brightness, colour.grayscale, colour.fade, colour.invert,
    colour.shuffle_channels, colour.swap_channels, colour.solarize, colour.posterize,
    colour.equalize, colour.auto_augment,
    degrade.blur, degrade.motion_blur, degrade.sharpen, degrade.edge_enhance, degrade.noise, degrade.pixelate,
    degrade.pixel_shuffle, degrade.jpeg,
    compose.overlay, compose.underlay, compose.overlay_by_height, compose.underlay_by_height, compose.blend,
    compose.collage, compose.erase, compose.shapes, covering.occlude,
    social.emoji, social.text, social.text_inside, social.meme, pages.page, social.screenshot, social.stripes,
    covering.onto_black, covering.onto, covering.cover, covering.sticker, geometry.shear,
    colour.pixel_edit, colour.corrupt,
)  # fmt: skip

OPS: Mapping[str, Op] = MappingProxyType({op.__name__: op for op in _ALL})
"""Name -> function."""

NEEDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {name: frozenset({"other", "size"} & inspect.signature(op).parameters.keys()) for name, op in OPS.items()}
)
"""Name -> those of `other` and `size` that it must be given."""

CANVAS = 2.0
"""Between steps an image holds at most (CANVAS * size)^2 pixels: what is beyond would be lost in the last resize."""

StepRow = tuple[str, str, str]

Other = Callable[[], np.ndarray]
"""Fetches a second picture, (h, w, 3) uint8: a function, so that nothing is decoded for the views that join none."""


class Node(Protocol):
    """A step, or several joined."""

    def apply(self, image: np.ndarray, rng: np.random.Generator, other: Other | None, size: int) -> np.ndarray:
        """Edit, or leave the image as it is; every draw comes from `rng`."""
        ...

    def rows(self) -> list[StepRow]:
        """Return it as rows of text."""
        ...

    def ops(self) -> set[str]:
        """Return the names of all ops in it."""
        ...


@dataclass(frozen=True)
class Step:
    """One op, done with a probability; `ranges` are its keywords."""

    op: str
    probability: float = 1.0
    ranges: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.op in OPS, f"no op named {self.op}"
        unknown = self.ranges.keys() - inspect.signature(OPS[self.op]).parameters.keys()
        assert not unknown, f"{self.op} has no {sorted(unknown)}"
        assert 0 <= self.probability <= 1, f"{self.op}: probability {self.probability}"

    def apply(self, image: np.ndarray, rng: np.random.Generator, other: Other | None, size: int) -> np.ndarray:
        """Throw the coin, edit, and keep the result within the canvas."""
        if rng.random() >= self.probability:
            return image
        given: dict[str, Any] = {"size": size} if "size" in NEEDS[self.op] else {}
        if "other" in NEEDS[self.op]:
            assert other is not None, f"{self.op} joins two pictures: pass `other`"
            given["other"] = other()
        return bounded(OPS[self.op](image, rng, **self.ranges, **given), (CANVAS * size) ** 2)

    def rows(self) -> list[StepRow]:
        """Return op, probability and ranges as text."""
        return [(self.op, f"{self.probability:g}", ", ".join(f"{k} {_text(v)}" for k, v in self.ranges.items()))]

    def ops(self) -> set[str]:
        """Return the names of all ops in it."""
        return {self.op}


def step(op: str, probability: float = 1.0, **ranges: Any) -> Step:
    """Return a step as it is written in a table."""
    return Step(op, probability, ranges)


@dataclass(frozen=True)
class Pipeline:
    """Steps in order, and the square resize that ends every view."""

    steps: tuple[Node, ...] = ()

    def __call__(self, image: np.ndarray, rng: np.random.Generator, other: Other | None, size: int) -> np.ndarray:
        """Return one view of `image`.

        Args:
            image: (h, w, 3) uint8 RGB, of any size.
            rng: the only source of randomness; see `view_rng`.
            other: fetches the second picture of the ops that join two; None will do where `needs_other` is False.
            size: side of the view.

        Returns:
            (size, size, 3) uint8, contiguous.
        """
        small = bounded(image, (CANVAS * size) ** 2) if self.steps else image
        return square(run(self.steps, small, rng, other, size), size)

    @property
    def needs_other(self) -> bool:
        """True where some step works on a second picture."""
        return any("other" in NEEDS[op] for op in self.ops())

    def ops(self) -> set[str]:
        """Return the names of all ops in it."""
        return {op for node in self.steps for op in node.ops()}


def run(
    nodes: Iterable[Node], image: np.ndarray, rng: np.random.Generator, other: Other | None, size: int
) -> np.ndarray:
    """Apply nodes one after the other."""
    for node in nodes:
        image = node.apply(image, rng, other, size)
    return image


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return " or ".join(value) if isinstance(value[0], str) else f"{value[0]:g}..{value[1]:g}"
    return f"{value:g}" if isinstance(value, float) else str(value)
