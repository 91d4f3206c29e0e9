"""All edits by name.

An op is a pure function `op(image, rng, **ranges)`: (h, w, 3) uint8 RGB in and out, every draw from `rng`, nothing
else touched. One that works on a second picture has a keyword `other`, one that gives the network's side a keyword
`size`; whoever runs ops hands these in.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from isckit.augment import colour, compose, covering, degrade, framing, geometry, pages, pixel_edits, rectangles, social
from isckit.augment.geometry import square

__all__ = ["NEEDS", "OPS", "Op", "square"]

Op = Callable[..., np.ndarray]

_ALL: tuple[Op, ...] = (
    geometry.crop, geometry.resized_crop, geometry.hflip, geometry.vflip, geometry.rotate, geometry.rotate_pad,
    geometry.rotate90, geometry.perspective, geometry.corner_jitter, geometry.shift_channels, geometry.aspect,
    geometry.downscale, geometry.pad, geometry.pad_square,
    framing.random_resized_crop, framing.corner_crop, framing.padded_crop, framing.stretch, framing.enlarge,
    framing.rotate_in_place,
    colour.colour_jitter, colour.enhance, colour.brightness, colour.grayscale, colour.fade, colour.invert,
    colour.shuffle_channels, colour.swap_channels, colour.solarize, colour.posterize,
    degrade.blur, degrade.motion_blur, degrade.sharpen, degrade.edge_enhance, degrade.noise, degrade.pixelate,
    degrade.pixel_shuffle, degrade.jpeg,
    compose.overlay, compose.underlay, compose.overlay_by_height, compose.underlay_by_height, compose.blend,
    compose.collage, compose.erase, compose.shapes, covering.occlude,
    social.emoji, social.text, social.text_inside, social.meme, pages.page, social.screenshot, social.stripes,
    rectangles.onto_black, rectangles.onto, rectangles.cover, rectangles.sticker, rectangles.shear,
    pixel_edits.pixel_edit, pixel_edits.corrupt,
)  # fmt: skip

OPS: Mapping[str, Op] = MappingProxyType({op.__name__: op for op in _ALL})
"""Name -> function."""

NEEDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {name: frozenset({"other", "size"} & inspect.signature(op).parameters.keys()) for name, op in OPS.items()}
)
"""Name -> which of `other` and `size` it must be given."""
