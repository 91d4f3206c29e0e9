import numpy as np
import pytest

from isckit.engine.detector_score import intersection_over_union, score_boxes
from isckit.views.overlays import Box


def box(confidence, corners=(0.0, 0.0, 0.5, 0.5), label="overlay"):
    return Box(*corners, confidence, label)


def test_overlap_of_two_boxes_in_closed_form():
    half = box(1, (0.5, 0.0, 1.0, 1.0))
    assert intersection_over_union(half, half) == 1
    assert intersection_over_union(box(1, (0, 0, 0.5, 1)), half) == 0, "they touch"
    assert intersection_over_union(box(1, (0.25, 0, 0.75, 1)), half) == pytest.approx(0.25 / 0.75)
    assert intersection_over_union(box(1, (0, 0, 0.1, 0.1)), half) == 0


def test_a_curve_by_hand():
    far = (0.6, 0.6, 1.0, 1.0)
    truth = [[box(1), box(1, far)], [box(1)], []]
    found = [[box(0.9), box(0.8)], [box(0.6)], [box(0.7)]]  # right; twice the same; right; nothing is there
    curve = score_boxes(found, truth)
    assert curve.confidences.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert curve.right.tolist() == [True, False, False, True] and curve.pictures == 3
    assert curve.average_precision == pytest.approx((1 + 2 / 4) / 3)
    assert curve.above(0.65) == pytest.approx((1 / 3, 1 / 3))
    assert curve.above(0.6) == pytest.approx((1 / 3, 1 / 3)), "the confidence itself is not enough"
    assert curve.above(0.95) == (1.0, 0.0)


def test_precision_is_made_to_fall_over_recall():
    found = [[box(0.9, (0.9, 0.9, 1, 1))], [box(0.8)], [box(0.7)]]
    curve = score_boxes(found, [[], [box(1)], [box(1)]])
    assert curve.average_precision == pytest.approx(2 / 3)


def test_the_surer_box_chooses_first_in_any_order():
    exact, near = box(0.6), box(0.9, (0.0, 0.0, 0.5, 0.45))
    for order in ([exact, near], [near, exact]):
        assert score_boxes([order], [[box(1)]]).right.tolist() == [True, False]


def test_labels_are_counted_apart():
    curve = score_boxes([[box(0.9, label="emoji")]], [[box(1), box(1, label="emoji")]])
    assert (len(curve.right), curve.pictures, curve.average_precision) == (0, 1, 0.0)
    assert score_boxes([[box(0.9, label="emoji")]], [[box(1, label="emoji")]], label="emoji").average_precision == 1


def test_the_overlap_asked_for_is_enough():
    truth = [[box(1, (0, 0, 1, 1))]]
    assert score_boxes([[box(1, (0, 0, 0.5, 1))]], truth, overlap=0.5).right.tolist() == [True]
    assert score_boxes([[box(1, (0, 0, 0.49, 1))]], truth, overlap=0.5).right.tolist() == [False]


def test_nothing_found_and_nothing_there():
    curve = score_boxes([[]], [[]])
    assert curve.average_precision == 0 and curve.above(0.5) == (1.0, 0.0)
    assert curve.right.dtype == bool and curve.confidences.dtype == np.float64
