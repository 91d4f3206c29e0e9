"""All named pipelines, one file a system in `sets`, and the generator of each view."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from isckit.augment.geometry import square
from isckit.augment.sets import byol, d2lv, imgfp, kit, lyakaap, s_square, separate, sscd, vision_force
from isckit.augment.steps import Other, Pipeline, StepRow
from isckit.types import BadInput

PIPELINES: Mapping[str, Pipeline] = MappingProxyType(
    kit.PIPELINES
    | imgfp.PIPELINES
    | lyakaap.PIPELINES
    | s_square.PIPELINES
    | vision_force.PIPELINES
    | sscd.PIPELINES
    | separate.PIPELINES
    | d2lv.PIPELINES
    | byol.PIPELINES
)
"""Name -> pipeline, called as `(image, rng, other, size)`. "eval" draws nothing: it is what extraction does."""

SCALED: Mapping[str, Callable[[float], Pipeline]] = MappingProxyType({"s_square": s_square.at})
"""Name -> the pipeline at an intensity: these are also found as NAME@INTENSITY."""


@functools.cache
def find(name: str) -> Pipeline:
    """Return the pipeline of that name; NAME@INTENSITY, intensity in (0, 1], where the set has one.

    Raises:
        BadInput: there is none, the message names the nearest; or no such intensity.
    """
    family, at, intensity = name.partition("@")
    if at and family in SCALED:
        return SCALED[family](_intensity(name, intensity))
    if at and family in PIPELINES:
        raise BadInput(
            seen=f"{name!r}: {family} has no intensity",
            allowed=f"@ after {', '.join(SCALED)} only",
            remedy=f"write {family}",
        )
    if name not in PIPELINES:
        near = difflib.get_close_matches(family, PIPELINES, n=1)
        raise BadInput(
            seen=f"no augmentation named {name!r}",
            allowed=", ".join((*PIPELINES, *(f"{scaled}@INTENSITY" for scaled in SCALED))),
            remedy=f"did you mean {near[0]}?" if near else "choose one of these",
        )
    return PIPELINES[name]


def _intensity(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise BadInput(
            seen=f"{name!r}: intensity {text!r}",
            allowed="a number above 0, at most 1",
            remedy="write the intensity like s_square@0.75",
        )
    return value


def describe(name: str) -> list[StepRow]:
    """Return the steps of a pipeline as text: (op, probability, ranges); branches are indented."""
    return [row for node in find(name).steps for row in node.rows()]


def view_rng(seed: int, epoch: int, index: int, view: int) -> np.random.Generator:
    """Return the generator of one view: a function of these four numbers (>= 0), whichever worker makes the view."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch, index, view])))


def contact_sheet(
    image: np.ndarray, name: str, *, rows: int, columns: int, size: int, seed: int, other: Other | None
) -> np.ndarray:
    """Return a white-ruled grid that shows a pipeline: the whole image, then rows * columns - 1 views of it.

    Returns:
        (rows * (size + 2) + 2, columns * (size + 2) + 2, 3) uint8.
    """
    pipeline, rule = find(name), 2
    sheet = np.full((rows * (size + rule) + rule, columns * (size + rule) + rule, 3), 255, np.uint8)
    for k in range(rows * columns):
        tile = square(image, size) if k == 0 else pipeline(image, view_rng(seed, 0, k, 0), other, size)
        top, left = (rule + part * (size + rule) for part in divmod(k, columns))
        sheet[top : top + size, left : left + size] = tile
    return sheet
