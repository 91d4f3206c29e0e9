"""The two views of BYOL (Grill et al., NeurIPS 2020, appendix B), which Barlow Twins and Momentum^2 Teacher share.

Blur radii are px at the training side of 224.
"""

from __future__ import annotations

from isckit.augment.steps import Pipeline, Step, step


def _view(blur: float, *more: Step) -> Pipeline:
    return Pipeline(
        (
            step("random_resized_crop", scale=(0.08, 1.0)),
            step("hflip", 0.5),
            step("colour_jitter", 0.8, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1),
            step("grayscale", 0.2),
            step("blur", blur, sigma=(0.1 / 224, 2 / 224)),
            *more,
        )
    )


PIPELINES = {"byol.first": _view(1.0), "byol.second": _view(0.1, step("solarize", 0.2, threshold=(0.5, 0.5)))}
"""Name -> pipeline."""
