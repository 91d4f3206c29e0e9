"""Edits done on the device, a whole batch at once, after those of the loader.

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

from isckit.augment import batched_ops, batched_resample
from isckit.augment.batched_draws import DRAWS
from isckit.augment.nodes import AnyOrder
from isckit.augment.ops import NEEDS, OPS
from isckit.augment.pipelines import PIPELINES
from isckit.augment.sets.kit import TONES
from isckit.augment.steps import Step
from isckit.types import BadInput

_EDITS: Mapping[str, Callable[..., torch.Tensor]] = MappingProxyType({
    edit.__name__: edit
    for edit in (
        batched_ops.hflip, batched_ops.vflip, batched_ops.grayscale, batched_ops.colour_jitter, batched_ops.noise,
        batched_ops.erase, batched_resample.blur, batched_resample.pixelate, batched_resample.resized_crop,
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
        """Draw what is done to one view: what `Pipeline(self.steps)` would draw from the same generator.

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


def _of(name: str, ops: Collection[str]) -> BatchedPipeline:
    """The steps of a loader's pipeline that are among these ops, in the order they are listed in."""
    nodes = PIPELINES[name].steps
    steps = [step for node in nodes for step in (node.steps if isinstance(node, AnyOrder) else [node])]
    return BatchedPipeline(tuple(step for step in steps if isinstance(step, Step) and step.op in ops))


BATCHED: Mapping[str, BatchedPipeline] = MappingProxyType(
    {
        "jitter.device": _of("sscd.blur", {"colour_jitter"}),
        "mild.device": _of("mild", TONES),
        "sscd.device": _of("sscd.blur", _EDITS),  # all but the crop, which the loader does
    }
)
"""Name -> pipeline of the device."""


def find_batched(name: str) -> BatchedPipeline:
    """The pipeline of that name.

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
