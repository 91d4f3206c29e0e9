"""The edits of the Matching track's third prize (Sun & Qin, arXiv 2112.02373): one to three of a list, none twice.

Ranges are the authors'; pixels are shares of 256 here. Where they use Pillow's filters, the nearest edits of the kit
stand in, sharpening and edges. Which two policies of AutoAugment they draw from is not told: those of ImageNet and of
CIFAR-10 are taken.
"""

from __future__ import annotations

from isckit.augment.nodes import AnyOrder
from isckit.augment.steps import Pipeline, step

_OPERATIONS = (
    step("meme", share=(50 / 256, 200 / 256)),
    step("screenshot"),
    step("emoji", share=(0.2, 0.7), opacity=(0.3, 1.0)),
    step("text", share=(0.1, 0.4), opacity=(0.5, 1.0), letters=(5, 9), lines=(1, 3)),
    step("corner_jitter", sigma=(100 / 512, 200 / 512)),
    step("aspect", ratio=(0.5, 2.0)),
    step("rotate_pad", angle=(-180.0, 180.0)),
    step("pad_square"),
    step("pad", share=(0.1, 0.3)),
    step("corner_crop", low=(0.1, 0.3), high=(0.7, 0.9)),
    step("underlay_by_height", share=(0.4, 0.8)),
    step("hflip"),
    step("other_format"),
    step("rotate_in_place", angle=(20.0, 80.0)),
    step("pixel_shuffle", share=(0.4, 0.6)),
    step("noise"),
    step("pixelate", ratio=(0.1, 0.5)),
    step("fade", level=(0.9, 0.9)),
    step("brightness", factor=(0.1, 2.0)),
    step("blur", sigma=(2 / 256, 10 / 256)),
    step("sharpen", factor=(10.0, 30.0)),
    step("jpeg", quality=(5, 20)),
    step("edge_enhance"),
    step("colour_jitter", brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1),
    step("colour_jitter", brightness=0.0, contrast=0.0, saturation=4.0, hue=0.0),
    step("grayscale"),
    step("shift_channels"),
    step("invert"),
    step("posterize", bits=(4, 4)),
    step("solarize", threshold=(0.75, 0.75)),
    step("equalize"),
    step("auto_augment", policy="imagenet"),
    step("auto_augment", policy="cifar10"),
)

PIPELINES = {"imgfp": Pipeline((AnyOrder(_OPERATIONS, some=(1, 3)), step("stretch")))}
"""Name -> pipeline."""
