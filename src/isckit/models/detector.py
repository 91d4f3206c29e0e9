"""Detectors of pasted pictures: torchvision's, for the two classes overlay and emoji, on whole images as squares.

Images are resized to a square, aspect ignored, so that boxes as fractions of it are fractions of the image: there is no
letterbox whose offset would have to be undone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from isckit import config
from isckit.augment.geometry import square
from isckit.runs.checkpoints import read_weights
from isckit.types import BadInput
from isckit.views.overlays import LABELS, Box

CLASSES = 1 + len(LABELS)
"""Nothing, then the labels in their order."""
DIGITS = 5
"""Decimals of corners and confidences."""
_OF_CLASSES = ("roi_heads.box_predictor.", "head.classification_head.")
"""Layers whose shape depends on the number of classes."""
_PYRAMID = 64
"""Channels of the narrow feature pyramid."""


class OverlayDetector(nn.Module):
    """The detector of a recipe; weights as `pretrained` says.

    Raises:
        BadInput: a file of weights that does not fit.
    """

    def __init__(self, settings: config.Detector) -> None:
        super().__init__()
        self.settings = settings
        self.network = _network(settings)
        if settings.pretrained != "none":
            _start_from(self.network, settings)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """Return (S, S, 3) uint8 of (H, W, 3) uint8."""
        return square(image, self.settings.image_size)

    def forward(
        self, pixels: torch.Tensor, boxes: Sequence[torch.Tensor], labels: Sequence[torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return the parts of the loss of a batch in training.

        Args:
            pixels: (B, S, S, 3) uint8.
            boxes: of each image (n, 4) float32: left, top, right, bottom as fractions.
            labels: of each image (n,) int64, from 1.
        """
        size = self.settings.image_size
        targets = [{"boxes": own * size, "labels": kinds} for own, kinds in zip(boxes, labels, strict=True)]
        return self.network(_planes(pixels), targets)

    @torch.inference_mode()
    def detect(self, prepared: torch.Tensor) -> list[list[Box]]:
        """Return the boxes of each of (B, S, S, 3) uint8 images, the surest first; call it in evaluation mode."""
        assert not self.training
        return [self._boxes(found) for found in self.network(_planes(prepared))]

    def _boxes(self, found: Mapping[str, torch.Tensor]) -> list[Box]:
        """Return corners as fractions, clipped and rounded to DIGITS, below which other batch sizes round otherwise."""
        corners = _fractions(found["boxes"].double() / self.settings.image_size)
        scores, labels = _fractions(found["scores"]), found["labels"].tolist()
        # FCOS has a score for label 0 as well, which is the label of nothing.
        boxes = [Box._make((*c, s, LABELS[k - 1])) for c, s, k in zip(corners, scores, labels, strict=True) if k]
        whole = [box for box in boxes if box.x0 < box.x1 and box.y0 < box.y1]
        return sorted(whole, key=lambda box: (-box.confidence, box))


def load_detector(
    settings: config.Detector, weights: Mapping[str, torch.Tensor], *, device: torch.device
) -> OverlayDetector:
    """Return the detector with given weights, keyed as in its state_dict, in evaluation mode.

    Raises:
        BadInput: tensors missing, left over or of another shape.
    """
    detector = OverlayDetector(config.replace(settings, pretrained="none"))
    expected = detector.state_dict()
    wrong = sorted(expected.keys() ^ weights.keys())
    wrong += [key for key in expected if key in weights and weights[key].shape != expected[key].shape]
    if wrong:
        raise BadInput(
            seen=f"weights of {settings.name}: {len(wrong)} tensors missing, unknown or of another shape: "
            f"{', '.join(wrong[:5])}",
            allowed=f"exactly the tensors of {settings.architecture}",
            remedy="use the recipe that the weights were trained with",
        )
    detector.load_state_dict(weights)
    return detector.to(device).eval()


def _fractions(values: torch.Tensor) -> list[Any]:
    return values.double().cpu().clamp(0, 1).round(decimals=DIGITS).tolist()


