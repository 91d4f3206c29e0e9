"""The augmentation of the Descriptor track's second prize (Papadakis & Addicam 2021, "Producing augmentation-invariant
embeddings from real-life imagery", and its code): 23 edits in a fixed order, scaled by an intensity in (0, 1].

Its pictures are stored as squares of 384 px; px are shares of that side here. Pages are drawn (`pages`), where the
published system cut them from query images.
"""

from __future__ import annotations

from isckit.augment.draws import Choice
from isckit.augment.nodes import InTurn, OneOf, Turn
from isckit.augment.steps import CANVAS, Pipeline, Step, step

SIDE = 384
"""Side of the stored pictures in px."""


def at(intensity: float) -> Pipeline:
    """Return the pipeline of models 9, 10 and 24 to 26 at an intensity in (0, 1].

    A quality of JPEG that falls with the intensity is the published code's own.
    """
    return Pipeline((step("stretch", scale=CANVAS), InTurn(_turns(intensity, shift=0.05, caption=145, early=False))))


def early() -> Pipeline:
    """Return the pipeline of models 5 and 19: no intensity, no exclusions, channel edits more often."""
    return Pipeline((step("stretch", scale=CANVAS), InTurn(_turns(1.0, shift=25 / SIDE, caption=245, early=True))))


def _turns(i: float, *, shift: float, caption: int, early: bool) -> tuple[Turn, ...]:
    def turn(name: str, probability: float, *steps: Step | OneOf, unless: tuple[str, ...] = ()) -> Turn:
        return Turn(name, probability, steps, () if early else unless)

    def half(first: Step, second: Step) -> OneOf:
        return OneOf(((0.5, (first,)), (0.5, (second,))))

    channel = 0.10 if early else 0.05 * i
    joined = ("perspective", "overlay")
    coloured = ("grayscale", "page")
    return (
        turn("downscale", 0.10, step("downscale", factor=(0.5, 0.9) if early else (0.6, 1.0))),
        turn("rotate", 0.10 * i, step("rotate", angle=Choice(tuple(i * k for k in range(361))))),
        turn("perspective", 0.10 * i, step("corner_jitter", sigma=(30 * i / SIDE,) * 2, border=("black", "cropped"))),
        turn("jpeg", 0.10, step("jpeg", quality=Choice(tuple(int(i * k) for k in range(10, 51))))),
        turn("jitter", 0.25 if early else 0.20, step("enhance", factor=(0.25, 1.75), intensity=i)),
        turn("grayscale", 0.10 * i, step("grayscale")),
        turn("opacity", 0.05 * i, step("fade", level=(0.6, 1.0))),
        turn("safe size", 1.0, step("enlarge")),
        turn("crop", 0.10 * i, step(
            "corner_crop", low=Choice((0, 1 / 16, 1 / 8, 1 / 4)), high=Choice((3 / 4, 7 / 8, 15 / 16, 1))
        ), unless=("perspective",)),
        turn("pad", 0.05 * i, half(step("pad", share=(0.0, 0.1 * i)), step("pad_square")), unless=("perspective",)),
        turn("overlay", 0.10 * i, half(
            step("overlay_by_height", share=(0.1, 0.7), opacity=(0.2, 1.2), corner=(0.0, 1.0)),
            step("underlay", share=(0.4, 0.8), opacity=(0.4, 1.4)),
        ), unless=("perspective",)),
        turn("blur or sharpen", 0.10 * i, half(
            step("blur", sigma=Choice(tuple(i * (0.1 + k) / SIDE for k in (1, 2, 3, 4)))),
            step("sharpen", factor=(1.0, 1 + 50 * i)),
        )),
        turn("pixel shuffle", 0.10, step("pixel_shuffle", share=(0.0, 0.2 * i))),
        turn("safe size again", 1.0, step("enlarge")),
        turn("stripes", 0.10 * i, step("stripes", width=(0.05, 0.25), density=(0.0, 0.8), opacity=(0.1, 1.0))),
        turn("emoji", 0.10 * i, step("emoji", share=(0.05, 1.0), opacity=(0.2, 1.0))),
        turn("text", 0.10 * i, step(
            "text", share=Choice((0.10, 0.15, 0.25, 0.30, 0.40)), opacity=(0.2, 1.0), letters=(5, 10), lines=(1, 1)
        )),
        turn("pixelise", 0.10 * i, step("pixelate", ratio=Choice((1 / 8, 1 / 4, 1 / 2, 3 / 4)), look=("soft",))),
        turn("hflip", 0.50, step("hflip")),
        turn("vflip", 0.10, step("vflip")),
        turn("caption", 0.10 * i, step("meme", share=(20 / SIDE, caption / SIDE)), unless=("overlay",)),
        turn("page", 0.05 * i, step("page"), unless=joined),
        turn("channel inversion", channel, step("invert", none=True), unless=coloured),
        turn("channel swap", channel, step("swap_channels", repeated=0.25), unless=coloured),
        turn("channel shift", channel, step("shift_channels", share=shift), unless=coloured),
    )  # fmt: skip


PIPELINES = {"s_square": at(1.0), "s_square.early": early()}
"""Name -> pipeline."""
