import numpy as np
import pytest
import torch
from torchvision.transforms.v2.functional import InterpolationMode, resize

from isckit.types import BadInput
from isckit.views.geometry import VIEW_SETS, View, cut, cut_image, view_set, window

COUNTS = {
    "whole": 1, "mirror": 1, "rotations": 3, "quarters": 4, "centre": 1, "thirds": 9, "sixths": 4,
    "strips": 6, "half_grid": 9, "third_grid": 25, "quarter_grid": 16, "two_fifths": 16, "two_thirds": 4,
    "oblong_grid": 30, "halves": 3, "pair_views": 8,
}  # fmt: skip
W, H = 601, 401


def corners(name):
    """(left, top, right, bottom) in pixels of all views of a set, as the papers' code writes boxes."""
    windows = [window(view, height=H, width=W) for view in VIEW_SETS[name]]
    return [(left, top, left + width, top + height) for top, left, height, width in windows]


def coverage(name, height, width):
    count = np.zeros((height, width), int)
    for view in VIEW_SETS[name]:
        top, left, rows, columns = window(view, height=height, width=width)
        count[top : top + rows, left : left + columns] += 1
    return count


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_sets_have_their_published_number_of_views(name, count):
    assert len(VIEW_SETS[name]) == count


def test_a_name_stands_for_one_view_in_all_sets():
    named = {}
    for views in VIEW_SETS.values():
        for view in views:
            assert named.setdefault(view.name, view) == view


@pytest.mark.parametrize("name", VIEW_SETS)
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (37, 53), (256, 256)])
def test_windows_lie_inside_the_image_and_are_never_empty(name, size):
    for view in VIEW_SETS[name]:
        top, left, height, width = window(view, height=size[0], width=size[1])
        assert top >= 0 and left >= 0 and height >= 1 and width >= 1
        assert top + height <= size[0] and left + width <= size[1]


def test_the_query_crops_of_d2lv_have_its_pixel_boxes():
    sixths = [(1, 1, 3, 3), (3, 1, 5, 3), (1, 3, 3, 5), (3, 3, 5, 5)]
    expected = [(int(l * W / 6), int(t * H / 6), int(r * W / 6), int(b * H / 6)) for l, t, r, b in sixths]  # noqa: E741
    assert corners("sixths") == expected
    assert corners("centre") == [(int(W / 4), int(H / 4), int(3 * W / 4), int(3 * H / 4))]
    assert [view.turns for view in VIEW_SETS["rotations"]] == [1, 2, 3]


