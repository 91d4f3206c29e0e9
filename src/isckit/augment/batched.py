"""Edits of whole batches on the device, after those of the loader: pipelines, edits that move pixels, and mixing.

The loader draws a view's parameters, with a generator of the view's own, as one row of a table; the device applies the
table. So an edit is a function of (seed, epoch, index, view), whatever the batch, the workers and the processes.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from isckit import config
from isckit.augment import batched_ops
from isckit.augment.batched_draws import DRAWS
from isckit.augment.batched_ops import as_bytes, boxes
from isckit.augment.nodes import AnyOrder
from isckit.augment.pipelines import PIPELINES
from isckit.augment.sets.kit import TONES
from isckit.augment.steps import NEEDS, OPS, Step
from isckit.types import BadInput

_NO_BLUR = 0.05
"""A Gaussian of this many px is one pixel wide."""
_REACH = 4
"""Sigmas that it reaches: beyond are 6 parts in 100,000, and numbers so small that products with them are slow."""


def blur(pixels: torch.Tensor, *, sigma: torch.Tensor) -> torch.Tensor:
    """Blur by a Gaussian of `sigma` px; the border is repeated."""
    weights = _gaussian(sigma, pixels.shape[-1])
    return _resample(pixels, weights, weights)


def pixelate(pixels: torch.Tensor, *, cells: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
    """Shrink to (cells, cells) by area and back: soft (bicubic) or blocky (nearest)."""
    weights = _shrunk_and_back(cells, soft, pixels.shape[-1])
    return _resample(pixels, weights, weights)


def resized_crop(
    pixels: torch.Tensor, *, top: torch.Tensor, left: torch.Tensor, height: torch.Tensor, width: torch.Tensor
) -> torch.Tensor:
    """Return the box, enlarged to (S, S) by the kit's bicubic filter."""
    side = pixels.shape[-1]
    return _resample(pixels, _enlarged(top, height, side), _enlarged(left, width, side))


