"""The detector of pasted pictures, the pastes it is trained on, and the view sets and substitution that boxes give."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from isckit.config.base import STRICT, Count, NotNegativeInt, Positive, Share
from isckit.config.training import Optim


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Pastes:
    """Training pictures of the detector: a train image on another, edited; its box is the label.

    Attributes:
        background: width of the background as a part of its image's, of an aspect between 1:1.5 and 1.5:1 (imgFp's own
            overlay augmentation).
        height: of the pasted picture, as a part of the background's (imgFp: 0.4 to 0.8).
        stretch: factor on the width of the pasted picture, log-uniform.
        edits: pipelines of which one edits the pasted picture first, to its own shape.
        none: share of pictures without one.
        emoji: share with an emoji, which is a class of its own.
        emoji_side: side of an emoji as a part of the picture's shorter one.
        finish: share that is edited afterwards, every pixel in place.
    """

    background: tuple[Share, Share] = (0.8, 1.0)
    height: tuple[Share, Share] = (0.2, 0.8)
    stretch: tuple[Positive, Positive] = (0.6, 1.7)
    opacity: tuple[Share, Share] = (0.5, 1.0)
    edits: tuple[str, ...] = ("weak",)
    none: Share = 0.2
    emoji: Share = 0.3
    emoji_side: tuple[Share, Share] = (0.1, 0.4)
    finish: Share = 0.5

    def __post_init__(self) -> None:
        if not self.edits:
            raise ValueError('edits needs at least one pipeline; "eval" leaves the picture as it is')


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Detector:
    """A torchvision detector with two classes, overlay and emoji, that sees whole images as squares.

    Attributes:
        architecture: torchvision's by their names; fcos_mobilenet_v3_small: FCOS on a narrow feature pyramid, which
            learns from nothing in minutes on a CPU. ssdlite's loss learns nothing from pictures without a paste.
        pretrained: "none", "hub" (torchvision's COCO weights), or a file of weights of the same architecture; layers
            that depend on the number of classes start anew.
        image_size: side of the square.
        confidence: boxes below it are not written down.
        overlap: of two boxes of a class that overlap more (IoU), the surer stays.
        most: boxes kept an image.
        images_per_epoch: backgrounds drawn (0: each train image once), `batch_images` of them a step.
        ema: decay of the moving average that is kept (0: none).
    """

    name: str = "detector"
    architecture: Literal[
        "ssdlite320_mobilenet_v3_large",
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        "fasterrcnn_resnet50_fpn_v2",
        "fcos_mobilenet_v3_small",
    ] = "ssdlite320_mobilenet_v3_large"
    pretrained: str = "none"
    image_size: Count = 320
    confidence: Share = 0.1
    overlap: Share = 0.45
    most: Count = 20
    pastes: Pastes = Pastes()
    epochs: Count = 50
    images_per_epoch: NotNegativeInt = 0
    batch_images: Annotated[int, Field(gt=1)] = 16
    optim: Optim = Optim(name="sgd", lr=0.01, weight_decay=5e-4, warmup_epochs=3.0, clip=10.0)
    amp: bool = True
    ema: Share = 0.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Substitution:
    """Replacement of queries that are mostly a frame by the picture in it, before any other step.

    Attributes:
        boxes: a file of overlays (see `views.overlays`) that was made elsewhere; "" asks the recipe's own detector.
        confidence: the surest overlay above it is kept.
    """

    boxes: str = ""
    confidence: Share = 0.9


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Proposals:
    """The view set "proposals": selective search (Uijlings et al. 2013) with D2LV's settings, largest first.

    Attributes:
        scale, sigma, least_size: of the segmentation.
        least_pixels: segments of fewer pixels of the image are dropped.
        aspect: boxes longer than this times their width, or the other way round, are dropped.
        overlap: boxes that overlap a larger one by more (IoU) are then dropped.
        longest: pixels to which the image is reduced for the segmentation.
        most: boxes kept.
    """

    scale: float = 500.0
    sigma: float = 0.9
    least_size: Count = 10
    least_pixels: NotNegativeInt = 2_000
    aspect: float = 2.0
    overlap: Share = 0.5
    longest: Count = 512
    most: Count = 20


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Overlays:
    """The view set "overlays": boxes of the detector.

    Attributes:
        confidence, most: the surest `most` above `confidence` are views.
    """

    confidence: Share = 0.1
    most: Count = 5
