import numpy as np
import pytest
import torch

from isckit.types import BadInput
from isckit.views.geometry import VIEW_SETS, View, cut, view_set, window

COUNTS = {"whole": 1, "mirror": 1, "rotations": 3, "quarters": 4, "half_grid": 9, "two_thirds": 4, "centre": 1}


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_sets_have_their_published_number_of_views(name, count):
    assert len(VIEW_SETS[name]) == count


@pytest.mark.parametrize("name", VIEW_SETS)
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (37, 53), (256, 256)])
def test_windows_lie_inside_the_image_and_are_never_empty(name, size):
    for view in VIEW_SETS[name]:
        top, left, height, width = window(view, height=size[0], width=size[1])
        assert top >= 0 and left >= 0 and height >= 1 and width >= 1
        assert top + height <= size[0] and left + width <= size[1]


@pytest.mark.parametrize("name", ["quarters", "half_grid", "two_thirds"])
def test_grids_cover_the_whole_image(name):
    covered = np.zeros((48, 72), bool)
    for view in VIEW_SETS[name]:
        top, left, height, width = window(view, height=48, width=72)
        covered[top : top + height, left : left + width] = True
    assert covered.all()


def test_quarters_do_not_overlap_even_on_odd_sizes():
    count = np.zeros((47, 71), int)
    for view in VIEW_SETS["quarters"]:
        top, left, height, width = window(view, height=47, width=71)
        count[top : top + height, left : left + width] += 1
    assert (count == 1).all()


def test_cut_equals_numpy_for_windows_turns_and_mirrors():
    image = torch.arange(2 * 3 * 6 * 8).reshape(2, 3, 6, 8)
    view = View("x", (1 / 3, 1 / 4, 1 / 3, 1 / 2), turns=1, mirror=True)
    expected = np.flip(np.rot90(image.numpy()[:, :, 2:4, 2:6], axes=(-2, -1)), -1)
    assert np.array_equal(cut(image, view).numpy(), expected)


def test_four_quarter_turns_are_the_image():
    image = torch.rand(1, 3, 5, 7)
    out = image
    for _ in range(4):
        out = cut(out, View("turn", turns=1))
    assert torch.equal(out, image)


def test_a_view_set_begins_with_the_whole_image_and_names_no_view_twice():
    views = view_set(("half_grid", "mirror", "half_grid"))
    assert views[0].name == "whole"
    assert len({view.name for view in views}) == len(views) == 11


def test_an_unknown_set_is_refused_with_the_known_ones():
    with pytest.raises(BadInput, match="half_grid"):
        view_set(("halfgrid",))
