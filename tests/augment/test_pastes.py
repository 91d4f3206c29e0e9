"""Boxes are those of exactly the pixels that were pasted, and every draw comes from the generator."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as tested
from hypothesis import strategies as st

from isckit.augment import augly
from isckit.augment.geometry import resize
from isckit.augment.pastes import EMOJI, OVERLAY, Pasted, pasted
from isckit.config import Pastes

PLAIN = Pastes(
    background=(1.0, 1.0), opacity=(1.0, 1.0), edits=("eval",), none=0.0, emoji=0.0, finish=0.0, stretch=(1.0, 1.0)
)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(256, size=(height, width, 3), dtype=np.uint8)


def changed(settings, **values):
    from dataclasses import replace

    return replace(settings, **values)


def make(seed=0, settings=PLAIN, image=None, other=None, size=64) -> Pasted:
    image = noise(90, 120, 1) if image is None else image
    other = noise(60, 80, 2) if other is None else other
    return pasted(image, np.random.default_rng(seed), lambda: other, settings=settings, size=size)


@tested(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), height=st.integers(20, 120), width=st.integers(20, 120))
def test_the_box_holds_exactly_the_pasted_picture(seed, height, width):
    image, other = np.full((height, width, 3), 7, np.uint8), noise(60, 80, 2)
    found = make(seed, image=image, other=other)
    ((left, top, right, bottom),) = found.boxes.tolist()
    assert found.labels.tolist() == [OVERLAY]
    inside = found.pixels[top:bottom, left:right]
    assert np.array_equal(inside, resize(other, bottom - top, right - left))
    outside = np.ones(found.pixels.shape[:2], bool)
    outside[top:bottom, left:right] = False
    assert (found.pixels[outside] == 7).all()


@tested(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32))
def test_the_height_is_in_its_range_and_the_aspect_is_kept_where_there_is_room(seed):
    found = make(seed, settings=changed(PLAIN, height=(0.4, 0.5)))
    height, width = found.pixels.shape[:2]
    ((left, top, right, bottom),) = found.boxes.tolist()
    assert 0.4 * height - 0.5 <= bottom - top <= 0.5 * height + 0.5
    assert abs(right - left - min(width, (bottom - top) * 80 / 60)) <= 1


@tested(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32))
def test_the_background_has_an_aspect_of_at_most_three_to_two(seed):
    settings = changed(PLAIN, none=1.0, background=(0.8, 1.0))
    height, width = make(seed, settings=settings, image=noise(240, 120)).pixels.shape[:2]
    assert round(0.8 * 120) <= width <= 120
    assert 1 / 1.51 <= height / width <= 1.51


@tested(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32))
def test_the_box_of_an_emoji_is_that_of_what_can_be_seen_of_it(seed):
    image = np.full((200, 150, 3), 200, np.uint8)
    found = make(seed, settings=changed(PLAIN, none=1.0, emoji=1.0, emoji_side=(0.4, 0.4)), image=image, size=256)
    assert found.labels.tolist() == [EMOJI]
    ((left, top, right, bottom),) = found.boxes.tolist()
    assert max(right - left, bottom - top) == round(0.4 * min(found.pixels.shape[:2]))
    rows, columns = (np.flatnonzero((found.pixels != 200).any(axis=(2, axis))) for axis in (1, 0))
    assert top <= rows[0] and rows[-1] < bottom and left <= columns[0] and columns[-1] < right
    # Enlarged or reduced, a border of one pixel may be all but transparent, or of the background's own grey.
    slack = 2 + (bottom - top) // 8
    assert rows[0] - top <= slack and bottom - 1 - rows[-1] <= slack


def test_pictures_with_nothing_on_them_are_the_background():
    image = noise(90, 90)
    found = make(settings=changed(PLAIN, none=1.0), image=image)
    assert found.boxes.shape == (0, 4) and found.labels.shape == (0,)
    height, width = found.pixels.shape[:2]
    assert any(
        np.array_equal(image[top : top + height, left : left + width], found.pixels)
        for top in range(91 - height)
        for left in range(91 - width)
    )


def test_no_second_picture_is_fetched_where_none_is_pasted():
    def other():
        raise AssertionError

    alone = changed(PLAIN, none=1.0, emoji=1.0)
    found = pasted(noise(40, 40), np.random.default_rng(0), other, settings=alone, size=64)
    assert found.labels.tolist() == [EMOJI]


def test_both_classes_come_in_their_shares():
    found = [make(seed, settings=changed(PLAIN, none=0.25, emoji=0.5), size=32) for seed in range(400)]
    assert np.mean([OVERLAY in one.labels for one in found]) == pytest.approx(0.75, abs=0.08)
    assert np.mean([EMOJI in one.labels for one in found]) == pytest.approx(0.5, abs=0.09)


def test_opacity_mixes_the_picture_with_what_is_below():
    image, other = np.zeros((60, 60, 3), np.uint8), np.full((60, 60, 3), 200, np.uint8)
    found = make(settings=changed(PLAIN, opacity=(0.5, 0.5)), image=image, other=other)
    ((left, top, right, bottom),) = found.boxes.tolist()
    assert (found.pixels[top:bottom, left:right] == 100).all()


def test_the_finish_leaves_boxes_and_shape():
    settings = Pastes(edits=("weak", "mild"), emoji=0.5)
    for seed in range(40):
        plain = make(seed, settings=changed(settings, finish=0.0), size=48)
        done = make(seed, settings=changed(settings, finish=1.0), size=48)
        assert plain.pixels.shape == done.pixels.shape and np.array_equal(plain.boxes, done.boxes)


@tested(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32))
def test_it_is_a_function_of_its_arguments_and_boxes_lie_inside(seed):
    settings = Pastes(edits=("weak", "mild"), emoji=0.5)
    image, other = noise(70, 100), noise(50, 30)
    kept = image.copy(), other.copy()
    first, second = (make(seed, settings=settings, image=image, other=other, size=48) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert np.array_equal(image, kept[0]) and np.array_equal(other, kept[1])
    height, width = first.pixels.shape[:2]
    assert first.pixels.dtype == np.uint8 and height * width <= 96 * 96
    for left, top, right, bottom in first.boxes.tolist():
        assert 0 <= left < right <= width and 0 <= top < bottom <= height


def test_a_seed_draws_another_picture_than_the_next():
    assert not np.array_equal(make(1).boxes, make(2).boxes)


def test_every_emoji_has_something_to_see():
    assert all(augly.emoji(k)[:, :, 3].any() for k in range(0, len(augly.emoji_files()), 50))


def test_pipelines_are_needed():
    with pytest.raises(ValueError, match="at least one pipeline"):
        Pastes(edits=())