def test_the_reference_parts_of_d2lv_have_its_pixel_boxes():
    x, y = (0, W // 2, W), (0, H // 2, H)
    assert corners("quarters") == [(x[j], y[i], x[j + 1], y[i + 1]) for i in range(2) for j in range(2)]
    x, y = (0, int(W / 3), int(2 * W / 3), W), (0, int(H / 3), int(2 * H / 3), H)
    assert corners("thirds") == [(x[j], y[i], x[j + 1], y[i + 1]) for i in range(3) for j in range(3)]


def test_d2lv_looks_at_nine_fixed_views_of_queries_and_nineteen_of_references():
    assert len(view_set(("rotations", "centre", "sixths"))) == 9
    assert len(view_set(("quarters", "centre", "thirds", "sixths"))) == 19


def test_the_crops_of_separate_are_its_windows():
    boxes = {name: [view.box for view in VIEW_SETS[name]] for name in VIEW_SETS}
    assert boxes["half_grid"] == [(t / 4, s / 4, 1 / 2, 1 / 2) for t in range(3) for s in range(3)]
    assert boxes["third_grid"] == [(t / 6, s / 6, 1 / 3, 1 / 3) for t in range(5) for s in range(5)]
    strips = [(0, k / 4, 1, 1 / 2) for k in range(3)] + [(k / 4, 0, 1 / 2, 1) for k in range(3)]
    assert boxes["strips"] == strips
    assert boxes["halves"] == strips[:3]


@pytest.mark.parametrize("name", sorted(COUNTS.keys() - {"rotations", "centre", "sixths", "whole", "mirror"}))
def test_grids_cover_the_whole_image(name):
    assert coverage(name, H, W).all() and coverage(name, 48, 72).all()


@pytest.mark.parametrize("name", ["quarters", "thirds"])
@pytest.mark.parametrize("size", [(47, 71), (H, W)])
def test_partitions_do_not_overlap_even_on_odd_sizes(name, size):
    assert (coverage(name, *size) == 1).all()


@pytest.mark.parametrize("size", range(1, 200))
def test_borders_are_truncated_exactly_where_floating_point_falls_short(size):
    for parts in range(2, 7):
        for first in range(parts):
            view = View("x", (first / parts, 0.0, 1 / parts, 1.0))
            top, _, height, _ = window(view, height=size, width=size)
            low, high = first * size // parts, (first + 1) * size // parts
            assert (top, height) == (low, max(1, high - low))


def test_cut_equals_numpy_for_windows_turns_and_mirrors():
    image = torch.arange(2 * 3 * 6 * 8).reshape(2, 3, 6, 8)
    view = View("x", (1 / 3, 1 / 4, 1 / 3, 1 / 2), turns=1, mirror=True)
    expected = np.flip(np.rot90(image.numpy()[:, :, 2:4, 2:6], axes=(-2, -1)), -1)
    assert np.array_equal(cut(image, view).numpy(), expected)


@pytest.mark.parametrize("name", ["mirror", "rotations", "half_grid", "pair_views"])
def test_one_image_is_cut_like_a_batch(name):
    image = np.random.default_rng(0).integers(0, 256, (23, 31, 3), dtype=np.uint8)
    planes = torch.from_numpy(image).permute(2, 0, 1)
    for view in VIEW_SETS[name]:
        out = cut_image(image, view)
        assert out.flags.c_contiguous and np.array_equal(out, cut(planes, view).permute(1, 2, 0).numpy())


def test_four_quarter_turns_are_the_image():
    image = torch.rand(1, 3, 5, 7)
    out = image
    for _ in range(4):
        out = cut(out, View("turn", turns=1))
    assert torch.equal(out, image)


def test_the_turned_halves_of_separate_are_taken_after_the_square_and_the_turn():
    image = torch.randint(0, 256, (3, 40, 61), dtype=torch.uint8)
    square = resize(image, [40, 40], interpolation=InterpolationMode.BICUBIC, antialias=True)
    turned = torch.rot90(square, 1, (1, 2))
    views = {view.name: cut(image, view) for view in VIEW_SETS["pair_views"]}
    assert torch.equal(views["whole"], image) and torch.equal(views["whole_rotate"], turned)
    for k, name in enumerate(("left", "vertical_center", "right")):
        assert torch.equal(views[f"rotate_{name}"], turned[:, :, 10 * k : 10 * k + 20])
        first = int(k * 61 / 4)
        assert torch.equal(views[name], image[:, :, first : int((k + 2) * 61 / 4)])


def test_a_view_set_begins_with_the_whole_image_and_names_no_view_twice():
    views = view_set(("half_grid", "mirror", "half_grid"))
    assert views[0].name == "whole"
    assert len({view.name for view in views}) == len(views) == 11


def test_an_unknown_set_is_refused_with_the_known_ones():
    with pytest.raises(BadInput, match="half_grid"):
        view_set(("halfgrid",))


def test_the_lists_of_a_side_share_out_each_grid_of_separate():
    for grid, counts in (("half_grid", (3, 3, 3)), ("third_grid", (10, 5, 10))):
        sides = [VIEW_SETS[f"{grid}_{side}"] for side in ("left", "vertical_center", "right")]
        assert tuple(map(len, sides)) == counts
        assert {view for side in sides for view in side} == set(VIEW_SETS[grid])
        lefts = [{view.box[1] for view in side} for side in sides]
        assert max(lefts[0]) < min(lefts[1]) <= max(lefts[1]) < min(lefts[2])
