import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isckit.augment import augly, geometry
from isckit.augment.geometry import inscribed, square


def test_flips_undo_themselves_and_four_quarter_turns_are_none(photo, generator):
    image = photo(37, 53)
    for flip in (geometry.hflip, geometry.vflip):
        once = flip(image, generator())
        np.testing.assert_array_equal(flip(once, generator()), image)
    np.testing.assert_array_equal(geometry.hflip(image, generator())[:, 0], image[:, -1])
    np.testing.assert_array_equal(geometry.vflip(image, generator())[0], image[-1])
    turned = image
    for k in range(4):
        turned = geometry.rotate90(turned, generator(), turns=(1, 1))
        if k == 0:
            np.testing.assert_array_equal(turned[0, 0], image[0, -1])  # anticlockwise
    np.testing.assert_array_equal(turned, image)


def test_a_crop_of_the_whole_area_is_a_resize(photo, generator):
    image = photo(60, 91)
    np.testing.assert_array_equal(geometry.crop(image, generator(), scale=(1, 1)), image)
    out = geometry.resized_crop(image, generator(), size=32, scale=(1, 1))
    np.testing.assert_array_equal(out, square(image, 32))


def test_a_crop_is_a_box_of_the_image_with_the_drawn_area_and_relative_aspect(generator):
    rows, columns = np.mgrid[0:200, 0:250]
    image = np.stack([rows, columns, rows * 0], -1).astype(np.uint8)
    areas, aspects, corners = [], [], []
    for seed in range(300):
        out = geometry.crop(image, generator(seed), scale=(0.2, 0.6), ratio=(0.5, 2.0))
        top, left = out[0, 0, :2].tolist()
        np.testing.assert_array_equal(out, image[top : top + out.shape[0], left : left + out.shape[1]])
        areas.append(out.shape[0] * out.shape[1] / 50_000)
        aspects.append(out.shape[1] / out.shape[0] * 200 / 250)
        corners.append((top / max(1, 200 - out.shape[0]), left / max(1, 250 - out.shape[1])))
    assert 0.19 < min(areas) < 0.22 and 0.58 < max(areas) < 0.61 and abs(np.mean(areas) - 0.4) < 0.03
    assert 0.49 < min(aspects) < 0.6 and 1.7 < max(aspects) < 2.05 and abs(np.mean(np.log(aspects))) < 0.1
    np.testing.assert_allclose(np.mean(corners, axis=0), 0.5, atol=0.07)


def _fits(box, width, height, angle, slack=1e-6):
    sin, cos = abs(math.sin(math.radians(angle))), abs(math.cos(math.radians(angle)))
    return box[0] * cos + box[1] * sin <= width + slack and box[0] * sin + box[1] * cos <= height + slack


@given(st.integers(1, 500), st.integers(1, 500), st.floats(-360, 360))
def test_the_inscribed_rectangle_fits_and_none_of_a_fine_grid_is_larger(width, height, angle):
    box = inscribed(width, height, angle)
    assert min(box) > 0 and _fits(box, width, height, angle)
    sin, cos = abs(math.sin(math.radians(angle))), abs(math.cos(math.radians(angle)))
    across = np.linspace(0, math.hypot(width, height), 4001)
    with np.errstate(all="ignore"):
        limits = [(width - across * cos) / sin, (height - across * sin) / cos]
    tallest = np.nanmin(np.where(np.isfinite(limits), limits, np.inf), axis=0)
    tallest[(across * cos > width) | (across * sin > height)] = 0
    best = np.nanmax(across * np.maximum(tallest, 0))
    assert box[0] * box[1] >= best * (1 - 1e-6) - 1e-6


@pytest.mark.parametrize("op", [geometry.rotate, geometry.rotate_pad])
def test_right_angles_move_pixels_exactly(photo, generator, op):
    image = photo(37, 53)
    for turns, angle in [(0, 0.0), (1, 90.0), (2, 180.0), (3, -90.0)]:
        out = op(image, generator(), angle=(angle, angle))
        assert out.shape == np.rot90(image, turns).shape
        np.testing.assert_allclose(out.astype(int), np.rot90(image, turns).astype(int), atol=1)


def test_rotate_shows_no_border_and_rotate_pad_keeps_the_corners(generator):
    white = np.full((90, 140, 3), 255, np.uint8)
    for seed in range(20):
        assert geometry.rotate(white, generator(seed)).min() == 255
    rows, columns = np.mgrid[0:90, 0:140]
    ring = (rows < 3) | (rows > 86) | (columns < 3) | (columns > 136)
    image = np.where(ring[..., None], 255, 0).astype(np.uint8).repeat(3, axis=2)
    out = geometry.rotate_pad(image, generator(3), angle=(30, 30))
    width, height = 140 * math.cos(math.pi / 6) + 90 * 0.5, 140 * 0.5 + 90 * math.cos(math.pi / 6)
    assert out.shape[:2] == (math.ceil(height), math.ceil(width))
    fill = out[0, 0]
    for corner in (out[0, -1], out[-1, 0], out[-1, -1]):
        np.testing.assert_array_equal(corner, fill)
    inner = (out.astype(int) != fill).any(axis=2)
    assert abs(inner.sum() - 90 * 140) < 2 * (90 + 140)


