"""Edits of whole batches that filter: blur, pixelation, crop. Each is a matrix on the rows and one on the columns.

Products of S x S matrices cost less than convolutions of 31 taps, on processors and accelerators alike, and no largest
kernel bounds the blur. Pixels are (n, 3, S, S) uint8, strengths (n,) float32 on their device.
"""

from __future__ import annotations

import torch

from isckit.augment.batched_ops import as_bytes

_NO_BLUR = 0.05
"""A Gaussian of this many px is one pixel wide."""
_REACH = 4
"""Sigmas that it reaches: beyond are 6 parts in 100,000, and numbers so small that products with them are slow."""


def blur(pixels: torch.Tensor, *, sigma: torch.Tensor) -> torch.Tensor:
    """Gaussian blur of `sigma` px; the border is repeated."""
    weights = _gaussian(sigma, pixels.shape[-1])
    return _resample(pixels, weights, weights)


def pixelate(pixels: torch.Tensor, *, cells: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
    """Shrink to (cells, cells) by area and back: soft (bicubic) or blocky (nearest)."""
    weights = _shrunk_and_back(cells, soft, pixels.shape[-1])
    return _resample(pixels, weights, weights)


def resized_crop(
    pixels: torch.Tensor, *, top: torch.Tensor, left: torch.Tensor, height: torch.Tensor, width: torch.Tensor
) -> torch.Tensor:
    """The box, enlarged to (S, S) by the kit's bicubic filter."""
    side = pixels.shape[-1]
    return _resample(pixels, _enlarged(top, height, side), _enlarged(left, width, side))


def _resample(pixels: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """rows @ image @ columns^T, both (n, S, S); out = weights over in."""
    values = pixels.float()
    across = (values.flatten(1, 2) @ columns.mT).view_as(values)
    return as_bytes(rows[:, None] @ across)


def _gaussian(sigma: torch.Tensor, side: int) -> torch.Tensor:
    places = torch.arange(side, device=sigma.device)
    steps = torch.arange(1 - side, side, device=sigma.device)
    away = steps.abs() / sigma[:, None].clamp(min=_NO_BLUR)
    taps = torch.where(away <= _REACH, torch.exp(-0.5 * away**2), 0.0)
    taps = taps / taps.sum(1, keepdim=True)
    weights = taps[:, side - 1 + places - places[:, None]]
    # What would fall beyond an edge falls on the edge's pixel.
    beyond = taps.cumsum(1)[:, :side]
    weights[:, :, -1] = beyond
    weights[:, :, 0] = beyond.flip(1)
    return weights


def _enlarged(start: torch.Tensor, length: torch.Tensor, side: int) -> torch.Tensor:
    places = torch.arange(side, device=start.device)
    centres = start[:, None] + (places + 0.5) * (length / side)[:, None]
    weights = _cubic(places + 0.5 - centres[:, :, None], sharpness=-0.5)
    inside = (places >= start[:, None]) & (places < (start + length)[:, None])
    weights = weights * inside[:, None, :]
    return weights / weights.sum(2, keepdim=True)


def _shrunk_and_back(cells: torch.Tensor, soft: torch.Tensor, side: int) -> torch.Tensor:
    places = torch.arange(side, device=cells.device)
    at = (places + 0.5) * (cells / side)[:, None] - 0.5
    nearest = torch.floor(places * cells[:, None] / side)
    weights = torch.zeros(len(cells), side, side, device=cells.device)
    for tap in (-1, 0, 1, 2):
        cell = torch.where(soft[:, None] > 0, torch.floor(at) + tap, nearest)
        weight = torch.where(soft[:, None] > 0, _cubic(at - cell, sharpness=-0.75), float(tap == 0))
        cell = torch.minimum(cell.clamp(min=0), cells[:, None] - 1)
        weights += weight[:, :, None] * _mean_of_cell(cell, cells, side)
    return weights


def _mean_of_cell(cell: torch.Tensor, cells: torch.Tensor, side: int) -> torch.Tensor:
    """(n, m, S): share of every pixel in each cell of the (n, m) asked for; a cell has side / cells pixels."""
    pixels = torch.arange(side, device=cell.device)
    length = (side / cells)[:, None, None]
    start = cell[:, :, None] * length
    covered = torch.minimum(pixels + 1, start + length) - torch.maximum(pixels.to(start.dtype), start)
    return covered.clamp_(min=0) / length


def _cubic(distance: torch.Tensor, *, sharpness: float) -> torch.Tensor:
    """The bicubic kernel: -0.5 is Pillow's and the kit's, -0.75 OpenCV's."""
    d, a = distance.abs(), sharpness
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d < 1, near, torch.where(d < 2, far, 0.0))
