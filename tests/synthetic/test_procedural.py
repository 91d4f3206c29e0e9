"""Pictures from nothing: the same each time, rich, and not copies of each other."""

from __future__ import annotations

import subprocess
import sys
import zlib
from itertools import pairwise

import cv2
import numpy as np
import pytest

from isckit.synthetic.paint import line, noise, palette, ramp, textures
from isckit.synthetic.procedural import FAMILIES, bundled_pictures, picture

SIZE = (96, 128)


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Unit vector of an 8 x 8 grey thumbnail without its mean."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (8, 8), interpolation=cv2.INTER_AREA).astype(float).ravel()
    small -= small.mean()
    return small / np.linalg.norm(small)


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_seeds_give_equal_pixels_of_the_asked_size(family: str) -> None:
    once, again = picture(7, size=SIZE, family=family), picture(7, size=SIZE, family=family)
    assert once.shape == (*SIZE, 3) and once.dtype == np.uint8
    assert np.array_equal(once, again)


@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_of_a_family_have_contrast_and_detail(family: str) -> None:
    for seed in range(8):
        image = picture(seed, size=SIZE, family=family)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        assert grey.std() > 8, seed
        assert len(np.unique(grey)) > 60, seed
        assert 8 < image.mean() < 247, seed


@pytest.mark.parametrize("family", FAMILIES)
def test_two_seeds_of_a_family_are_no_copies_of_each_other(family: str) -> None:
    images = [picture(seed, size=SIZE, family=family) for seed in range(8)]
    thumbnails = np.stack([thumbnail(image) for image in images])
    # Distractors may look alike (skies, pages), but a picture and its own blur agree to 0.999.
    alike = (thumbnails @ thumbnails.T)[np.triu_indices(8, 1)]
    assert alike.max() < 0.985
    for a, b in pairwise(images):
        assert np.abs(a.astype(int) - b).mean() > 10


def test_an_integer_size_is_the_longest_side_and_aspects_differ() -> None:
    shapes = {picture(seed, size=64).shape[:2] for seed in range(24)}
    assert {max(shape) for shape in shapes} == {64}
    assert len(shapes) >= 4 and any(h > w for h, w in shapes) and any(h < w for h, w in shapes)


def test_seeds_draw_many_families() -> None:
    plain = [picture(seed, size=(32, 32)) for seed in range(40)]
    drawn = [
        [name for name in FAMILIES if np.array_equal(image, picture(seed, size=(32, 32), family=name))]
        for seed, image in enumerate(plain)
    ]
    assert all(len(names) == 1 for names in drawn)
    assert len({names[0] for names in drawn}) >= 9


def test_a_fresh_process_draws_the_same_picture() -> None:
    code = (
        "import zlib; from isckit.synthetic.procedural import picture; print(zlib.crc32(picture(3, size=64).tobytes()))"
    )
    outside = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(outside) == zlib.crc32(picture(3, size=64).tobytes())


def test_drawing_imports_no_heavy_library() -> None:
    code = (
        "import sys, isckit.synthetic.procedural as p; p.bundled_pictures(); "
        "print(sorted({'torch', 'sklearn', 'matplotlib', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    outside = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert outside.strip() == "[]"


def test_bundled_photographs_are_twelve_disjoint_quarters() -> None:
    from sklearn.datasets import load_sample_image

    pictures = bundled_pictures()
    assert len(pictures) == 12 and all(p.dtype == np.uint8 and min(p.shape[:2]) > 200 for p in pictures)
    left, right, low_left, low_right = pictures[:4]
    whole = np.vstack([np.hstack([left, right]), np.hstack([low_left, low_right])])
    china = load_sample_image("china.jpg")
    assert whole.shape == china.shape
    assert np.abs(whole.astype(int) - china).mean() < 2  # RGB order; decoders differ by a level


def test_the_paint_box_keeps_its_ranges() -> None:
    rng = np.random.default_rng(0)
    field = noise(rng, 40, 60)
    assert field.shape == (40, 60) and field.min() == 0 and field.max() == 1
    assert noise(rng, 3, 200).shape == (3, 200)
    ridge = line(rng, 50, cells=3)
    assert ridge.shape == (50,) and ridge.min() == -0.5 and ridge.max() == 0.5
    colours = palette(rng, 5)
    assert colours.shape == (5, 3) and colours.min() >= 0 and colours.max() <= 1
    bank = textures(rng, 20, 30)
    assert bank.shape == (7, 20, 30) and bank.min() >= -1 and bank.max() <= 1


def test_a_ramp_runs_from_the_first_to_the_last_colour() -> None:
    colours = np.float32([[0, 0, 0], [1, 0.5, 0]])
    assert ramp(colours, np.array([-1.0, 0.0])).max() == 0
    assert np.allclose(ramp(colours, np.array([1.0, 2.0])), [1, 0.5, 0])
    assert np.allclose(ramp(colours, np.array(0.5)), [0.5, 0.25, 0], atol=0.01)
