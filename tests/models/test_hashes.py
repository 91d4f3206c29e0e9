import cv2
import numpy as np
import pytest
import torch

from isckit import config
from isckit.models.hashes import HashDescriber, cosines, decimated, jarosz, pdq, phash
from isckit.models.members import build
from isckit.types import WHOLE
from isckit.views.geometry import View

WHOLE_VIEW = (View(WHOLE),)


@pytest.fixture(scope="module")
def photos():
    """Twelve different pictures of 200 x 300 pixels: smooth fields with some shapes on them."""
    pictures = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        field = cv2.resize(
            rng.integers(0, 256, (5, 7, 3)).astype(np.float32), (300, 200), interpolation=cv2.INTER_CUBIC
        )
        picture = np.ascontiguousarray(field.clip(0, 255).astype(np.uint8))
        for _ in range(6):
            at = rng.integers(0, 200, 4).tolist()
            cv2.rectangle(picture, at[:2], at[2:], rng.integers(0, 256, 3).tolist(), -1)
        pictures.append(picture)
    return pictures


def box(values, window):
    """The authors' one-dimensional box by its definition: ahead of a pixel one more than behind it, where even."""
    half = (window + 2) // 2
    reach = range(len(values))
    return np.array([values[max(0, i - (window - half)) : i + half].mean() for i in reach])


