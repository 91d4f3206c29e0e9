import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter
from scipy.ndimage import gaussian_filter

from isckit.augment import degrade
from isckit.augment.draws import Choice


@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.9, 2.1, 3.0, 4.7, 7.0, 10.0])
def test_the_blur_is_gaussian(sigma, photo):
    image = np.zeros((121, 121, 3), np.uint8)
    image[40:81, 30:91] = 250
    image[55:66] //= 2
    exact = gaussian_filter(image.astype(float), (sigma, sigma, 0), mode="nearest")
    difference = np.abs(degrade.gaussian(image, sigma) - exact)
    assert difference.mean() < 1.2 and difference.max() < 9
    wrong = gaussian_filter(image.astype(float), (1.25 * sigma, 1.25 * sigma, 0), mode="nearest")
    assert difference.mean() < 0.5 * np.abs(wrong - exact).mean()


def test_blur_is_scaled_by_the_short_side(photo, generator):
    image = photo(100, 180)
    out = degrade.blur(image, generator(), sigma=(0.03, 0.03))
    np.testing.assert_array_equal(out, degrade.gaussian(image, 3.0))
    np.testing.assert_array_equal(degrade.blur(image, generator(), sigma=(0, 0)), image)


def test_motion_blur_smears_a_point_along_a_line_of_the_given_length(generator):
    image = np.zeros((101, 101, 3), np.uint8)
    image[50, 50] = 255
    for seed in range(10):
        out = degrade.motion_blur(image, generator(seed), length=(0.2, 0.2))[..., 0].astype(int)
        points = np.argwhere(out)
        reach = np.hypot(*(points - 50).T)
        assert 9 <= reach.max() <= 11.1 and 15 <= len(points) <= 21 and abs(out.sum() - 255) <= 21
        _, spread, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
        assert spread[1] < 0.1 * spread[0]


def test_sharpen_and_edge_enhance_are_pillows(photo, generator):
    image = photo(50, 60)
    inner = (slice(1, -1), slice(1, -1))  # Pillow leaves the border alone
    for factor in (1.0, 0.0, 3.0):
        wanted = np.array(ImageEnhance.Sharpness(Image.fromarray(image)).enhance(factor)).astype(int)
        out = degrade.sharpen(image, generator(), factor=(factor, factor)).astype(int)
        np.testing.assert_allclose(out[inner], wanted[inner], atol=3)
    kinds = ImageFilter.EDGE_ENHANCE, ImageFilter.EDGE_ENHANCE_MORE
    wanted_of = [np.array(Image.fromarray(image).filter(kind)) for kind in kinds]
    hits = set()
    for seed in range(12):
        out = degrade.edge_enhance(image, generator(seed)).astype(int)
        near = [np.abs(out[inner] - wanted[inner]).max() <= 1 for wanted in wanted_of]
        assert sum(near) == 1
        hits.add(near.index(True))
    assert hits == {0, 1}


def test_noise_has_the_deviation_asked_for_and_no_bias(generator):
    image = np.full((120, 120, 3), 128, np.uint8)
    grain = degrade.noise(image, generator(), deviation=(10, 10)).astype(float) - 128
    assert abs(grain.std() - 10) < 0.3 and abs(grain.mean()) < 0.2
    assert abs(np.corrcoef(grain[..., 0].ravel(), grain[..., 1].ravel())[0, 1]) < 0.03


def test_pixelate_keeps_the_mean_and_leaves_no_more_blocks_than_told(photo, generator):
    image = photo(60, 80)
    counts = []
    for seed in range(8):
        out = degrade.pixelate(image, generator(seed), ratio=(0.1, 0.1))
        assert abs(out.mean() - image.mean()) < 4
        counts.append(len(np.unique(out.reshape(-1, 3), axis=0)))
    assert min(counts) <= 6 * 8 < max(counts)  # blocky, and soft


def test_pixel_shuffle_keeps_the_pixels_and_moves_the_share_asked_for(photo, generator):
    image = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    out = degrade.pixel_shuffle(image, generator(), share=(0.2, 0.2))
    np.testing.assert_array_equal(*(np.sort(a.reshape(-1, 3).view("u1,u1,u1").ravel()) for a in (out, image)))
    assert abs((out != image).any(axis=2).mean() - 0.2) < 0.005


def test_jpeg_stays_near_and_keeps_red_red(photo, generator):
    image = photo(64, 96)
    worse = [np.abs(degrade.jpeg(image, generator(), quality=(q, q)).astype(int) - image).mean() for q in (95, 50, 10)]
    assert 0 < worse[0] < 4 and worse[0] < worse[1] < worse[2] < 12
    # Luma is kept best: it is where the quantisation is finest.
    out = degrade.jpeg(image, generator(), quality=(10, 10)).astype(float) - image
    assert np.abs(out @ (0.299, 0.587, 0.114)).mean() < np.abs(out @ (0.114, 0.587, 0.299)).mean()


def test_pixelate_looks_as_told(photo, generator):
    image = photo(60, 80)
    for look, few in (("blocky", True), ("soft", False)):
        for seed in range(6):
            out = degrade.pixelate(image, generator(seed), ratio=(0.1, 0.1), look=(look,))
            assert (len(np.unique(out.reshape(-1, 3), axis=0)) <= 6 * 8) == few


def test_a_choice_of_qualities_is_one_of_these(photo, generator):
    image = photo(40, 40)
    wanted = {degrade.jpeg(image, generator(), quality=(q, q)).tobytes() for q in (10, 50)}
    seen = {degrade.jpeg(image, generator(k), quality=Choice((10, 50))).tobytes() for k in range(20)}
    assert seen == wanted
