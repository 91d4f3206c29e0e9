import numpy as np

from isckit.augment import pages
from isckit.augment.geometry import resize


def test_a_page_shows_the_photo_at_the_width_asked_for(generator):
    image = np.zeros((100, 120, 3), np.uint8)
    image[...] = (250, 3, 40)
    layouts = set()
    for seed in range(40):
        out = pages.page(image, generator(seed), across=(0.5, 0.5), aspect=(1.0, 1.0))
        shown = (out == image[0, 0]).all(axis=2)
        rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
        assert out.shape[1] == 240
        height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
        assert shown[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert (height, width) in {(120, 120), (100, 120)}  # fills its place, or is whole between bars
        assert rows[0] >= 5 * 6 and out.shape[0] - rows[-1] > 3 * 6  # header and post above, buttons below
        layouts.add((height, bool(out[0, -1].sum() != out[-1, -1].sum()), out[rows[0] - 3, columns[0]].tobytes()))
    assert len(layouts) > 4


def test_everything_around_the_photo_varies(photo, generator):
    image = photo(60, 60)
    outs = [pages.page(image, generator(k)) for k in range(30)]
    assert len({out.shape for out in outs}) > 20 and len({out[0, -1].tobytes() for out in outs}) > 20


def test_a_photo_that_fills_its_place_is_its_centre_and_one_between_bars_is_whole(photo):
    image = photo(60, 120)
    np.testing.assert_array_equal(pages._fitted(image, 30, 30, None), resize(image[:, 30:90], 30, 30))
    out = pages._fitted(image, 30, 30, (9, 8, 7))
    np.testing.assert_array_equal(out[7:22], resize(image, 15, 30))
    assert (out[:7] == (9, 8, 7)).all() and (out[22:] == (9, 8, 7)).all()
    tall = pages._fitted(image, 90, 60, (0, 0, 0))
    np.testing.assert_array_equal(tall[30:60], resize(image, 30, 60))
    for shape in [(1, 300), (300, 1), (1, 1)]:
        for bars in (None, (0, 0, 0)):
            assert pages._fitted(photo(*shape), 48, 64, bars).shape == (48, 64, 3)