@pytest.mark.parametrize(("height", "width"), [(64, 64), (150, 391), (129, 257), (512, 300), (20, 500)])
def test_the_jarosz_filter_equals_two_passes_of_boxes_along_rows_and_columns(height, width):
    grey = np.random.default_rng(0).uniform(0, 255, (height, width)).astype(np.float32)
    expected = grey.astype(np.float64)
    for _ in range(2):
        expected = np.stack([box(row, (width + 127) // 128) for row in expected])
        expected = np.stack([box(column, (height + 127) // 128) for column in expected.T]).T
    assert np.allclose(jarosz(grey), expected, atol=1e-3)


def test_decimation_takes_the_pixels_at_the_centres_of_cells():
    grey = np.arange(128 * 192, dtype=np.float32).reshape(128, 192)
    assert np.array_equal(decimated(grey), grey[1::2, 1::3])
    assert np.array_equal(decimated(np.eye(64)), np.eye(64))


def test_the_rows_of_the_dct_are_orthonormal_and_without_a_mean():
    rows = cosines(1, 16, 64)
    assert np.allclose(rows @ rows.T, np.eye(16), atol=1e-12) and np.allclose(rows.sum(1), 0, atol=1e-12)


@pytest.mark.parametrize(("i", "j"), [(1, 1), (3, 7), (16, 16), (2, 16)])
def test_of_a_single_frequency_pdq_sets_the_bit_of_that_frequency_alone_or_all_others(i, j):
    wave = np.outer(cosines(i, 1, 64)[0], cosines(j, 1, 64)[0])
    picture = np.repeat(np.rint(128 + 100 * wave / np.abs(wave).max())[:, :, None], 3, axis=2).astype(np.uint8)
    place = (i - 1) * 16 + j - 1
    assert pdq(picture)[place] and not pdq(255 - picture)[place]


def test_bits_stand_row_by_row_from_the_vertical_frequency():
    across = np.repeat(np.tile(np.linspace(255, 0, 64).astype(np.uint8), (64, 1))[:, :, None], 3, axis=2)
    frequencies = cosines(1, 16, 64) @ across[..., 0].astype(float) @ cosines(1, 16, 64).T
    assert np.abs(frequencies).max() < 1e-9  # nothing varies from row to row, and frequency 0 is left out
    slanted = np.clip(across.astype(int) + across.transpose(1, 0, 2) // 2, 0, 255).astype(np.uint8)
    assert not np.array_equal(pdq(slanted).reshape(16, 16), pdq(slanted.transpose(1, 0, 2)).reshape(16, 16))
    assert np.array_equal(pdq(slanted).reshape(16, 16).T, pdq(slanted.transpose(1, 0, 2)).reshape(16, 16))


@pytest.mark.parametrize("method", [pdq, phash])
def test_half_of_the_bits_are_set(photos, method):
    assert all(method(photo).mean() == 0.5 for photo in photos)


def test_mirroring_turns_the_bits_of_odd_frequencies_round(photos):
    for photo in photos:
        square = cv2.resize(photo, (64, 64), interpolation=cv2.INTER_AREA)  # no filter, whose even boxes have a side
        odd = np.tile(np.arange(16) % 2 == 0, (16, 1))
        flipped = pdq(np.ascontiguousarray(square[:, ::-1])).reshape(16, 16)
        turned = pdq(np.ascontiguousarray(square[::-1])).reshape(16, 16)
        # The median is near 0 but not 0, so a few bits near it keep their value.
        assert (flipped != (pdq(square).reshape(16, 16) ^ odd)).sum() < 40
        assert (turned != (pdq(square).reshape(16, 16) ^ odd.T)).sum() < 40


def test_of_frequencies_with_median_zero_mirroring_is_exact():
    rng = np.random.default_rng(3)
    spectrum = np.zeros((16, 16))
    spectrum[rng.permutation(16)[:5], :5] = rng.choice([-40.0, 40.0], (5, 5))  # most are 0, and so is the median
    rows = cosines(1, 16, 64)
    picture = np.rint(128 + rows.T @ spectrum @ rows).clip(0, 255).astype(np.uint8)
    picture = np.repeat(picture[:, :, None], 3, axis=2)
    bits, flipped = (pdq(p).reshape(16, 16) for p in (picture, np.ascontiguousarray(picture[:, ::-1])))
    strong = np.abs(spectrum) > 1
    odd = np.tile(np.arange(16) % 2 == 0, (16, 1))
    assert np.array_equal(bits[strong], (spectrum > 0)[strong])
    assert np.array_equal(flipped[strong], (bits ^ odd)[strong])


@pytest.mark.parametrize("value", [0, 77, 255])
@pytest.mark.parametrize(("method", "most"), [(pdq, 0), (phash, 1)])
def test_flat_pictures_of_any_size_have_one_hash(method, most, value):
    hashes = {method(np.full((h, w, 3), value, np.uint8)).tobytes() for h, w in [(40, 50), (64, 64), (333, 217)]}
    assert len(hashes) == 1 and np.frombuffer(hashes.pop(), bool).sum() <= most


def test_a_picture_of_four_rows_has_no_pdq_hash():
    noise = np.random.default_rng(0).integers(0, 256, (4, 90, 3)).astype(np.uint8)
    assert not pdq(noise).any() and pdq(np.repeat(noise, 2, axis=0)).any()


def jpeg(photo, quality):
    return cv2.imdecode(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


@pytest.mark.parametrize(("method", "near"), [(pdq, 31), (phash, 10)])
def test_copies_stay_near_and_other_pictures_far(photos, method, near):
    hashes = np.stack([method(photo) for photo in photos])
    for photo, bits in zip(photos, hashes, strict=True):
        for copy in (jpeg(photo, 40), cv2.resize(photo, (190, 140), interpolation=cv2.INTER_AREA), photo // 2 + 60):
            assert (method(copy) != bits).sum() < near
    apart = (hashes[:, None] != hashes[None]).sum(-1)[~np.eye(len(photos), dtype=bool)]
    assert abs(apart.mean() / hashes.shape[1] - 0.5) < 0.05 and apart.min() > 2.5 * near * hashes.shape[1] / 256


def test_large_pictures_are_reduced_first(photos):
    large = cv2.resize(photos[0], (1_500, 1_000), interpolation=cv2.INTER_CUBIC)
    assert (pdq(large) != pdq(photos[0])).sum() < 31


@pytest.mark.parametrize(("method", "bits"), [("pdq", 256), ("phash", 64)])
def test_vectors_are_the_bits_at_unit_length_and_their_product_counts_the_differing_ones(photos, method, bits):
    member = build(config.Hash(method=method))
    assert isinstance(member, HashDescriber) and member.dim == bits and not member.state_dict()
    prepared = torch.from_numpy(np.stack([member.prepare(photo, WHOLE_VIEW) for photo in photos[:3]]))
    vectors = member.embed(prepared, WHOLE_VIEW)
    assert vectors.shape == (3, 1, bits) and vectors.dtype == torch.float32
    assert torch.allclose(vectors.norm(dim=-1), torch.ones(3, 1))
    differing = (prepared[0, 0] != prepared[1, 0]).sum()
    assert float(vectors[0, 0] @ vectors[1, 0]) == pytest.approx(1 - 2 * float(differing) / bits, abs=1e-5)


def test_views_are_cut_turned_and_mirrored_before_they_are_hashed(photos):
    views = (*WHOLE_VIEW, View("turn90", turns=1), View("half", (0.0, 0.5, 1.0, 0.5)), View("mirror", mirror=True))
    photo = photos[0]
    parts = (photo, np.rot90(photo), photo[:, 150:], photo[:, ::-1])
    prepared = HashDescriber(config.Hash()).prepare(photo, views)
    assert prepared.shape == (4, 256) and prepared.dtype == np.uint8
    for found, part in zip(prepared, parts, strict=True):
        assert np.array_equal(found, pdq(np.ascontiguousarray(part)))
