"""The curve's points, its operating point, its table and its picture."""

import numpy as np
import pytest
from textbook import average_precision_textbook

from isckit.judge.score.curve import trace
from isckit.judge.score.report import plot_curve

SCORES = np.array([0.9, 0.8, 0.8, 0.7, 0.6])
CORRECT = np.array([True, True, False, False, True])


def test_points_stand_at_the_true_rows_with_ties_against():
    curve = trace(SCORES, CORRECT, n_pos=4)
    assert curve.scores.tolist() == [0.9, 0.8, 0.6]
    assert curve.precision.tolist() == [1, 2 / 3, 3 / 5]
    assert curve.optimistic_precision.tolist() == [1, 1, 3 / 5]
    assert curve.recall.tolist() == [0.25, 0.5, 0.75]
    assert curve.average_precision == pytest.approx((1 + 2 / 3 + 3 / 5) / 4)
    assert curve.optimistic_average_precision == pytest.approx((1 + 1 + 3 / 5) / 4)


def test_textbook_twin_puts_false_before_true_in_ties():
    assert average_precision_textbook([1.0, 1.0], [True, False], n_pos=1) == 0.5
    assert average_precision_textbook([], [], n_pos=3) == 0


def test_operating_point_is_the_largest_recall_not_the_first_fall():
    # False first, then 19 true: precision starts at 0 and reaches 19/20.
    curve = trace(np.arange(20, 0, -1.0), np.arange(20) > 0, n_pos=20)
    assert curve.operating_point() == (0.95, 1.0)
    assert curve.operating_point(0.96) == (0, None)
    assert trace(SCORES, CORRECT, n_pos=4).operating_point(0.6) == (0.75, 0.6)


def test_precision_of_exactly_nine_tenths_counts():
    curve = trace(np.arange(10, 0, -1.0), np.arange(10) > 0, n_pos=9)
    assert curve.operating_point() == (1.0, 1.0)


def test_tied_true_rows_share_one_threshold_that_accepts_them_all():
    recall, threshold = trace(np.array([1.0, 1.0, 0.5]), np.array([True, True, False]), n_pos=2).operating_point()
    assert (recall, threshold) == (1.0, 1.0)


@pytest.mark.parametrize("correct", [CORRECT, ~CORRECT, np.zeros(5, bool)], ids=["reached", "missed", "empty"])
def test_picture_is_drawn_for_every_kind_of_curve(tmp_path, correct):
    from PIL import Image

    plot_curve(trace(SCORES, correct, n_pos=4), tmp_path / "curve.png")
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.format == "PNG" and picture.width > 600
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"]


def test_picture_takes_its_format_from_the_suffix(tmp_path):
    plot_curve(trace(SCORES, CORRECT, n_pos=4), tmp_path / "curve.svg")
    text = (tmp_path / "curve.svg").read_text()
    assert "<svg" in text
