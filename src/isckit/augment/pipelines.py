"""The named pipelines of the kit, and how a view gets its randomness.

Sources: the hard view's order and tables are those of the winning entry of the Descriptor track (Yokoo 2021,
"Contrastive Learning with Large Memory Bank and Negative Embedding Subtraction", and its training scripts).
"""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np

from isckit.augment.geometry import square
from isckit.augment.steps import AnyOrder, OneOf, Other, Pipeline, Row, Step
from isckit.types import BadInput


def _step(op: str, probability: float = 1.0, **ranges: Any) -> Step:
    return Step(op, probability, ranges)


def _hard(
    *,
    common: float,
    join: float,
    jitter: float,
    opacity: float,
    share: tuple[float, float],
    rare: tuple[Step, ...] = (),
) -> Pipeline:
    """The hard view: rotation, then joined with another picture or cropped strongly, then edits in any order.

    Args:
        common: probability of rotation, JPEG, perspective, text, emoji, edges.
        join: probability of another picture, on top or below.
        jitter: brightness, contrast and saturation vary by 1 +- this.
        opacity: lowest opacity of what lies on top.
        share: its size over the background's.
        rare: further steps among those in any order.
    """
    above, below = (_step(op, share=share, opacity=(opacity, 1.0)) for op in ("overlay", "underlay"))
    either = OneOf(((0.5, (above,)), (0.5, (below,))))
    edits = (
        _step("colour_jitter", brightness=jitter, contrast=jitter, saturation=jitter, hue=0.2),
        _step("pixelate", 0.25, ratio=(0.1, 1.0)),
        _step("pixel_shuffle", 0.25, share=(0.1, 0.1)),
        _step("jpeg", common, quality=(10, 50)),
        _step("grayscale", 0.25),
        _step("blur", 0.25, sigma=(0.0, 0.04)),
        _step("perspective", common, distortion=(0.5, 0.5)),
        _step("hflip", 0.5),
        _step("vflip", 0.1),
        _step("text", common, share=(0.1, 0.3)),
        _step("emoji", common, share=(0.1, 0.3)),
        _step("edge_enhance", min(common, 0.3)),
    )
    return Pipeline((
        _step("rotate", common, angle=(-180.0, 180.0)),
        OneOf((
            (join, (either, _step("resized_crop", scale=(0.7, 1.0)))),
            (1 - join, (_step("resized_crop", scale=(0.15, 1.0)),)),
        )),
        AnyOrder(edits + rare),
        _step("erase", 0.25, scale=(0.02, 0.33)),
    ))  # fmt: skip


PIPELINES: dict[str, Pipeline] = {
    "eval": Pipeline(),
    "weak": Pipeline((
        _step("resized_crop", scale=(0.5, 1.0)),
        _step("hflip", 0.5),
        _step("colour_jitter", 0.5, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.0),
    )),
    # Each copy keeps most of its content: what a network that starts from random weights can learn from.
    "mild": Pipeline((
        OneOf((
            (0.70, (_step("resized_crop", scale=(0.3, 1.0)),)),
            (0.10, (_step("overlay", share=(0.2, 0.5), opacity=(0.7, 1.0)),)),
            (0.10, (_step("underlay", share=(0.5, 0.9), opacity=(0.8, 1.0)),)),
            (0.10, (_step("pad"),)),
        )),
        AnyOrder((
            _step("hflip", 0.5),
            _step("rotate", 0.15, angle=(-25.0, 25.0)),
            _step("rotate90", 0.05),
            _step("aspect", 0.2),
            _step("colour_jitter", 0.8, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
            _step("grayscale", 0.1),
            _step("blur", 0.15, sigma=(0.0, 0.02)),
            _step("pixelate", 0.1, ratio=(0.25, 1.0)),
            _step("noise", 0.1),
            _step("jpeg", 0.2, quality=(15, 60)),
            _step("text", 0.1, share=(0.1, 0.2)),
            _step("emoji", 0.1, share=(0.1, 0.3)),
            _step("shapes", 0.1),
        )),
    )),
    "intermediate": _hard(common=0.30, join=0.075, jitter=0.75, opacity=0.5, share=(0.3, 0.7)),
    "strong": _hard(
        common=0.35, join=0.10, jitter=0.80, opacity=0.4, share=(0.2, 0.8),
        rare=(
            _step("meme", 0.05), _step("screenshot", 0.05), _step("stripes", 0.05), _step("collage", 0.03),
            _step("blend", 0.05), _step("pad", 0.05), _step("aspect", 0.1), _step("motion_blur", 0.05),
            _step("noise", 0.05), _step("shuffle_channels", 0.05), _step("invert", 0.03), _step("shapes", 0.05),
        ),
    ),
}  # fmt: skip
"""Name -> pipeline, called as `(image, rng, other, size)`. "eval" draws nothing: it is what extraction does."""


def find(name: str) -> Pipeline:
    """The pipeline of that name.

    Raises:
        BadInput: there is none; the message names the nearest.
    """
    if name not in PIPELINES:
        near = difflib.get_close_matches(name, PIPELINES, n=1)
        raise BadInput(
            seen=f"no augmentation named {name!r}",
            allowed=", ".join(PIPELINES),
            remedy=f"did you mean {near[0]}?" if near else "choose one of these",
        )
    return PIPELINES[name]


def describe(name: str) -> list[Row]:
    """The steps of a pipeline as text: (op, probability, ranges); branches are indented."""
    return [row for node in find(name).steps for row in node.rows()]


def view_rng(seed: int, epoch: int, index: int, view: int) -> np.random.Generator:
    """The generator of one view: a function of these four numbers (>= 0), whichever worker makes the view."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch, index, view])))


def contact_sheet(
    image: np.ndarray, name: str, *, rows: int, columns: int, size: int, seed: int, other: Other | None
) -> np.ndarray:
    """Show a pipeline: a white-ruled grid of the whole image, then rows * columns - 1 views of it.

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
