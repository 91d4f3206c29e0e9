import random

import numpy as np
import pytest
from PIL import Image, ImageFont

from isckit.augment import augly


def test_the_multiline_size_is_pillow_9s(generator):
    augly.call("hflip", np.zeros((4, 4, 3), np.uint8), generator())  # the first call brings the shim
    font = ImageFont.truetype(augly.font("Raleway-ExtraBold"), 40)
    line = font.getbbox("A")[3]
    for text, count in [("Wide line", 1), ("i\nWide line", 2), ("a\nWide line\nb", 3)]:
        width, height = font.getsize_multiline(text)
        assert width == max(font.getbbox(part)[2] for part in text.split("\n"))
        assert height == count * line + (count - 1) * 4


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("perspective_transform", {"sigma": 20.0}),
        ("meme_format", {"text": "two\nlines", "caption_height": 60}),
        ("random_noise", {"var": 0.05}),
        ("shuffle_pixels", {"factor": 0.5}),
        ("overlay_text", {}),
        ("overlay_stripes", {}),
        ("masked_composite", {"transform_function": None, "mask": None}),
    ],
)
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_augly_runs_on_todays_numpy_and_pillow_and_touches_no_global_generator(photo, generator, name, options):
    image = photo(90, 120)
    random.seed(5)
    np.random.seed(5)
    wanted = random.random(), np.random.random()
    random.seed(5)
    np.random.seed(5)
    out = augly.call(name, image, generator(1), **options)
    assert (random.random(), np.random.random()) == wanted
    assert out.dtype == np.uint8 and out.shape[2] == 3 and out.shape[1] == 120
    assert (out[-90:] != image).any() or name in ("meme_format", "masked_composite")
    np.testing.assert_array_equal(out, augly.call(name, image, generator(1), **options))


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_the_constant_default_seeds_are_replaced_by_drawn_ones(photo, generator):
    image = photo(60, 60)
    for name in augly.FIXED_SEED:
        first, second = (augly.call(name, image, generator(seed)) for seed in (1, 2))
        assert (first != second).any(), name


def test_the_global_generators_come_back_after_an_error_too(photo, generator):
    random.seed(5)
    before = random.getstate()
    with pytest.raises(AssertionError):
        augly.call("overlay_text", photo(20, 20), generator(), font_size=7.0)
    assert random.getstate() == before


def test_kept_screenshot_templates_give_what_augly_gives_and_stay_clean(photo, generator):
    from augly.image import functional

    pages = augly.assets() / "screenshot_templates"
    paths = str(pages / "web.png"), str(pages / "bboxes.json")
    augly.call("hflip", photo(4, 4), generator())
    once, box = functional.imutils.get_template_and_bbox(*paths)
    once.paste((1, 2, 3), tuple(box))
    again, _ = functional.imutils.get_template_and_bbox(*paths)
    with Image.open(paths[0]) as template:
        np.testing.assert_array_equal(np.array(again), np.array(template.convert("RGB")))
