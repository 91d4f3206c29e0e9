"""Views of an image as data: axis-parallel windows, quarter turns and mirrors, named and grouped into sets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from isckit.types import WHOLE, BadInput

if TYPE_CHECKING:
    import torch

Fractions = tuple[float, float, float, float]
_ROUNDING = 1e-6
"""Pixels that floating point may fall short of a whole one: 5/6 of 6 pixels are 5."""


@dataclass(frozen=True)
class View:
    """A window (top, left, height, width; fractions), then `turns` counter-clockwise quarter turns, then a mirror.

    square_first: the image is made a square of its shorter side before anything else, aspect ignored.
    """

    name: str
    box: Fractions = (0.0, 0.0, 1.0, 1.0)
    turns: int = 0
    mirror: bool = False
    square_first: bool = False


def _grid(name: str, size: tuple[float, float], tops: tuple[float, ...], lefts: tuple[float, ...]) -> tuple[View, ...]:
    """Return the windows of one size, row by row."""
    return tuple(
        View(f"{name}_{row}{column}", (top, left, *size))
        for row, top in enumerate(tops)
        for column, left in enumerate(lefts)
    )


def _steps(count: int, of: int) -> tuple[float, ...]:
    return tuple(k / of for k in range(count))


def _turned(name: str, top: float) -> View:
    """Return a half-width window of the square, turned image, as the band of the image that it comes from.

    A counter-clockwise turn brings the top band to the left.
    """
    return View(name, (top, 0.0, 1 / 2, 1.0), turns=1, square_first=True)


_VERTICAL = tuple(View(name, (0.0, k / 4, 1.0, 1 / 2)) for k, name in enumerate(("left", "vertical_center", "right")))
_HORIZONTAL = tuple(View(f"horizontal_{k}", (k / 4, 0.0, 1 / 2, 1.0)) for k in range(3))

VIEW_SETS: dict[str, tuple[View, ...]] = {
    "whole": (View(WHOLE),),
    "mirror": (View("mirror", mirror=True),),
    # D2LV (Wang et al. 2021): query crops 1-3, 4 and 5-8; reference parts 1-4, 5 (as crop 4), 6-14 and 15-18.
    "rotations": tuple(View(f"turn{90 * turns}", turns=turns) for turns in (1, 2, 3)),
    "centre": (View("centre", (1 / 4, 1 / 4, 1 / 2, 1 / 2)),),
    "quarters": _grid("quarter", (1 / 2, 1 / 2), _steps(2, 2), _steps(2, 2)),
    "thirds": _grid("third", (1 / 3, 1 / 3), _steps(3, 3), _steps(3, 3)),
    "sixths": _grid("sixth", (1 / 3, 1 / 3), (1 / 6, 1 / 2), (1 / 6, 1 / 2)),
    # separate (Jeon 2021): 24of4_zic, half_grid and 2of6_grid ...
    "strips": (*_VERTICAL, *_HORIZONTAL),
    "half_grid": _grid("half", (1 / 2, 1 / 2), _steps(3, 4), _steps(3, 4)),
    "third_grid": _grid("third_grid", (1 / 3, 1 / 3), _steps(5, 6), _steps(5, 6)),
    # ... the grids that its final run goes without ...
    "quarter_grid": _grid("quarter_grid", (1 / 4, 1 / 4), _steps(4, 4), _steps(4, 4)),
    "two_fifths": _grid("two_fifths", (2 / 5, 2 / 5), _steps(4, 5), _steps(4, 5)),
    "two_thirds": _grid("two_thirds", (2 / 3, 2 / 3), _steps(2, 3), _steps(2, 3)),
    "oblong_grid": (
        *_grid("tall", (2 / 3, 1 / 3), _steps(3, 6), _steps(5, 6)),
        *_grid("wide", (1 / 3, 2 / 3), _steps(5, 6), _steps(3, 6)),
    ),
    # ... its halves, and all that its second pass looks at.
    "halves": _VERTICAL,
    "pair_views": (
        View(WHOLE),
        View("whole_rotate", turns=1, square_first=True),
        *_VERTICAL,
        *(_turned(f"rotate_{view.name}", k / 4) for k, view in enumerate(_VERTICAL)),
    ),
    "centre_large": (View("centre_large", (1 / 6, 1 / 6, 2 / 3, 2 / 3)),),
}


# separate's lists by the side of the query that a crop lies on: of each grid, the columns of that side.
for _side, _halves, _thirds in (("left", "0", "01"), ("vertical_center", "1", "2"), ("right", "2", "34")):
    for _name, _columns in (("half_grid", _halves), ("third_grid", _thirds)):
        VIEW_SETS[f"{_name}_{_side}"] = tuple(view for view in VIEW_SETS[_name] if view.name[-1] in _columns)


def view_set(names: tuple[str, ...]) -> tuple[View, ...]:
    """Return the views of several sets, the whole image first and always there.

    Raises:
        BadInput: an unknown set.
    """
    for name in names:
        if name not in VIEW_SETS:
            raise BadInput(
                seen=f"view set {name!r}",
                allowed=", ".join(sorted((*VIEW_SETS, "proposals", "overlays"))),
                remedy="correct the recipe's view sets",
            )
    views = (*VIEW_SETS["whole"], *(view for name in names for view in VIEW_SETS[name]))
    return tuple(dict.fromkeys(views))


def window(view: View, *, height: int, width: int) -> tuple[int, int, int, int]:
    """Return the pixel window (top, left, height, width) of a view on an image; at least one pixel, inside the image.

    Borders are truncated to whole pixels, as all published systems do it.
    """
    rows, columns = (view.box[0], view.box[2]), (view.box[1], view.box[3])
    (top, tall), (left, wide) = _pixels(*rows, height), _pixels(*columns, width)
    return top, left, tall, wide


def cut(images: torch.Tensor, view: View) -> torch.Tensor:
    """Cut a view from a batch of equally large images, on their device.

    Args:
        images: (..., H, W), any dtype.
        view: the view.

    Returns:
        (..., h, w), a copy only where the view turns or mirrors, or makes a square of what is none.
    """
    if view.square_first and images.shape[-2] != images.shape[-1]:
        images = _squared(images)
    top, left, height, width = window(view, height=images.shape[-2], width=images.shape[-1])
    out = images[..., top : top + height, left : left + width]
    if view.turns:
        out = out.rot90(view.turns, dims=(-2, -1))
    return out.flip(-1) if view.mirror else out


def cut_image(image: np.ndarray, view: View) -> np.ndarray:
    """Cut a view from one (H, W, 3) uint8 image: (h, w, 3), C-contiguous."""
    import torch

    planes = torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)
    return np.ascontiguousarray(cut(planes, view).permute(1, 2, 0).numpy())


def _pixels(start: float, extent: float, size: int) -> tuple[int, int]:
    """Return the first pixel and number of pixels of an interval, given in fractions of `size` pixels."""
    first = min(math.floor(start * size + _ROUNDING), size - 1)
    end = math.floor((start + extent) * size + _ROUNDING)
    return first, max(1, min(end, size) - first)


def _squared(images: torch.Tensor) -> torch.Tensor:
    from torchvision.transforms.v2.functional import InterpolationMode, resize

    side = min(images.shape[-2:])
    return resize(images, [side, side], interpolation=InterpolationMode.BICUBIC, antialias=True)
