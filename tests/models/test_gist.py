import numpy as np
import pytest
import torch
from PIL import Image

from isckit.models.gist import DIM, GistDescriber, gist, thumbnail
from isckit.views.geometry import view_set

Y, X = np.mgrid[:32, :32]
A = np.stack([8 * X % 256, 8 * Y % 256, 4 * (X + Y) % 256], -1).astype(np.uint8)
B = np.stack([8 * ((7 * X + 13 * Y) % 32), 255 * ((X // 4 + Y // 4) % 2), 4 * ((X**2 + Y**2) % 64)], -1).astype(
    np.uint8
)
# Output of the reference program for both pictures, before L2: norm, sum, and components by index.
GOLDEN = {
    "A": (
        A,
        1.736039,
        21.8922,
        {
            0: 0.251279,
            1: 0.291255,
            2: 0.293905,
            3: 0.284984,
            16: 0.093326,
            320: 0.006278,
            640: 0.033325,
            957: 0.003281,
            958: 0.002912,
            959: 0.014950,
        },
    ),
    "B": (
        B,
        7.065841,
        138.958,
        {
            0: 0.052973,
            1: 0.065833,
            2: 0.078431,
            3: 0.084456,
            16: 0.137753,
            320: 0.177554,
            640: 0.119450,
            957: 0.023574,
            958: 0.019440,
            959: 0.090469,
        },
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_gist_equals_the_reference_program(name):
    image, norm, total, components = GOLDEN[name]
    vector = gist(torch.from_numpy(image[None]))[0].numpy()
    assert vector.shape == (DIM,)
    assert np.linalg.norm(vector) == pytest.approx(norm, abs=1e-5)
    assert vector.sum() == pytest.approx(total, abs=1e-3)
    for index, value in components.items():
        assert vector[index] == pytest.approx(value, abs=1e-5)


def test_squared_distance_of_the_two_reference_pictures():
    vectors = torch.nn.functional.normalize(gist(torch.from_numpy(np.stack([A, B]))), dim=-1)
    assert float(((vectors[0] - vectors[1]) ** 2).sum()) == pytest.approx(1.61128, abs=1e-5)


def test_a_batch_gives_the_vectors_of_its_images_one_by_one():
    both = gist(torch.from_numpy(np.stack([A, B])))
    single = torch.cat([gist(torch.from_numpy(image[None])) for image in (A, B)])
    assert torch.allclose(both, single, atol=1e-6)


@pytest.mark.parametrize("size", [(64, 64), (200, 50), (50, 200), (32, 33), (5, 400)])
def test_thumbnail_scales_the_shorter_side_to_32_and_takes_the_centre(size):
    image = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    out = thumbnail(image)
    assert out.shape == (32, 32, 3)
    short = min(size)
    width, height = 32 * size[0] // short, 32 * size[1] // short
    whole = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    top, left = (height - 32) // 2, (width - 32) // 2
    assert np.array_equal(out, whole[top : top + 32, left : left + 32])


def test_views_are_described_like_images_cut_by_hand():
    image = np.random.default_rng(1).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    views = view_set(("mirror", "quarters", "rotations"))
    describer = GistDescriber()
    prepared = describer.prepare(image, views)
    vectors = describer.embed(torch.from_numpy(prepared[None]), views)[0]
    names = [view.name for view in views]
    by_hand = {"whole": image, "mirror": image[:, ::-1], "quarter_01": image[:30, 45:], "turn90": np.rot90(image)}
    for name, cut in by_hand.items():
        alone = describer.prepare(np.ascontiguousarray(cut), view_set(()))
        assert np.array_equal(alone[0], prepared[names.index(name)])
    assert torch.allclose(vectors.norm(dim=-1), torch.ones(len(views)), atol=1e-6)


def test_a_flat_picture_has_a_direction_and_equals_other_flat_pictures_only():
    describer, views = GistDescriber(), view_set(())
    pictures = [np.full((40, 50, 3), 128, np.uint8), np.full((9, 9, 3), 255, np.uint8), A]
    vectors = [describer.embed(torch.from_numpy(describer.prepare(p, views)[None]), views)[0, 0] for p in pictures]
    assert float(vectors[0].norm()) == pytest.approx(1)
    assert torch.allclose(vectors[0], vectors[1])
    assert float(vectors[0] @ vectors[2]) < 0.95
