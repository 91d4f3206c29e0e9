"""Edits of `batched` that keep pixels in place, or mirror; each image has its own strengths.

Pixels are (n, 3, S, S) uint8 RGB on any device, strengths (n,) float32 there. No op waits for the device.
"""

from __future__ import annotations

import math

import torch

from isckit.augment.batched_draws import ORDERS

_HUE = 3
_BLENDS = [[part for part in order if part != _HUE] for order in ORDERS]
_BEFORE_HUE = [order.index(_HUE) for order in ORDERS]


def hflip(pixels: torch.Tensor) -> torch.Tensor:
    """Mirror left and right."""
    return pixels.flip(-1)


def vflip(pixels: torch.Tensor) -> torch.Tensor:
    """Mirror top and bottom."""
    return pixels.flip(-2)


def grayscale(pixels: torch.Tensor) -> torch.Tensor:
    """Put the luma in all three channels."""
    return as_bytes(_luma(pixels.float())).expand(-1, 3, -1, -1)


def colour_jitter(
    pixels: torch.Tensor,
    *,
    brightness: torch.Tensor,
    contrast: torch.Tensor,
    saturation: torch.Tensor,
    hue: torch.Tensor,
    order: torch.Tensor,
) -> torch.Tensor:
    """Adjust as torchvision does: three factors and a turn of the hue, in the order of that number in ORDERS.

    All but the hue are a blend of the image with something, so three blends come before or after one turn.
    """
    number = order.long()
    kinds = torch.tensor(_BLENDS, device=pixels.device)[number]
    before = torch.tensor(_BEFORE_HUE, device=pixels.device)[number]
    factors = torch.stack((brightness, contrast, saturation), 1).gather(1, kinds)
    values = pixels.float()
    for k in range(3):
        values = _blend(values, torch.where(k < before, factors[:, k], 1.0), kinds[:, k])
    values = _turn(values, hue)
    for k in range(3):
        values = _blend(values, torch.where(k < before, 1.0, factors[:, k]), kinds[:, k])
    return as_bytes(values)


def noise(pixels: torch.Tensor, *, deviation: torch.Tensor, seed: torch.Tensor) -> torch.Tensor:
    """Add Gaussian noise of `deviation` grey levels, independent for each value."""
    return as_bytes(pixels + _grain(pixels, seed) * per_image(deviation))


def erase(
    pixels: torch.Tensor,
    *,
    top: torch.Tensor,
    left: torch.Tensor,
    height: torch.Tensor,
    width: torch.Tensor,
    gaussian: torch.Tensor,
    seed: torch.Tensor,
) -> torch.Tensor:
    """Fill a box with noise, even or normal (Random Erasing, Zhong et al. 2020)."""
    even = _right(_hashed(pixels, seed), 24).to(torch.uint8)
    grain = torch.where(per_image(gaussian > 0), as_bytes(255 * _grain(pixels, seed)), even)
    return torch.where(boxes(pixels, top=top, left=left, height=height, width=width), grain, pixels)


def boxes(
    pixels: torch.Tensor, *, top: torch.Tensor, left: torch.Tensor, height: torch.Tensor, width: torch.Tensor
) -> torch.Tensor:
    """Return (n, 1, S, S) bool: True inside each image's box."""
    places = torch.arange(pixels.shape[-1], device=pixels.device)
    down = places >= top[:, None], places < (top + height)[:, None]
    across = places >= left[:, None], places < (left + width)[:, None]
    return ((down[0] & down[1])[:, :, None] & (across[0] & across[1])[:, None, :])[:, None]


def as_bytes(values: torch.Tensor) -> torch.Tensor:
    """Round to the nearest grey level, uint8."""
    return values.round().clamp_(0, 255).to(torch.uint8)


def per_image(numbers: torch.Tensor) -> torch.Tensor:
    """Return (n,) as (n, 1, 1, 1)."""
    return numbers[:, None, None, None]


def _luma(values: torch.Tensor) -> torch.Tensor:
    red, green, blue = values.unbind(1)
    return (red * 0.299).add_(green, alpha=0.587).add_(blue, alpha=0.114)[:, None]


def _blend(values: torch.Tensor, factor: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
    """Move away from black (kind 0), from the mean luma (1), from the luma (2); `factor` 1 changes nothing."""
    luma = _luma(values)
    mean = luma.mean((1, 2, 3)) * (kind == 1)
    base = luma.mul_(per_image(kind == 2)).add_(per_image(mean))
    return torch.lerp(base.expand_as(values), values, per_image(factor)).clamp_(0, 255)


def _turn(values: torch.Tensor, hue: torch.Tensor) -> torch.Tensor:
    """Turn the hue of HSV by `hue` turns."""
    red, green, blue = values.unbind(1)
    top = values.amax(1)
    chroma = top - values.amin(1)
    divisor = chroma.clamp(min=1e-6)
    fourths = torch.where(top == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor)
    sixths = torch.where(top == red, (green - blue) / divisor, fourths) + 6 * hue[:, None, None]
    # A channel falls from the largest value to the smallest where the hue is far from its own.
    offset = torch.tensor([5.0, 3.0, 1.0], device=values.device)[:, None, None]
    place = torch.remainder(sixths[:, None] + offset, 6)
    fall = torch.minimum(place, 4 - place).clamp_(0, 1)
    return top[:, None] - chroma[:, None] * fall


def _grain(pixels: torch.Tensor, seed: torch.Tensor) -> torch.Tensor:
    """A standard normal number for each value."""
    # 23 bits, at the middles of their cells: never 0 or 1, where the normal quantile is infinite.
    evenly = _right(_hashed(pixels, seed), 9).float().add_(0.5).mul_(2.0**-23)
    return torch.erfinv(2 * evenly - 1) * math.sqrt(2)


def _hashed(pixels: torch.Tensor, seed: torch.Tensor) -> torch.Tensor:
    """32 random bits for each value, int32: a hash of its place and the image's seed, the same on every device."""
    places = torch.arange(pixels[0].numel(), device=pixels.device, dtype=torch.int32).view(pixels.shape[1:])
    bits = places + per_image(seed.int()) * -0x61C88647
    for shift, factor in ((16, 0x7FEB352D), (15, -0x7B935975)):
        bits = (bits ^ _right(bits, shift)) * factor
    return bits ^ _right(bits, 16)


def _right(bits: torch.Tensor, shift: int) -> torch.Tensor:
    """Logical shift: zeros come in from the left."""
    return (bits >> shift) & ((1 << (32 - shift)) - 1)
