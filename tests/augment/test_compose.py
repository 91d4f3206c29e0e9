import numpy as np
import pytest

from isckit.augment import compose
from isckit.augment.geometry import resize


def test_paste_puts_the_patch_exactly_in_its_box_and_cuts_what_hangs_over(photo):
    image, patch = photo(30, 40), photo(12, 14, seed=3)
    out = compose.paste(image, patch, top=5, left=7)
    np.testing.assert_array_equal(out[5:17, 7:21], patch)
    out[5:17, 7:21] = image[5:17, 7:21]
    np.testing.assert_array_equal(out, image)
    corner = compose.paste(image, patch, top=-4, left=35)
    np.testing.assert_array_equal(corner[:8, 35:], patch[4:, :5])
    np.testing.assert_array_equal(corner[8:], image[8:])
    for top, left in [(-12, 0), (30, 0), (0, 40), (0, -14), (99, 99)]:
        np.testing.assert_array_equal(compose.paste(image, patch, top=top, left=left), image)


def test_paste_mixes_by_alpha_number_or_mask(photo):
    image, patch = photo(12, 14), photo(12, 14, seed=3)
    half = compose.paste(image, patch, top=0, left=0, alpha=0.25)
    np.testing.assert_allclose(half, 0.75 * image + 0.25 * patch, atol=0.51)
    mask = np.zeros((12, 14, 1), np.float32)
    mask[3:6] = 1
    out = compose.paste(image, patch, top=0, left=0, alpha=mask)
    np.testing.assert_array_equal(out, np.where(mask > 0, patch, image))


@pytest.mark.parametrize("seed", range(10))
def test_overlay_puts_the_whole_other_somewhere_inside(photo, generator, seed):
    image, other = np.zeros((60, 80, 3), np.uint8), np.maximum(photo(20, 50, seed=3), 1)
    out = compose.overlay(image, generator(seed), other=other, share=(0.5, 0.5), opacity=(1, 1))
    inside = np.argwhere(out.any(axis=2))
    (top, left), (bottom, right) = inside.min(axis=0), inside.max(axis=0) + 1
    assert (bottom - top, right - left) == (16, 40)  # the tighter side takes half of its dimension
    np.testing.assert_array_equal(out[top:bottom, left:right], resize(other, 16, 40))


def test_underlay_is_the_image_on_the_other_bounded_to_the_images_area(photo, generator):
    image, other = photo(30, 40), np.zeros((300, 400, 3), np.uint8)
    out = compose.underlay(np.maximum(image, 1), generator(1), other=other, share=(0.5, 0.5), opacity=(1, 1))
    assert out.shape == (30, 40, 3)
    covered = out.any(axis=2)
    assert covered.sum() == 15 * 20
    whole = compose.underlay(image, generator(1), other=other, share=(1, 1), opacity=(1, 1))
    np.testing.assert_array_equal(whole, image)


def test_blend_is_the_weighted_mean_with_the_stretched_other(photo, generator):
    image, other = photo(30, 40), photo(30, 40, seed=3)
    out = compose.blend(image, generator(), other=other, opacity=(0.5, 0.5))
    np.testing.assert_allclose(out, (image.astype(float) + other) / 2, atol=1)
    out = compose.blend(image, generator(), other=photo(90, 20, seed=4), opacity=(0.8, 0.8))
    np.testing.assert_allclose(out, 0.8 * image + 0.2 * resize(photo(90, 20, seed=4), 30, 40), atol=0.51)


def test_collage_shows_the_image_once_in_a_grid_of_two_or_four(photo, generator):
    image, other = photo(40, 60), photo(25, 25, seed=3)
    layouts, places = set(), set()
    for seed in range(80):
        out = compose.collage(image, generator(seed), other=other)
        assert out.shape == image.shape
        for rows, columns in [(1, 2), (2, 1), (2, 2)]:
            h, w = 40 // rows, 60 // columns
            cells = [out[r * h : (r + 1) * h, c * w : (c + 1) * w] for r in range(rows) for c in range(columns)]
            mine = [k for k, cell in enumerate(cells) if np.array_equal(cell, resize(image, h, w))]
            if mine:
                foreign = resize(other, h, w)
                variants = [foreign, foreign[:, ::-1], foreign[::-1], foreign[::-1, ::-1]]
                rest = [cell for k, cell in enumerate(cells) if k not in mine]
                assert len(mine) == 1
                assert all(any(np.array_equal(cell, variant) for variant in variants) for cell in rest)
                layouts.add((rows, columns))
                places.add((rows, columns, mine[0]))
                break
        else:
            pytest.fail("the image is in no cell")
    assert layouts == {(1, 2), (2, 1), (2, 2)} and len(places) == 8


