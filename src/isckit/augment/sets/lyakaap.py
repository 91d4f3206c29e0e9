"""The views of the Descriptor track's first prize (Yokoo 2021, "Contrastive Learning with Large Memory Bank and
Negative Embedding Subtraction for Accurate Copy Detection", and its training scripts).

It states pixels at the network's side of each stage (256, 384, 512); here they are shares of the side.
"""

from __future__ import annotations

from isckit.augment.draws import Choice
from isckit.augment.nodes import AnyOrder, OneOf
from isckit.augment.steps import Pipeline, step


def _hard(
    *,
    side: int,
    common: float,
    edges: float,
    join: float,
    jitter: float,
    opacity: float,
    share: tuple[float, float],
) -> Pipeline:
    """Return the hard view: rotation, another picture or a strong crop, then edits in any order.

    Args:
        side: the network's side of that stage in px.
        common: probability of rotation, JPEG, perspective, text, emoji.
        edges: probability of edge enhancement.
        join: probability of another picture, on top or below.
        jitter: brightness, contrast and saturation vary by 1 +- this.
        opacity: lowest opacity of what lies on top.
        share: its height over the background's.
    """
    above, below = (step(op, share=share, opacity=(opacity, 1.0)) for op in ("overlay_by_height", "underlay_by_height"))
    either = OneOf(((0.5, (above,)), (0.5, (below,))))
    edits = (
        step("colour_jitter", brightness=jitter, contrast=jitter, saturation=jitter, hue=0.2),
        step("pixelate", 0.25, ratio=(0.1, 1.0), look=("soft",)),
        step("pixel_shuffle", 0.25, share=(0.1, 0.1)),
        step("jpeg", common, quality=Choice((10, 20, 30, 50))),
        step("grayscale", 0.25),
        step("blur", 0.25, sigma=(0.0, 10 / side)),
        step("perspective", common, distortion=(0.5, 0.5)),
        step("hflip", 0.5),
        step("vflip", 0.1),
        step("text", common, share=(0.1, 0.3), letters=(5, 9), lines=(1, 2)),
        step("emoji", common, share=(0.1, 0.3), category="smileys"),
        step("edge_enhance", edges),
    )
    return Pipeline((
        step("rotate", common, angle=(0.0, 180.0)),
        OneOf((
            (join, (either, step("random_resized_crop", scale=(0.7, 1.0)))),
            (1 - join, (step("random_resized_crop", scale=(0.15, 1.0)),)),
        )),
        AnyOrder(edits),
        step("erase", 0.25, scale=(0.02, 0.33), ratio=(0.3, 3.3), gaussian=True),
    ))  # fmt: skip


PIPELINES = {
    "lyakaap.moderate": Pipeline((step("random_resized_crop", scale=(0.7, 1.0)), step("hflip", 0.5))),
    "lyakaap.weak": _hard(
        side=256, common=0.25, edges=0.25, join=0.05, jitter=0.70, opacity=0.6, share=(0.4, 0.6)
    ),
    "lyakaap.intermediate": _hard(
        side=384, common=0.30, edges=0.30, join=0.075, jitter=0.75, opacity=0.5, share=(0.3, 0.7)
    ),
    "lyakaap.strong": _hard(
        side=512, common=0.35, edges=0.30, join=0.10, jitter=0.80, opacity=0.4, share=(0.2, 0.8)
    ),
}  # fmt: skip
"""Name -> pipeline: view A of stages 1 to 3 is "moderate", view B the hard one of the stage."""