def test_perspective_pulls_every_corner_inwards_and_keeps_the_centre(photo, generator):
    image = np.full((80, 100, 3), 200, np.uint8)
    out = geometry.perspective(image, generator(1), distortion=(0.5, 0.5))
    assert out[0, 0].max() == out[0, -1].max() == out[-1, 0].max() == out[-1, -1].max() == 0
    assert out[21:59, 26:74].min() == 200  # corners move by at most half of half a side
    still = geometry.perspective(photo(80, 100), generator(1), distortion=(0.0, 0.0))
    np.testing.assert_array_equal(still, photo(80, 100))


def test_aspect_and_downscale_change_the_shape_as_told(photo, generator):
    image = photo(100, 100)
    assert geometry.aspect(image, generator(), ratio=(4.0, 4.0)).shape == (50, 200, 3)
    assert geometry.aspect(image, generator(), ratio=(0.25, 0.25)).shape == (200, 50, 3)
    assert geometry.downscale(image, generator(), factor=(0.3, 0.3)).shape == (30, 30, 3)


def test_padding_holds_the_image_in_one_colour(photo, generator):
    image = photo(30, 50)
    out = geometry.pad(image, generator(2), share=(0.1, 0.5))
    found = [
        (y, x)
        for y in range(out.shape[0] - 29)
        for x in range(out.shape[1] - 49)
        if np.array_equal(out[y : y + 30, x : x + 50], image)
    ]
    assert len(found) == 1
    y, x = found[0]
    assert 3 <= y <= 15 and 5 <= x <= 25 and 3 <= out.shape[0] - 30 - y <= 15 and 5 <= out.shape[1] - 50 - x <= 25
    border = np.ones(out.shape[:2], bool)
    border[y : y + 30, x : x + 50] = False
    assert (out[border] == out[0, 0]).all()
    squared = geometry.pad_square(image, generator())
    assert squared.shape == (50, 50, 3)
    np.testing.assert_array_equal(squared[10:40], image)


def test_bounded_shrinks_only_what_is_too_large(photo):
    image = photo(60, 90)
    assert geometry.bounded(image, 60 * 90) is image
    small = geometry.bounded(image, 600)
    assert small.shape == (20, 30, 3) or small.shape[0] * small.shape[1] <= 600
    assert geometry.bounded(photo(1, 400), 100).shape == (1, 200, 3)


def test_corner_jitter_is_auglys_perspective_of_the_same_corners(photo, generator):
    augly.call("hflip", np.zeros((4, 4, 3), np.uint8), generator())  # the first call makes AugLy importable
    from augly.image import functional
    from PIL import Image

    image = photo(120, 160)
    for seed in range(6):
        rng = generator(seed)
        corners = [(0, 0), (160, 0), (160, 120), (0, 120)]
        moved = np.array(corners) + rng.standard_normal((4, 2), np.float32) * rng.uniform(0.1, 0.1) * 120
        coefficients = functional.imutils.compute_transform_coeffs(corners, [tuple(c) for c in moved])
        twin = Image.fromarray(image).transform((160, 120), Image.PERSPECTIVE, coefficients, Image.BICUBIC)
        out = geometry.corner_jitter(image, generator(seed), sigma=(0.1, 0.1))
        assert np.abs(out.astype(int) - np.array(twin)).mean() < 6 < np.abs(out.astype(int) - image).mean()


def test_corner_jitter_cut_to_its_inner_corners_shows_no_border(generator):
    white, kinds = np.full((100, 140, 3), 255, np.uint8), set()
    for seed in range(40):
        out = geometry.corner_jitter(white, generator(seed), sigma=(0.08, 0.08), border=("cropped",))
        assert out[1:-1, 1:-1].min() == 255 and out.shape < white.shape
        either = geometry.corner_jitter(white, generator(seed), sigma=(0.08, 0.08), border=("black", "cropped"))
        kinds.add(either.shape == white.shape)
    assert kinds == {True, False}
    still = geometry.corner_jitter(white, generator(), sigma=(0.0, 0.0), border=("cropped",))
    np.testing.assert_array_equal(still, white)


def test_shifted_channels_are_one_picture_moved_in_opposite_directions(generator):
    rows, columns = np.mgrid[0:100, 0:120]
    moves, place = set(), np.stack([rows * 120 + columns] * 3, -1).astype(np.int32)
    for seed in range(200):
        out = geometry.shift_channels(place, generator(seed), share=0.05)
        red, green, blue = (np.array(divmod(int(value), 120)) for value in out[0, 0])
        down, right = green - red
        assert (blue - green == green - red).all() and out.shape[:2] == (100 - 2 * abs(down), 120 - 2 * abs(right))
        assert tuple(green) == (abs(down), abs(right))  # what is cut off is the same on both sides
        moves.add((int(down), int(right)))
    assert {min(m[0] for m in moves), min(m[1] for m in moves)} == {-5}
    assert {max(m[0] for m in moves), max(m[1] for m in moves)} == {5}
    np.testing.assert_array_equal(geometry.shift_channels(place, generator(), share=0.0), place)


def test_even_padding_grows_opposite_sides_alike(photo, generator):
    image = photo(30, 50)
    for seed in range(8):
        out = geometry.pad(image, generator(seed), share=(0.0, 0.5), even=True)
        y, x = (out.shape[0] - 30) // 2, (out.shape[1] - 50) // 2
        assert out.shape == (30 + 2 * y, 50 + 2 * x, 3) and y <= 15 and x <= 25
        np.testing.assert_array_equal(out[y : y + 30, x : x + 50], image)
