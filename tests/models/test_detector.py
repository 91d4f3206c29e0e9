"""Boxes are fractions of the original image, cut by confidence and overlap, and weights fit or are refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from isckit.augment.pastes import EMOJI, OVERLAY
from isckit.config import Detector
from isckit.engine.detector_score import intersection_over_union
from isckit.models.detector import CLASSES, OverlayDetector, load_detector
from isckit.types import BadInput
from isckit.views.overlays import LABELS, Box

ARCHITECTURES = [
    "fcos_mobilenet_v3_small",
    "ssdlite320_mobilenet_v3_large",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
]
SMALL = Detector(architecture="fcos_mobilenet_v3_small", image_size=64, confidence=0.0, most=50)


def fresh(settings=SMALL, seed=0):
    torch.manual_seed(seed)
    detector = OverlayDetector(settings).eval()
    if settings.architecture == SMALL.architecture:
        # Untrained, half of its boxes have no width, and all are equally sure.
        with torch.no_grad():
            detector.network.head.regression_head.bbox_reg.bias.fill_(1.0)
            detector.network.head.classification_head.cls_logits.weight.mul_(30)
    return detector


def batch(count, size=64, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(256, size=(count, size, size, 3), dtype=np.uint8))


class Canned(torch.nn.Module):
    """Stands for a network that finds what it is told to, in pixels of the square."""

    def __init__(self, *boxes):
        super().__init__()
        corners, scores, labels = zip(*boxes, strict=True)
        self.found = {"boxes": torch.tensor(corners), "scores": torch.tensor(scores), "labels": torch.tensor(labels)}

    def forward(self, images):
        return [self.found for _ in images]


def test_the_labels_of_training_are_those_of_the_boxes():
    assert LABELS[OVERLAY - 1] == "overlay" and LABELS[EMOJI - 1] == "emoji" and len(LABELS) + 1 == CLASSES


@pytest.mark.parametrize("shape", [(30, 90), (200, 50), (64, 64), (1, 7)])
def test_a_box_comes_back_where_it_was_in_the_image(shape):
    """Closed form: what lies at (x, y) of the image lies at (x * 64 / width, y * 64 / height) of the square."""
    detector = fresh()
    height, width = shape
    image = np.zeros((height, width, 3), np.uint8)
    assert detector.prepare(image).shape == (64, 64, 3)
    left, top, right, bottom = width * 0.25, height * 0.5, width * 0.75, height * 1.0
    square = (left * 64 / width, top * 64 / height, right * 64 / width, bottom * 64 / height)
    detector.network = Canned((square, 0.5, OVERLAY))
    ((found,),) = detector.detect(torch.from_numpy(detector.prepare(image)[None]))
    assert found == Box(0.25, 0.5, 0.75, 1.0, 0.5, "overlay")
    assert (found.x0 * width, found.y1 * height) == (left, bottom)


def test_boxes_are_clipped_sorted_and_never_empty_or_of_nothing():
    detector = fresh()
    detector.network = Canned(
        ((-5.0, 0.0, 32.0, 70.0), 0.25, EMOJI),
        ((8.0, 8.0, 8.0, 16.0), 0.9, OVERLAY),
        ((0.0, 0.0, 16.0, 16.0), 0.75, OVERLAY),
        ((0.0, 0.0, 16.0, 32.0), 0.8, 0),
        ((65.0, 0.0, 80.0, 16.0), 0.9, OVERLAY),
    )
    (found,) = detector.detect(batch(1))
    assert found == [Box(0, 0, 0.25, 0.25, 0.75, "overlay"), Box(0, 0, 0.5, 1, 0.25, "emoji")]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_thresholds_are_those_of_the_settings(architecture):
    settings = replace(SMALL, architecture=architecture, overlap=0.3, most=12)
    every = [box for found in fresh(settings).detect(batch(3)) for box in found]
    assert len(every) > 12
    middle = float(np.median([box.confidence for box in every]))
    cut = fresh(replace(settings, confidence=middle, most=5)).detect(batch(3))
    assert all(len(found) <= 5 and all(box.confidence >= middle - 1e-5 for box in found) for found in cut)
    assert 0 < sum(map(len, cut)) < len(every)
    for found in fresh(settings).detect(batch(3)):
        assert found == sorted(found, key=lambda box: -box.confidence)
        for k, first in enumerate(found):
            for second in found[:k]:
                assert first.label != second.label or intersection_over_union(first, second) <= 0.3 + 1e-3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_found_does_not_depend_on_the_batch(architecture):
    detector, pixels = fresh(replace(SMALL, architecture=architecture, most=10)), batch(5)
    alone = [detector.detect(pixels[k : k + 1])[0] for k in range(5)]
    for found in (detector.detect(pixels), detector.detect(pixels[:2]) + detector.detect(pixels[2:])):
        for one, other in zip(alone, found, strict=True):
            assert [box.label for box in one] == [box.label for box in other]
            assert np.allclose([box[:5] for box in one], [box[:5] for box in other], atol=2e-5)


def test_detection_twice_gives_the_same():
    detector = fresh()
    assert detector.detect(batch(3)) == detector.detect(batch(3))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_pictures_with_and_without_pastes_have_a_loss_with_a_gradient(architecture):
    detector = fresh(replace(SMALL, architecture=architecture)).train()
    boxes = [torch.tensor([[0.1, 0.2, 0.6, 0.9], [0.5, 0.5, 0.7, 0.7]]), torch.zeros(0, 4)]
    parts = detector(batch(2), boxes, [torch.tensor([1, 2]), torch.zeros(0, dtype=torch.int64)])
    loss = sum(parts.values())
    loss.backward()
    assert torch.isfinite(loss) and any(p.grad is not None and p.grad.abs().sum() > 0 for p in detector.parameters())


def test_weights_of_another_number_of_classes_start_all_but_their_layer(tmp_path):
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    torch.manual_seed(1)
    published = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=91)
    torch.save(published.state_dict(), tmp_path / "coco.pth")
    settings = Detector(architecture="ssdlite320_mobilenet_v3_large", pretrained=str(tmp_path / "coco.pth"))
    started, table = fresh(settings).network.state_dict(), published.state_dict()
    other = [key for key in table if not torch.equal(started[key], table[key])]
    assert other and all(key.startswith("head.classification_head.") for key in other)


def test_weights_of_another_architecture_are_refused(tmp_path):
    torch.save({"backbone.body.conv1.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(BadInput, match="do not fit"):
        fresh(replace(SMALL, pretrained=str(tmp_path / "other.pth")))
    with pytest.raises(BadInput, match="hub"):
        fresh(replace(SMALL, pretrained="hub"))


def test_given_weights_are_loaded_whole_or_refused(tmp_path):
    weights = fresh(seed=3).state_dict()
    loaded = load_detector(replace(SMALL, pretrained="nowhere.pth"), weights, device=torch.device("cpu"))
    assert not loaded.training and loaded.detect(batch(2)) == fresh(seed=3).detect(batch(2))
    first = next(iter(weights))
    for broken in (
        {key: value for key, value in weights.items() if key != first},
        weights | {"more": torch.zeros(1)},
        weights | {first: torch.zeros(1)},
    ):
        with pytest.raises(BadInput, match="1 tensors missing"):
            load_detector(SMALL, broken, device=torch.device("cpu"))
