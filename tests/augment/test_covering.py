import numpy as np
import pytest

from isckit.augment.covering import occlude


def changed(out, marker):
    return (out != marker).any(axis=2).mean()


@pytest.mark.parametrize("shape", [(200, 200), (120, 300), (301, 90)])
def test_patches_cover_forty_to_eighty_parts_of_a_hundred(photo, generator, shape):
    # A colour that no patch is likely to show: what changed is covered.
    marker = np.array([3, 251, 7], np.uint8)
    image = np.full((*shape, 3), marker, np.uint8)
    shares = [changed(occlude(image, generator(seed), other=photo(90, 80)), marker) for seed in range(60)]
    assert 0.4 <= min(shares) < 0.5 and 0.72 < max(shares) <= 0.8


def test_fewer_patches_are_larger_ones(photo, generator):
    image = np.zeros((100, 100, 3), np.uint8)
    few = [occlude(image, generator(seed), other=photo(90, 80), count=(1, 1), area=(0.5, 0.5)) for seed in range(10)]
    for out in few:
        rows, columns = np.nonzero(out.any(axis=2))
        box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert 4300 < box <= 5000  # one rectangle, whole pixels of half the picture


def test_what_is_covered_is_hidden_and_the_rest_stays(photo, generator):
    image, other = photo(150, 150), photo(60, 60, seed=2)
    first, second = (occlude(picture, generator(4), other=other) for picture in (image, 255 - image))
    same = (first == second).all(axis=2)  # covered in both: nothing of the picture shines through
    kept = (first == image).all(axis=2)
    assert 0.4 < same.mean() <= 0.8 and (kept | same).all() and kept.mean() >= 0.2


def test_tiny_pictures_come_out_as_they_can(photo, generator):
    for shape in ((1, 1), (1, 9), (2, 2), (5, 3)):
        out = occlude(photo(*shape), generator(), other=photo(3, 3))
        assert out.shape == (*shape, 3) and out.dtype == np.uint8