def _planes(pixels: torch.Tensor) -> list[torch.Tensor]:
    """Return (B, S, S, 3) bytes as torchvision's detectors take them: a list of (3, S, S) in 0..1."""
    return list(pixels.permute(0, 3, 1, 2).float() / 255)


def _network(settings: config.Detector) -> Any:
    from torchvision.models import detection
    from torchvision.models.detection.transform import GeneralizedRCNNTransform

    thresholds = {
        "score_thresh": settings.confidence,
        "nms_thresh": settings.overlap,
        "detections_per_img": settings.most,
    }
    fresh: dict[str, Any] = {"weights": None, "weights_backbone": None, "num_classes": CLASSES}
    network: Any
    if settings.architecture == "fcos_mobilenet_v3_small":
        network = _narrow_fcos(thresholds)
    elif settings.architecture.startswith("fasterrcnn"):
        named = {f"box_{key}": value for key, value in thresholds.items()}
        network = getattr(detection, settings.architecture)(**fresh, **named)
    else:
        network = getattr(detection, settings.architecture)(**fresh, **thresholds)
    own, size = network.transform, settings.image_size
    # Images come at their size: the network's own resize, to another one, is left out.
    network.transform = GeneralizedRCNNTransform(
        size, size, own.image_mean, own.image_std, size_divisible=1, fixed_size=(size, size), _skip_resize=True
    )
    return network


def _narrow_fcos(thresholds: Mapping[str, Any]) -> nn.Module:
    """Return FCOS (Tian et al. 2019) on strides 8, 16 and 32 of MobileNetV3-small, and 64 above; two layers a head."""
    from torchvision.models import mobilenet_v3_small
    from torchvision.models.detection import FCOS
    from torchvision.models.detection.backbone_utils import BackboneWithFPN
    from torchvision.models.detection.fcos import FCOSHead

    features = mobilenet_v3_small(weights=None).features
    taken = {"3": "0", "8": "1", "11": "2"}
    widths = [features[int(layer)].out_channels for layer in taken]
    head = FCOSHead(_PYRAMID, 1, CLASSES, num_convs=2)
    anchors = _anchors((8, 16, 32, 64))
    backbone = BackboneWithFPN(features, taken, widths, _PYRAMID)
    return FCOS(backbone, CLASSES, anchor_generator=anchors, head=head, **thresholds)


def _anchors(sizes: tuple[int, ...]) -> nn.Module:
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    return AnchorGenerator(sizes=tuple((size,) for size in sizes), aspect_ratios=((1.0,),) * len(sizes))


def _start_from(network: nn.Module, settings: config.Detector) -> None:
    """Load published weights; layers that depend on the number of classes stay fresh where they do not fit."""
    weights = _published(settings.architecture) if settings.pretrained == "hub" else None
    table = weights() if weights else read_weights(Path(settings.pretrained))
    expected = network.state_dict()
    fit = {key: value for key, value in table.items() if key in expected and value.shape == expected[key].shape}
    unfit = [key for key in expected.keys() ^ fit.keys() if not key.startswith(_OF_CLASSES)]
    unfit += sorted(table.keys() - expected.keys())
    if unfit:
        raise BadInput(
            seen=f"{settings.pretrained}: {len(unfit)} tensors do not fit, or are not there: {', '.join(unfit[:3])}",
            allowed=f"the weights of torchvision's {settings.architecture}, of any number of classes",
            remedy="name such a file in detector.pretrained, or none",
        )
    network.load_state_dict(expected | fit)


def _published(architecture: str) -> Callable[[], Mapping[str, torch.Tensor]]:
    from torchvision.models import get_model_weights, list_models

    if architecture not in list_models():
        raise BadInput(
            seen=f"{architecture} from the hub",
            allowed="architectures that torchvision has weights of, or a local file",
            remedy="set detector.pretrained=none, or choose another detector.architecture",
        )
    chosen = get_model_weights(architecture).DEFAULT
    return lambda: chosen.get_state_dict(progress=False)
