"""A detector of pictures pasted on pictures, trained on pastes that the kit makes from train images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from isckit.vocabulary.base import STRICT, Count, NotNegative, NotNegativeInt, Share
from isckit.vocabulary.training import Optim


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Pastes:
    """How training pictures are made: a train image on another, edited; its box is the label.

    height: of the pasted picture as a part of the background's, from .. to (imgFp: 0.4 to 0.8).
    edits: pipelines of which one edits the pasted picture. none: share of pictures with nothing on them.
    emoji: share of pictures with an emoji as well, which is a class of its own.
    """

    height: tuple[Share, Share] = (0.2, 0.8)
    opacity: tuple[Share, Share] = (0.5, 1.0)
    edits: tuple[str, ...] = ("weak",)
    none: Share = 0.2
    emoji: Share = 0.3


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Detector:
    """A torchvision detector with two classes, overlay and emoji.

    confidence: boxes below it are not written down. most: boxes kept an image.
    """

    name: str = "detector"
    architecture: Literal[
        "ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_resnet50_fpn_v2"
    ] = "ssdlite320_mobilenet_v3_large"
    pretrained: str = "none"
    image_size: Count = 320
    confidence: Share = 0.1
    overlap: Share = 0.45
    most: Count = 20
    pastes: Pastes = Pastes()
    epochs: NotNegativeInt = 50
    images_per_epoch: NotNegativeInt = 0
    batch_images: Annotated[int, Field(gt=1)] = 16
    optim: Optim = Optim(name="sgd", lr=0.01, weight_decay=5e-4, warmup_epochs=3.0, clip=10.0)
    ema: NotNegative = 0.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Substitution:
    """Queries that are mostly a frame are replaced by the picture in it, before anything else looks at them.

    The surest overlay above `confidence` is what is kept. `boxes` is a file of overlays (see `views.overlays`) that was
    made elsewhere; "" asks the recipe's own detector.
    """

    boxes: str = ""
    confidence: Share = 0.9


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Proposals:
    """The view set "proposals": selective search (Uijlings et al. 2013) with D2LV's settings, largest first.

    scale, sigma, least_size: of the segmentation, on the image reduced to `longest` pixels. Segments of fewer than
    `least_pixels` pixels of the image, and boxes longer than `aspect` times their width or the other way round, are
    dropped; then boxes that overlap a larger one by more than `overlap` (IoU). `most` are kept.
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
    """The view set "overlays": what the detector found, the surest `most` above `confidence`."""

    confidence: Share = 0.1
    most: Count = 5
