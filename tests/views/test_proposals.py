"""Selective search: boxes inside the image, filtered, few that overlap, and a function of the pixels alone."""

import numpy as np
import pytest

from isckit.config import Proposals, replace
from isckit.views.proposals import distinct, propose, regions

SETTINGS = Proposals(scale=100.0, longest=96, least_pixels=200)


@pytest.fixture(scope="module")
def scene():
    """A grey picture of 120 x 180 with three noisy rectangles on it: 50 x 60 at (10, 20), 40 x 40, 8 x 150."""
    rng = np.random.default_rng(0)
    image = np.full((120, 180, 3), 128, np.uint8)
    for (top, left, height, width), colour in {
        (10, 20, 50, 60): (220, 30, 30),
        (65, 100, 40, 40): (20, 200, 40),
        (108, 10, 8, 150): (30, 30, 220),
    }.items():
        noise = rng.integers(-8, 9, (height, width, 3))
        image[top : top + height, left : left + width] = np.clip(np.array(colour) + noise, 0, 255)
    return image


@pytest.fixture(scope="module")
def proposed(scene):
    return propose(scene, SETTINGS)


def iou(a, b):
    sides = np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2])
    common = np.prod(sides.clip(min=0))
    return common / (np.prod(a[2:]) + np.prod(b[2:]) - common)


def test_rectangles_on_a_flat_ground_are_found(proposed):
    pixels = proposed * [120, 180, 120, 180]
    for box in ([10, 20, 50, 60], [65, 100, 40, 40]):
        assert max(iou(np.array(box), found) for found in pixels) > 0.7


def test_boxes_lie_in_the_image_by_falling_area(proposed):
    assert len(proposed) >= 2 and proposed.dtype == np.float64
    assert (proposed[:, :2] >= 0).all() and (proposed[:, 2:] > 0).all()
    assert (proposed[:, :2] + proposed[:, 2:] <= 1).all()
    area = proposed[:, 2] * proposed[:, 3]
    assert (np.diff(area) <= 1e-12).all()


def test_long_boxes_and_small_segments_are_dropped(scene, proposed):
    height, width = proposed[:, 2] * 120, proposed[:, 3] * 180
    assert (np.maximum(height / width, width / height) <= SETTINGS.aspect + 1e-9).all()
    without_bounds = propose(scene, replace(SETTINGS, aspect=1e9, least_pixels=0, overlap=1.0, most=1000))
    assert len(without_bounds) > len(proposed)
    # 1,600 of 21,600 pixels: the segment of the small rectangle goes, that of the large one stays.
    fewer = propose(scene, replace(SETTINGS, least_pixels=2_200)) * [120, 180, 120, 180]
    assert max(iou(np.array([10, 20, 50, 60]), found) for found in fewer) > 0.7
    assert max(iou(np.array([65, 100, 40, 40]), found) for found in fewer) < 0.7


def test_segments_are_counted_in_pixels_of_the_image_not_of_the_reduced_one(scene):
    reduced = replace(SETTINGS, longest=60, least_pixels=1_000)
    _, sizes = regions(scene[::3, ::3].copy(), reduced)
    assert sizes.max() > 1_000 > 1_600 / 9
    found = propose(scene, reduced) * [120, 180, 120, 180]
    assert max(iou(np.array([65, 100, 40, 40]), box) for box in found) > 0.6


def test_no_two_boxes_overlap_by_more_than_the_bound(scene):
    for bound in (0.1, 0.5):
        boxes = propose(scene, replace(SETTINGS, overlap=bound))
        assert all(iou(a, b) <= bound + 0.05 for i, a in enumerate(boxes) for b in boxes[:i])


def test_the_cap_keeps_the_largest(scene, proposed):
    assert np.array_equal(propose(scene, replace(SETTINGS, most=2)), proposed[:2])


def test_the_same_pixels_give_the_same_boxes(scene, proposed):
    assert np.array_equal(propose(np.ascontiguousarray(scene[:, ::-1])[:, ::-1], SETTINGS), proposed)


@pytest.mark.parametrize("size", [(1, 1), (2, 90), (4, 4)])
def test_tiny_and_flat_images_have_boxes_inside_or_none(size):
    boxes = propose(np.full((*size, 3), 9, np.uint8), replace(SETTINGS, least_pixels=0))
    assert boxes.shape[1] == 4 and (boxes[:, :2] + boxes[:, 2:] <= 1).all()


def test_suppression_equals_the_plain_loop():
    rng = np.random.default_rng(1)
    boxes = np.concatenate([rng.integers(0, 40, (60, 2)), rng.integers(1, 30, (60, 2))], axis=1)
    kept = []
    for k, box in enumerate(boxes):
        low, high = box[:2], box[:2] + box[2:]

        def share(other, low=low, high=high, box=box):
            sides = np.minimum(high, other[:2] + other[2:]) - np.maximum(low, other[:2]) + 1
            common = np.prod(np.maximum(sides, 0))
            return common / (np.prod(box[2:] + 1) + np.prod(other[2:] + 1) - common)

        if all(share(boxes[j]) <= 0.5 for j in kept):
            kept.append(k)
    assert distinct(boxes, 0.5, most=100).tolist() == kept
    assert distinct(boxes, 0.5, most=7).tolist() == kept[:7]
