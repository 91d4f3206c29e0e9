import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import RandomResizedCrop
from torchvision.transforms.v2.functional import to_image

from isckit.augment import geometry
from isckit.augment.geometry import square


def _places(height, width):
    """An image whose pixels tell their row and column."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows, columns, rows * 0], -1).astype(np.uint8)


@pytest.mark.parametrize("shape", [(200, 250), (60, 240), (1, 200), (200, 3)])
def test_random_resized_crop_draws_boxes_as_torchvision_does(generator, shape):
    scale, ratio = (0.15, 1.0), (3 / 4, 4 / 3)
    twin, image = RandomResizedCrop(8, scale, ratio), to_image(np.zeros((*shape, 3), np.uint8))
    torch.manual_seed(0)
    theirs = [twin.make_params([image]) for _ in range(1500)]
    theirs = np.array([[box[key] for key in ("top", "left", "height", "width")] for box in theirs], float)
    rng = generator()
    ours = np.array([geometry._box(*shape, rng, scale, ratio) for _ in range(1500)], float)
    span = np.array([*shape, *shape])
    for summary in (np.mean, np.std, lambda a, axis: np.quantile(a, (0.1, 0.5, 0.9), axis)):
        np.testing.assert_allclose(summary(ours / span, axis=0), summary(theirs / span, axis=0), atol=0.04)
    assert (ours[:, :2] + ours[:, 2:] <= shape).all() and ours.min() >= 0 and ours[:, 2:].min() >= 1


def test_random_resized_crop_shows_its_box(photo, generator):
    image = photo(90, 120)
    top, left, height, width = geometry._box(90, 120, generator(4), (0.2, 0.5), (0.75, 4 / 3))
    out = geometry.random_resized_crop(image, generator(4), size=32, scale=(0.2, 0.5))
    np.testing.assert_array_equal(out, square(image[top : top + height, left : left + width], 32))


def test_corner_crop_cuts_between_drawn_corners(generator):
    from isckit.augment.draws import Choice

    image, seen = _places(160, 80), set()
    for seed in range(300):
        out = geometry.corner_crop(image, generator(seed), low=Choice((0, 1 / 8)), high=Choice((3 / 4, 1)))
        (top, left, _), (bottom, right, _) = out[0, 0].tolist(), out[-1, -1].tolist()
        assert out.shape[:2] == (bottom - top + 1, right - left + 1)
        seen.add((top, left, bottom + 1, right + 1))
    assert seen == {(t, l, b, r) for t in (0, 20) for l in (0, 10) for b in (120, 160) for r in (60, 80)}  # noqa: E741


@pytest.mark.parametrize(("height", "width"), [(40, 120), (120, 40), (50, 50), (3, 200), (200, 1)])
def test_the_other_format_turns_the_ratio_of_the_sides_over(generator, height, width):
    image, corners = _places(height, width), set()
    long, short = max(height, width), min(height, width)
    for seed in range(60):
        out = geometry.other_format(image, generator(seed))
        top, left, _ = out[0, 0].tolist()
        np.testing.assert_array_equal(out, image[top : top + out.shape[0], left : left + out.shape[1]])
        sides = (short, max(1, round(short**2 / long)))
        assert out.shape[:2] == (sides if width > height else sides[::-1])
        corners.add((top, left))
    assert len(corners) > 10 or height == width


def test_padded_crop_is_a_window_of_the_black_framed_square(photo, generator):
    image = photo(70, 50)
    framed = np.pad(square(image, 64), ((8, 8), (8, 8), (0, 0)))
    corners = set()
    for seed in range(200):
        out = geometry.padded_crop(image, generator(seed), size=64, share=1 / 8)
        hits = [
            (y, x)
            for y in range(17)
            for x in range(17)
            if np.array_equal(framed[y : y + 64 : 7, x : x + 64 : 7], out[::7, ::7])
        ]
        assert len(hits) == 1
        corners.add(hits[0])
    rows, columns = zip(*corners, strict=True)
    assert {min(rows), min(columns)} == {0} and {max(rows), max(columns)} == {16} and len(corners) > 100


def test_stretch_is_a_square_of_a_multiple_of_the_side(photo, generator):
    image = photo(70, 50)
    np.testing.assert_array_equal(geometry.stretch(image, generator(), size=24, scale=2.0), square(image, 48))


def test_enlarge_touches_only_sides_below_half_the_target(photo, generator):
    for shape, wanted in [((32, 90), (32, 90)), ((31, 90), (32, 90)), ((10, 5), (32, 32)), ((1, 1), (32, 32))]:
        image = photo(*shape)
        out = geometry.enlarge(image, generator(), size=64)
        assert out.shape[:2] == wanted
        assert wanted != shape or np.array_equal(out, image)
    assert len({geometry.enlarge(photo(9, 9), generator(k), size=64).tobytes() for k in range(40)}) == 4


def test_rotate_in_place_keeps_the_shape_and_blackens_the_corners(photo, generator):
    image = np.maximum(photo(61, 61), 1)
    for turns in range(4):
        out = geometry.rotate_in_place(image, generator(), angle=(90.0 * turns, 90.0 * turns))
        np.testing.assert_allclose(out.astype(int), np.rot90(image, turns).astype(int), atol=1)
    out = geometry.rotate_in_place(np.maximum(photo(60, 100), 1), generator(), angle=(45.0, 45.0))
    assert out.shape == (60, 100, 3) and out[30, 50].all()
    assert not out[[0, 0, -1, -1], [0, -1, 0, -1]].any()