def test_erase_fills_one_box_of_the_area_asked_for_with_noise(generator):
    image = np.full((100, 120, 3), 128, np.uint8)
    for seed in range(10):
        out = compose.erase(image, generator(seed), scale=(0.2, 0.2))
        changed = (out != 128).any(axis=2)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        box = changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.mean() > 0.99 and abs(box.size / 12_000 - 0.2) < 0.03
        assert out[changed].std() > 60


def test_shapes_are_few_plain_and_not_everywhere(generator):
    image = np.full((100, 120, 3), 128, np.uint8)
    for seed in range(20):
        out = compose.shapes(image, generator(seed), count=(1, 3), share=(0.2, 0.4))
        colours = len(np.unique(out.reshape(-1, 3), axis=0))
        assert 1 < colours <= 4
        assert 0.01 < (out != 128).any(axis=2).mean() < 0.6


def test_a_paste_by_height_has_the_share_of_the_height_and_is_cut_off_at_the_right(generator):
    image, other = np.zeros((60, 80, 3), np.uint8), np.full((20, 100, 3), 200, np.uint8)
    for seed in range(10):
        out = compose.overlay_by_height(image, generator(seed), other=other, share=(0.5, 0.5), opacity=(1, 1))
        rows, columns = np.flatnonzero(out.any(axis=(1, 2))), np.flatnonzero(out.any(axis=(0, 2)))
        assert len(rows) == 30 and columns[-1] == 79 and rows[0] <= 30 and columns[0] <= 40
        assert (out[rows[0] : rows[-1] + 1, columns[0] :] == 200).all()


def test_pastes_by_height_are_auglys(photo, generator):
    from isckit.augment import augly

    image, other = photo(60, 80), photo(40, 30, seed=3)
    for canvas, patch, op in [(image, other, compose.overlay_by_height), (other, image, compose.underlay_by_height)]:
        corner, share = (0.25, 0.25), 0.6
        out = op(image, generator(), other=other, share=(share, share), opacity=(0.7, 0.7), corner=corner)
        from PIL import Image

        theirs = augly.call(
            "overlay_image", canvas, generator(), overlay=Image.fromarray(patch), overlay_size=share,
            opacity=0.7, x_pos=0.25, y_pos=0.25,
        )  # fmt: skip
        assert np.abs(out.astype(int) - theirs).mean() < 1 and np.abs(theirs.astype(int) - canvas).mean() > 5


def test_corners_of_pastes_by_height_lie_where_told(generator):
    image, other = np.zeros((100, 100, 3), np.uint8), np.full((10, 10, 3), 9, np.uint8)
    for corner, (low, high) in [((0.2, 0.5), (20, 50)), (None, (0, 80))]:
        seen = []
        for seed in range(150):
            out = compose.overlay_by_height(image, generator(seed), other=other, share=(0.2, 0.2), corner=corner)
            seen.append(np.argwhere(out.any(axis=2)).min(axis=0))
        assert low <= np.min(seen) < low + 5 and high - 5 < np.max(seen) <= high


def test_an_opacity_above_1_counts_as_1(photo, generator):
    image, other = photo(40, 40), photo(40, 40, seed=3)
    for op in (compose.overlay_by_height, compose.underlay_by_height, compose.overlay, compose.underlay):
        outs = [op(image, generator(2), other=other, share=(0.5, 0.5), opacity=(o, o)) for o in (1.0, 1.3)]
        np.testing.assert_array_equal(*outs)


def test_gaussian_erasing_is_black_by_half_and_white_by_a_sixth(generator):
    image = np.full((200, 200, 3), 128, np.uint8)
    out = compose.erase(image, generator(), scale=(1.0, 1.0), ratio=(1.0, 1.0), gaussian=True)
    assert abs((out == 0).mean() - 0.5) < 0.01 and abs((out == 255).mean() - 0.1587) < 0.01
