import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree

from isckit.config import Keypoints
from isckit.features.kinds import feature_of
from isckit.features.points import reduced
from isckit.features.sift import RootSift, mirrored_descriptors, rootsift
from isckit.matching.local.verify import Shown
from isckit.synthetic.procedural import bundled_pictures, picture


def extract(image, settings):
    (points,) = feature_of(settings).detect([image])
    return points


SETTINGS = Keypoints(points=0)


@pytest.fixture(scope="module")
def photograph():
    return bundled_pictures()[0]


def match(query, reference, *, ratio):
    return Shown([query]).matches(reference, ratio=ratio)[0]


def test_squared_lengths_are_within_one_percent_of_65025(photograph):
    descriptors = extract(photograph, SETTINGS).descriptors.astype(np.int64)
    lengths = (descriptors**2).sum(axis=1)
    assert abs(lengths / 65_025 - 1).max() < 0.01


def test_rootsift_of_a_histogram_is_the_root_of_its_shares():
    descriptor = np.zeros((2, 128), np.float32)
    descriptor[0, :2] = 1, 3
    assert rootsift(descriptor)[0, :3].tolist() == [128, 221, 0]  # 255 * sqrt(1/4) = 127.5, to even
    assert not rootsift(descriptor)[1].any()


def test_mirroring_twice_is_the_identity():
    descriptors = np.random.default_rng(0).integers(256, size=(5, 128), dtype=np.uint8)
    assert np.array_equal(mirrored_descriptors(mirrored_descriptors(descriptors)), descriptors)
    assert not np.array_equal(mirrored_descriptors(descriptors), descriptors)


@pytest.mark.parametrize("number", [0, 8])
def test_points_of_a_flipped_photograph_match_the_mirrored_ones_at_their_places(number):
    image = bundled_pictures()[number]
    plain, flipped = extract(image, SETTINGS), extract(np.ascontiguousarray(image[:, ::-1]), SETTINGS)
    mirror = RootSift(SETTINGS).mirror(plain)
    width = reduced(image[..., 0], SETTINGS.short_side).shape[1]
    left, right, _ = match(mirror, flipped, ratio=1.8)
    moved = mirror.frames[left, :2] + np.float32([width - 1, 0]) - flipped.frames[right, :2]
    correct = np.linalg.norm(moved, axis=1) < 2
    places = len(np.unique(np.rint(flipped.frames[:, :2]), axis=0))
    assert correct.sum() >= 0.7 * places
    turned = (mirror.frames[left, 3] - flipped.frames[right, 3])[correct]
    assert np.median(np.abs((turned + 180) % 360 - 180)) < 3
    assert len(match(plain, flipped, ratio=1.8)[0]) < 0.2 * places  # a mirrored building is like itself


def test_the_shorter_side_is_reduced_and_never_enlarged():
    assert reduced(np.zeros((600, 900), np.uint8), 300).shape == (300, 450)
    assert reduced(np.zeros((900, 600), np.uint8), 300).shape == (450, 300)
    assert reduced(np.zeros((299, 200), np.uint8), 300).shape == (299, 200)
    assert extract(picture(1, size=(700, 600)), SETTINGS).frames[:, :2].max() < 350


def test_the_strongest_points_are_kept(photograph):
    every, some = extract(photograph, SETTINGS), extract(photograph, Keypoints(points=50))
    assert len(some) == 50 < len(every)
    assert np.array_equal(every.frames[:50], some.frames)
    assert np.array_equal(every.descriptors[:50], some.descriptors)


def test_only_enlarged_points_are_finer_than_the_image(photograph):
    fine, coarse = extract(photograph, SETTINGS), extract(photograph, Keypoints(points=0, enlarged=False))
    assert len(coarse) < len(fine)
    assert fine.frames[:, 2].min() < 2.5 < coarse.frames[:, 2].min()
    assert cKDTree(fine.frames[:, :2]).query(coarse.frames[:, :2])[0].max() < 1e-3


def test_images_with_fewer_points_than_asked_for_have_none(photograph):
    found = len(extract(photograph, SETTINGS))
    assert len(extract(photograph, Keypoints(points=0, least=found))) == found
    assert len(extract(photograph, Keypoints(points=0, least=found + 1))) == 0
    for kind in ("sift", "orb"):
        for shape in ((1, 1, 3), (64, 64, 3), (3, 500, 3)):
            blank = extract(np.full(shape, 128, np.uint8), Keypoints(kind=kind))
            assert len(blank) == 0 and blank.descriptors.shape[1] in (32, 128)


def test_orb_finds_a_turned_picture_again(photograph):
    settings = Keypoints(kind="orb", points=500, levels=8)
    plain, turned = extract(photograph, settings), extract(cv2.rotate(photograph, cv2.ROTATE_90_CLOCKWISE), settings)
    assert 300 < len(plain) <= 500 and plain.descriptors.shape[1] == 32
    assert len(match(plain, turned, ratio=1.5)[0]) > 100


def test_one_pass_finds_and_describes_what_two_do():
    for image in (*bundled_pictures()[:3], picture(5, size=(180, 240))):
        luma = reduced(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 150)
        sift = cv2.SIFT.create(0, 3, 0.0125, 10.0, 1.6, True)
        found = sorted(sift.detect(luma, None), key=lambda p: (-p.response, p.pt, p.size, p.angle))[:90]
        described, values = sift.compute(luma, found)
        points = extract(image, Keypoints(short_side=150, points=90))
        assert len(points) == len(found) > 50
        np.testing.assert_array_equal(points.frames[:, :2], np.array([p.pt for p in described], np.float32))
        np.testing.assert_array_equal(points.descriptors, rootsift(values))


@pytest.mark.parametrize("kind", ["sift", "orb"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 3), (1, 40_000), (40_000, 1), (33_000, 40)])
def test_pictures_of_any_shape_have_points_or_none(kind, shape):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    points = extract(noise, Keypoints(kind=kind, points=100))
    assert len(points) <= 100 and len(points.descriptors) == len(points) and points.area >= 1


def test_of_a_strip_the_longer_side_is_reduced():
    assert reduced(np.zeros((40, 33_000), np.uint8), 640).shape == (19, 16_000)
    assert reduced(np.zeros((640, 16_000), np.uint8), 640).shape == (640, 16_000)
