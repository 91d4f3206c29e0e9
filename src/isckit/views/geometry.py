"""Views of an image as data: axis-parallel windows, quarter turns and mirrors, named and grouped into sets."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from isckit.types import WHOLE, BadInput

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class View:
    """A window (top, left, height, width; fractions), then `turns` counter-clockwise quarter turns, then a mirror."""

    name: str
    box: Box = (0.0, 0.0, 1.0, 1.0)
    turns: int = 0
    mirror: bool = False


def _grid(name: str, size: float, offsets: tuple[float, ...]) -> tuple[View, ...]:
    return tuple(
        View(f"{name}_{row}{column}", (top, left, size, size))
        for row, top in enumerate(offsets)
        for column, left in enumerate(offsets)
    )


VIEW_SETS: dict[str, tuple[View, ...]] = {
    "whole": (View(WHOLE),),
    "mirror": (View("mirror", mirror=True),),
    # D2LV query crops 1-3 (Wang et al. 2021).
    "rotations": tuple(View(f"turn{90 * turns}", turns=turns) for turns in (1, 2, 3)),
    "centre": (View("centre", (1 / 4, 1 / 4, 1 / 2, 1 / 2)),),
    "centre_large": (View("centre_large", (1 / 6, 1 / 6, 2 / 3, 2 / 3)),),
    # D2LV reference parts 1-4.
    "quarters": _grid("quarter", 1 / 2, (0.0, 1 / 2)),
    # separate's half_grid: nine half-size windows (Jeon 2021).
    "half_grid": _grid("half", 1 / 2, (0.0, 1 / 4, 1 / 2)),
    "two_thirds": _grid("two_thirds", 2 / 3, (0.0, 1 / 3)),
}


def view_set(names: tuple[str, ...]) -> tuple[View, ...]:
    """The views of several sets, the whole image first and always there.

    Raises:
        BadInput: an unknown set.
    """
    for name in names:
        if name not in VIEW_SETS:
            raise BadInput(
                seen=f"view set {name!r}", allowed=", ".join(sorted(VIEW_SETS)), remedy="correct the recipe's view sets"
            )
    views = (*VIEW_SETS["whole"], *(view for name in names for view in VIEW_SETS[name]))
    return tuple(dict.fromkeys(views))


def window(view: View, *, height: int, width: int) -> tuple[int, int, int, int]:
    """Pixel window (top, left, height, width) of a view on an image; at least one pixel, inside the image."""
    top, left = (round(view.box[0] * height), round(view.box[1] * width))
    bottom = round((view.box[0] + view.box[2]) * height)
    right = round((view.box[1] + view.box[3]) * width)
    top, left = min(top, height - 1), min(left, width - 1)
    return top, left, max(1, bottom - top), max(1, right - left)


def cut(images: torch.Tensor, view: View) -> torch.Tensor:
    """Cut a view from a batch of equally large images, on their device.

    Args:
        images: (..., H, W), any dtype.
        view: the view.

    Returns:
        (..., h, w), a copy only where the view turns or mirrors.
    """
    top, left, height, width = window(view, height=images.shape[-2], width=images.shape[-1])
    out = images[..., top : top + height, left : left + width]
    if view.turns:
        out = torch.rot90(out, view.turns, dims=(-2, -1))
    return out.flip(-1) if view.mirror else out