def _resample(pixels: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Return rows @ image @ columns^T, both (n, S, S); out = weights over in."""
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


_EDITS: Mapping[str, Callable[..., torch.Tensor]] = MappingProxyType({
    edit.__name__: edit
    for edit in (
        batched_ops.hflip, batched_ops.vflip, batched_ops.grayscale, batched_ops.colour_jitter, batched_ops.noise,
        batched_ops.erase, blur, pixelate, resized_crop,
    )
})  # fmt: skip
_ROOM = {"cpu": 1 << 20, "cuda": 1 << 25}
"""Values edited at a time: little enough for a processor's cache, or for an accelerator's memory beside a network."""


@dataclass(frozen=True)
class BatchedPipeline:
    """Steps in order, all of them ops that have a batched form.

    A row of the table has for each step 1 or 0 (done or not) and its parameters; a row of zeros changes nothing.
    """

    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        unknown = [step.op for step in self.steps if step.op not in _EDITS]
        assert not unknown, f"no batched form of {unknown}"

    @property
    def width(self) -> int:
        """Length of a row."""
        return sum(1 + len(_parameters(step.op)) for step in self.steps)

    def draw(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Return the draws for one view: those that `Pipeline(self.steps)` would make with the same generator.

        Returns:
            (width,) float32, for views of (3, size, size).
        """
        row = np.zeros(self.width, np.float32)
        for step, start, stop in self._columns():
            if rng.random() < step.probability:
                row[start:stop] = 1, *DRAWS[step.op](rng, size, **_ranges(step))
        return row

    @torch.no_grad()
    def apply(self, pixels: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """Edit every image by its own row.

        Args:
            pixels: (n, 3, S, S) uint8, on any device.
            table: (n, width) float32; where it lies on the host, nothing waits for the device.

        Returns:
            (n, 3, S, S) uint8 on the same device.
        """
        assert table.shape == (len(pixels), self.width), f"table of {tuple(table.shape)}, pixels {tuple(pixels.shape)}"
        images = max(1, _ROOM.get(pixels.device.type, _ROOM["cuda"]) // max(1, pixels[:1].numel()))
        out = pixels.clone(memory_format=torch.contiguous_format)
        for part, rows in zip(out.split(images), table.split(images), strict=True):
            for step, start, stop in self._columns():
                _edit(part, step.op, rows[:, start:stop])
        return out

    def _columns(self) -> Iterator[tuple[Step, int, int]]:
        start = 0
        for step in self.steps:
            stop = start + 1 + len(_parameters(step.op))
            yield step, start, stop
            start = stop


def _edit(pixels: torch.Tensor, op: str, columns: torch.Tensor) -> None:
    """Edit in place the images whose first column is not 0."""
    wanted = columns[:, 0].nonzero().squeeze(1)
    if not len(wanted):
        return
    strengths = columns[wanted, 1:].to(pixels.device, non_blocking=True).unbind(1)
    images = wanted.to(pixels.device, non_blocking=True)
    pixels[images] = _EDITS[op](pixels[images], **dict(zip(_parameters(op), strengths, strict=True)))


def _parameters(op: str) -> tuple[str, ...]:
    return tuple(inspect.signature(_EDITS[op]).parameters)[1:]


def _ranges(step: Step) -> dict[str, Any]:
    """The step's ranges, and the op's own where it names none."""
    given = inspect.signature(OPS[step.op]).parameters.values()
    own = {p.name: p.default for p in given if p.kind is p.KEYWORD_ONLY and p.name not in NEEDS[step.op]}
    return own | dict(step.ranges)


def _device_part(name: str, ops: Collection[str]) -> BatchedPipeline:
    """Return the steps of a loader's pipeline that are among these ops, in their order there."""
    nodes = PIPELINES[name].steps
    steps = [step for node in nodes for step in (node.steps if isinstance(node, AnyOrder) else [node])]
    return BatchedPipeline(tuple(step for step in steps if isinstance(step, Step) and step.op in ops))


BATCHED: Mapping[str, BatchedPipeline] = MappingProxyType(
    {
        "jitter.device": _device_part("sscd.blur", {"colour_jitter"}),
        "mild.device": _device_part("mild", TONES),
        "sscd.device": _device_part("sscd.blur", _EDITS),  # all but the crop, which the loader does
    }
)
"""Name -> pipeline of the device."""


def find_batched(name: str) -> BatchedPipeline:
    """Return the pipeline of that name.

    Raises:
        BadInput: there is none; the message names the nearest.
    """
    if name not in BATCHED:
        near = difflib.get_close_matches(name, BATCHED, n=1)
        raise BadInput(
            seen=f"no edits on the device named {name!r}",
            allowed=", ".join(BATCHED),
            remedy=f"did you mean {near[0]}?" if near else "choose one of these",
        )
    return BATCHED[name]


@torch.no_grad()
def mix(pixels: torch.Tensor, settings: config.Mix, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix some images with their partners: that of image i is image n - 1 - i, as it was.

    Args:
        pixels: (n, 3, S, S) uint8, on any device.
        settings: how often and how strongly.
        rng: the batch's own; all draws are made on the host.

    Returns:
        (n, 3, S, S) uint8 and (n, n) float32 on the same device: share of each image of the batch in each result; rows
        sum to 1.
    """
    n, device = len(pixels), pixels.device
    chosen = np.flatnonzero(rng.random(n) < settings.probability)
    drawn = torch.from_numpy(_draw_mixes(len(chosen), pixels.shape[-1], settings.beta, rng)).to(device)
    own, cut, top, left, height, width = drawn.unbind(1)
    first = torch.from_numpy(chosen).to(device)
    second = n - 1 - first
    foreign = boxes(pixels, top=top, left=left, height=height, width=width)
    kept = torch.where(cut[:, None, None, None] > 0, (~foreign).float(), own[:, None, None, None])
    mixed = pixels.clone()
    mixed[first] = as_bytes(torch.lerp(pixels[second].float(), pixels[first].float(), kept))
    weights = torch.eye(n, device=device)
    weights[first, first] = own
    weights[first, second] += 1 - own  # the middle one of an odd number is its own partner
    return mixed, weights


def overlapping(weights: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return (n, n) bool: True where two images share a source, the diagonal included.

    Args:
        weights: (n, n) of `mix`.
        labels: (n,) of the images before mixing, equal for copies; an image's sources are those of weight > 0.
    """
    sources = (weights > 0).float()
    same = (labels[:, None] == labels).float()
    return sources @ same @ sources.mT > 0


def _draw_mixes(count: int, side: int, beta: float, rng: np.random.Generator) -> np.ndarray:
    """(count, 6) float32: own share, whether by CutMix, and its box: top, left, height, width."""
    own = rng.beta(beta, beta, count)
    cut = rng.random(count) < 0.5
    half = (side * np.sqrt(1 - own)).astype(int)[:, None] // 2
    centre = rng.integers(side, size=(count, 2))
    low, high = np.maximum(centre - half, 0), np.minimum(centre + half, side)
    # A box cut off by the image's edge leaves more of the image than was drawn.
    left_over = 1 - (high - low).prod(1) / side**2
    return np.column_stack([np.where(cut, left_over, own), cut, low, high - low]).astype(np.float32)
