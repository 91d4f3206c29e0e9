"""The first prize's sets: the basic one, and what each adds to it."""

import cv2
import numpy as np
import pytest

from isckit.augment.nodes import AnyOrder, OneOf
from isckit.augment.pipelines import PIPELINES, find, view_rng
from isckit.augment.sets.d2lv import SUPERS
from isckit.augment.steps import run

NAMES = ("basic", "blur", "colour", "dark", "opaque", "occlude")


def test_every_set_is_there_under_both_policies():
    assert [n for n in PIPELINES if n.startswith("d2lv.")] == [f"d2lv.{n}{p}" for n in NAMES for p in ("", "_all")]
    for policy in ("", "_all"):
        assert find(f"d2lv.basic{policy}") == find(f"vision_force.basic{policy}")


@pytest.mark.parametrize("policy", ["", "_all"])
@pytest.mark.parametrize("name", SUPERS)
def test_a_set_is_the_basic_one_with_a_strong_operation_behind_the_others(name, policy):
    stored, choice, *online = find(f"d2lv.{name}{policy}").steps
    basic = find(f"d2lv.basic{policy}").steps
    assert (stored, *online) == (basic[0], *basic[2:])
    (_, nothing), (_, edits) = choice.branches
    assert nothing == () and edits[:-1] == basic[1].branches[1][1]
    assert edits[-1] == OneOf(((0.5, SUPERS[name]), (0.5, ())))
    assert isinstance(edits[0], AnyOrder) == (policy == "")


@pytest.mark.parametrize("name", [name for name in PIPELINES if name.startswith("d2lv.")])
def test_a_view_is_a_function_of_its_numbers(photo, name):
    image, other = photo(70, 90), photo(50, 60, seed=4)
    views = [find(name)(image, view_rng(1, 2, k % 6, 0), lambda: other, 48) for k in range(12)]
    assert all(np.array_equal(first, second) for first, second in zip(views[:6], views[6:], strict=True))
    assert len({view.tobytes() for view in views}) > 3
    assert all(view.shape == (48, 48, 3) and view.dtype == np.uint8 for view in views)


@pytest.fixture
def added(photo):
    """added(name, k): a photo, the foreign photo, and the first after the set's strong operation alone."""
    image, other = photo(128, 128), photo(128, 128, seed=4)
    return lambda name, k: (image, other, run(SUPERS[name], image, view_rng(0, 0, k, 0), lambda: other, 128))


def luma(image):
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(float)


def test_dark_leaves_a_twentieth_to_two_fifths_of_the_light(added):
    for k in range(10):
        image, _, out = added("dark", k)
        assert 0.04 < luma(out).mean() / luma(image).mean() < 0.41


def test_blur_takes_the_detail(added):
    for k in range(10):
        image, _, out = added("blur", k)
        before, after = (cv2.Laplacian(luma(picture), cv2.CV_64F).var() for picture in (image, out))
        assert after < 0.1 * before and abs(luma(out).mean() - luma(image).mean()) < 3


def test_opaque_mixes_with_the_other_picture(added):
    shares = []
    for k in range(20):
        image, other, out = added("opaque", k)
        apart = (image.astype(float) - other).ravel()
        share = float((out.astype(float) - other).ravel() @ apart / (apart @ apart))
        np.testing.assert_allclose(out, share * image.astype(float) + (1 - share) * other, atol=1)
        shares.append(share)
    assert 0.19 < min(shares) < 0.4 and 0.8 < max(shares) <= 1.01


def test_colour_changes_colours_and_moves_nothing(added):
    for k in range(10):
        image, _, out = added("colour", k)
        values = np.concatenate([image, out], axis=2).reshape(-1, 6)
        table = {}
        for row in values.tolist():
            assert table.setdefault(tuple(row[:3]), row[3:]) == row[3:]  # a pixel's new colour is one of its old
        assert not np.array_equal(image, out)


def test_occlude_hides_two_to_four_fifths(added):
    for k in range(10):
        image, _, out = added("occlude", k)
        assert 0.35 < (image != out).any(axis=2).mean() <= 0.8  # a patch may happen to equal what it hides
