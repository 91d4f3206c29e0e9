import numpy as np
import pytest

from isckit.augment.colour import PIXEL_EDITS, corrupt, pixel_edit
from isckit.augment.covering import cover, onto, onto_black, sticker
from isckit.augment.geometry import shear
from isckit.augment.pipelines import PIPELINES, find, view_rng

NAMES = [name for name in PIPELINES if name.startswith("separate.")]
# What changes no colour, so that a picture of coordinates shows where each pixel comes from.
PLACING = {
    "stretch", "random_resized_crop", "hflip", "vflip", "rotate90", "rotate", "rotate_in_place", "shear", "onto_black",
    "onto", "cover", "sticker", "text",
}  # fmt: skip


def coordinates(height, width):
    """Red grows to the right, green downwards."""
    down, right = np.mgrid[0:height, 0:width]
    picture = np.stack([255 * (right + 0.5) / width, 255 * (down + 0.5) / height, np.zeros((height, width))], axis=2)
    return picture.astype(np.uint8)


def placing(nodes):
    """The steps of a pipeline that move pixels, as far as colours let one see where they come from."""
    from isckit.augment.steps import Pipeline

    return Pipeline(tuple(node for node in nodes if node.ops() <= PLACING))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("separate.basic",)])
def test_images_of_any_shape_are_cropped_and_placed_alike_by_the_same_draws(name):
    pipeline = placing(find(name).steps)
    assert len(pipeline.steps) > 1
    background = np.zeros((30, 50, 3), np.uint8)
    for index in range(12):
        first, *others = (
            pipeline(coordinates(*shape), view_rng(5, 0, index, 1), lambda: background, 48).astype(int)
            for shape in ((200, 200), (150, 260), (260, 120))
        )
        for other in others:
            assert np.mean(np.abs(first - other) > 12) < 0.03, index


def test_the_next_draw_is_the_same_whatever_the_picture(photo):
    for name in NAMES:
        for index in range(6):
            rngs = [view_rng(1, 0, index, 0) for _ in range(2)]
            for rng, picture in zip(rngs, (photo(80, 60), photo(50, 90, seed=4)), strict=True):
                find(name)(picture, rng, lambda: np.full((40, 30, 3), 90, np.uint8), 32)
            assert rngs[0].random() == rngs[1].random(), (name, index)


def test_another_seed_makes_another_view(photo):
    image = photo(64, 64)
    views = {PIPELINES["separate.final"](image, view_rng(1, 0, k, 0), lambda: image, 32).tobytes() for k in range(5)}
    assert len(views) == 5


@pytest.mark.parametrize("area", [0.05, 0.3, 1.0])
def test_a_pasted_rectangle_has_the_drawn_area(area):
    white, black = np.full((200, 200, 3), 255, np.uint8), np.zeros((90, 60, 3), np.uint8)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        covered = 1 - np.mean(cover(white, rng, other=black, area=(area, area), opacity=(1, 1)) > 127)
        shown = np.mean(onto_black(white, rng, area=(area, area), opacity=(1, 1)) > 127)
        on = np.mean(onto(white, rng, other=black, area=(area, area), opacity=(1, 1)) > 127)
        for share in (covered, shown, on):
            if area < 0.5:
                assert share == pytest.approx(area, abs=0.02)
            else:
                assert 0.5 <= share <= 1  # an aspect of up to 2 is cut at the edges


def test_a_sticker_covers_an_opaque_rectangle_where_it_is_filled():
    image = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    changed = np.any(sticker(image, np.random.default_rng(1), area=(0.2, 0.2), opacity=(1, 1)) != image, axis=2)
    rows, columns = (np.flatnonzero(changed.any(axis)) for axis in (1, 0))
    box = changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert box.size == pytest.approx(0.2 * 120 * 120, rel=0.05)
    assert box.mean() > 0.98


def test_shear_moves_rows_in_proportion_to_their_height_and_keeps_the_middle():
    image = np.zeros((101, 101, 3), np.uint8)
    image[:, 50] = 255

    class Most:
        def uniform(self, low, high):
            return high

    out = shear(image, Most(), most=45.0)[..., 0].argmax(axis=1)
    assert out[50] == 50 and out[60] - out[40] == pytest.approx(20, abs=1) and out[30] == pytest.approx(30, abs=1)


def test_pixel_edits_come_from_the_generator_alone(photo):
    image = photo(40, 50)
    for name in PIXEL_EDITS:
        first, second = (pixel_edit(image, np.random.default_rng(3), names=(name,)) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        assert first.shape == image.shape and first.dtype == np.uint8


def test_all_nine_corruptions_occur_and_strike_as_told():
    grey = np.full((80, 80, 3), 100, np.uint8)
    seen = set()
    for seed in range(80):
        out = corrupt(grey, np.random.default_rng(seed)).astype(int)
        struck = np.mean(np.any(out != 100, axis=2))
        if struck < 0.2:
            assert struck == pytest.approx(0.1, abs=0.02)
            seen.add(("salt", "pepper", "both")[2 if len(np.unique(out)) == 3 else int(out.min() == 0)])
        else:
            noise = out - 100
            coloured = bool(np.any(noise[..., 0] != noise[..., 1]))
            middle = np.median(noise)
            kind = "poisson" if middle > 20 else ("laplace" if np.percentile(np.abs(noise), 50) < 32 else "gauss")
            kind = (
                kind if kind == "poisson" else ("laplace" if np.percentile(np.abs(noise), 50) < 34.5 + 0.5 else "gauss")
            )
            seen.add((kind, coloured))
    assert {"salt", "pepper", "both", ("poisson", True), ("poisson", False)} <= seen
    assert len(seen) >= 7
