"""Colour GIST, 960-d: 4 x 4 cells, 3 scales of 8, 8 and 4 orientations, 3 channels. Needs no weights.

Oliva & Torralba, "Modeling the shape of the scene" (IJCV 2001), in the colour variant on 32 x 32 pixels that the
organisers of ISC2021 use as their baseline. The layout is channel-major, then filter, then cell = 4 * column + row.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from PIL import Image
from torch import nn

from isckit.views.geometry import View, cut_image

SIDE = 32
PADDING = 5
ORIENTATIONS = (8, 8, 4)
DIM = 3 * sum(ORIENTATIONS) * 16
FLAT = 1e-4
"""Norm below which a response is rounding error; that of a picture with any content is about 1."""


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Return (32, 32, 3) of (H, W, 3) uint8: shorter side to 32 (Pillow bilinear, anti-aliased), then the centre."""
    height, width = image.shape[:2]
    short = min(height, width)
    size = (SIDE * width // short, SIDE * height // short)
    left, top = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
    small = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(small.crop((left, top, left + SIDE, top + SIDE)))


def _frequencies(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Signed integer frequencies (v of rows, u of columns) with the zero frequency at index 0."""
    axis = torch.fft.ifftshift(torch.arange(side, dtype=torch.float64) - side // 2)
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    return v, u


@functools.cache
def prefilter() -> torch.Tensor:
    """Return the (42, 42) low-pass transfer function of the local contrast normalisation."""
    v, u = _frequencies(SIDE + 2 * PADDING)
    return torch.exp(-(u**2 + v**2) * math.log(2) / 16)


@functools.cache
def gabor() -> torch.Tensor:
    """Return the (20, 32, 32) transfer functions of the oriented filters."""
    v, u = _frequencies(SIDE)
    radius, angle = torch.sqrt(u**2 + v**2), torch.atan2(v, u)
    filters = []
    for scale, count in enumerate(ORIENTATIONS):
        rho, q = 0.3 / 1.85**scale, 16 * count**2 / SIDE**2
        for j in range(count):
            t = torch.remainder(angle + math.pi * j / count + math.pi, 2 * math.pi) - math.pi
            filters.append(torch.exp(-3.5 * (radius / SIDE / rho - 1) ** 2 - 2 * math.pi * q * t**2))
    return torch.stack(filters)


def gist(images: torch.Tensor) -> torch.Tensor:
    """Return the raw GIST of thumbnails, not yet L2-normalised.

    Args:
        images: (B, 32, 32, 3) uint8.

    Returns:
        (B, 960) float32.
    """
    low, filters = (t.to(images.device, torch.float32) for t in (prefilter(), gabor()))
    logs = torch.log1p(images.permute(0, 3, 1, 2).float())
    index = torch.from_numpy(np.pad(np.arange(SIDE), PADDING, mode="symmetric")).to(images.device)
    padded = logs[:, :, index][:, :, :, index]
    padded = padded - torch.fft.ifft2(torch.fft.fft2(padded) * low).real
    mean = padded.mean(1, keepdim=True)
    contrast = torch.sqrt(torch.fft.ifft2(torch.fft.fft2(mean**2) * low).abs())
    flat = (padded / (0.2 + contrast))[:, :, PADDING:-PADDING, PADDING:-PADDING]
    spectrum = torch.fft.fft2(flat)[:, :, None]
    responses = torch.fft.ifft2(spectrum * filters).abs()
    cells = responses.unflatten(-1, (4, 8)).unflatten(-3, (4, 8)).mean((-3, -1))
    return cells.transpose(-2, -1).flatten(1)


class GistDescriber(nn.Module):
    """GIST as an ensemble member: thumbnails of all views are cut from the one decoded image in the loader worker."""

    dim = DIM

    def prepare(self, image: np.ndarray, views: tuple[View, ...]) -> np.ndarray:
        """Return (V, 32, 32, 3) uint8, one thumbnail a view, of (H, W, 3) uint8."""
        return np.stack([thumbnail(cut_image(image, view)) for view in views])

    def embed(self, prepared: torch.Tensor, views: tuple[View, ...]) -> torch.Tensor:
        """Return (B, V, 960) float32, L2-normalised, of (B, V, 32, 32, 3) uint8.

        A flat picture has no response at all; it gets the vector of equal responses, so that it has a direction too.
        """
        raw = gist(prepared.flatten(0, 1))
        flat = raw.norm(dim=-1, keepdim=True) < FLAT
        vectors = torch.nn.functional.normalize(torch.where(flat, torch.ones_like(raw), raw), dim=-1)
        return vectors.unflatten(0, (len(prepared), len(views)))
