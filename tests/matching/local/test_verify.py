from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from isckit.config import Keypoints, Verify
from isckit.features.kinds import feature_of
from isckit.features.points import Points
from isckit.features.sift import RootSift
from isckit.matching.local.verify import Shown, counted, project
from isckit.synthetic.procedural import bundled_pictures
from isckit.vectors import device


def match(query, reference, *, ratio):
    return Shown([query]).matches(reference, ratio=ratio)[0]


def score(query, reference, settings):
    return Shown([query]).score(reference, settings)


def extract(image, settings):
    (points,) = feature_of(settings).detect([image])
    return points


SETTINGS = Keypoints()
COUNT = Verify(model="none", score="count", least=1)


@pytest.fixture(scope="module")
def pictures():
    return [cv2.resize(picture, (256, 192), interpolation=cv2.INTER_AREA) for picture in bundled_pictures()]


def warped(image, matrix, size):
    return cv2.warpAffine(image, np.float32(matrix), size, flags=cv2.INTER_AREA)


def random_points(seed, n, *, area=60_000):
    rng = np.random.default_rng(seed)
    descriptors = rng.integers(45, size=(n, 128), dtype=np.uint8)
    frames = np.column_stack([rng.uniform(0, 250, (n, 2)), np.full(n, 4), np.zeros(n)]).astype(np.float32)
    return Points(descriptors, frames, area)


def moved(points, shift, *, noise=0.0, seed=0):
    places = points.frames[:, :2] + np.float32(shift) + np.random.default_rng(seed).normal(0, noise, (len(points), 2))
    return replace(points, frames=np.column_stack([places, points.frames[:, 2:]]).astype(np.float32))


def test_matches_are_the_published_ones():
    query, reference = random_points(0, 30), random_points(1, 20)
    query.descriptors[:12] = reference.descriptors[:12]
    query.descriptors[12] = reference.descriptors[3]  # two equally near: no match
    query.frames[5, :2], query.frames[6, :2] = (40.4, 50.1), (39.8, 49.9)  # one place in the query: counts once
    reference.frames[8, :2] = reference.frames[9, :2] = 17.2, 31.1
    reference.frames[9, :2] += 0.2
    gaps = ((reference.descriptors[:, None].astype(int) - query.descriptors[None].astype(int)) ** 2).sum(axis=2)
    first, second = np.sort(gaps, axis=1)[:, :2].T
    accepted = {(int(gaps[r].argmin()), r) for r in range(20) if 1.8 * first[r] < second[r]}
    left, right, distances = match(query, reference, ratio=1.8)
    found = set(zip(left.tolist(), right.tolist(), strict=True))
    assert found < accepted and len(found) == len(accepted) - 2
    assert (3, 3) not in found
    assert len({(5, 5), (6, 6)} & found) == 1 and len({(8, 8), (9, 9)} & found) == 1
    assert np.array_equal(distances, np.sort(distances))


@pytest.mark.parametrize(("ratio", "sizes"), [(1.8, (30, 17)), (1.05, (40, 1)), (0.9, (25, 0)), (1.2, (0, 0))])
def test_two_sides_match_as_each_of_them_does_by_a_loop(ratio, sizes):
    sides, reference = [random_points(seed, n) for seed, n in enumerate(sizes)], random_points(7, 20)
    for side in sides:
        side.descriptors[:10] = reference.descriptors[: len(side.descriptors[:10])]
    for side, (left, right, distances) in zip(sides, Shown(sides).matches(reference, ratio=ratio), strict=True):
        gaps = ((reference.descriptors[:, None].astype(int) - side.descriptors[None].astype(int)) ** 2).sum(axis=2)
        wanted = []
        for row, own in enumerate(gaps):
            near = np.argsort(own, kind="stable")
            if len(own) > 1 and np.float32(ratio * own[near[0]]) < own[near[1]]:
                wanted.append((int(near[0]), row, int(own[near[0]])))
        assert set(zip(left.tolist(), right.tolist(), distances.tolist(), strict=True)) <= set(wanted)
        alone = match(side, reference, ratio=ratio)
        assert all((one == other).all() for one, other in zip(alone, (left, right, distances), strict=True))
        assert len(set(left.tolist())) == len({w[0] for w in wanted}) or ratio < 1.8
    best = max(score(side, reference, COUNT) for side in sides)
    assert Shown(sides).score(reference, COUNT) == best


@pytest.mark.parametrize(("ratio", "sizes"), [(1.8, (30, 17)), (1.05, (40, 1)), (0.9, (25, 0)), (1.2, (0, 0))])
@pytest.mark.parametrize("together", [device.TOGETHER, 1_000, 1])
def test_references_multiplied_together_on_a_device_match_as_each_of_them(monkeypatch, together, ratio, sizes):
    monkeypatch.setattr(device, "TOGETHER", together)
    sides = [random_points(seed, n) for seed, n in enumerate(sizes)]
    references = [random_points(seed, n) for seed, n in ((7, 20), (8, 0), (9, 1), (10, 33))]
    for side in sides:
        side.descriptors[:10] = references[0].descriptors[: len(side.descriptors[:10])]
        side.descriptors[10:12] = references[3].descriptors[4:5]  # equally near, to be told from the others
    shown = Shown(sides)
    vectors = [points.vectors() for points in references]
    found = device.alone(shown.columns, shown.bounds, vectors, ratio, torch.device("cpu"))
    assert len(found) == len(references)
    for reference, nearest in zip(references, found, strict=True):
        together, by_itself = shown.one_to_one(reference, nearest, least=1), shown.matches(reference, ratio=ratio)
        for side in zip(together, by_itself, strict=True):
            assert all(np.array_equal(*parts) and parts[0].dtype == parts[1].dtype for parts in zip(*side, strict=True))


def test_the_ratio_is_of_squared_distances():
    reference = replace(random_points(0, 1), descriptors=np.zeros((1, 128), np.uint8))
    for second, accepted in ((13, False), (14, True)):  # 1.8 * 10^2 = 180, between 13^2 and 14^2
        query = random_points(1, 2)
        query.descriptors[:] = 0
        query.descriptors[0, 0], query.descriptors[1, 0] = 10, second
        assert (len(match(query, reference, ratio=1.8)[0]) == 1) is accepted


def test_the_count_has_a_tie_breaker_below_one():
    assert 7 < counted(7, np.full(7, 9_000.0)) < counted(7, np.full(7, 100.0)) < 8
    assert counted(7, np.zeros(7)) < 8 and counted(7, np.full(7, 1e12)) >= 7


@pytest.mark.parametrize("model", ["none", "similarity", "affine", "homography"])
@pytest.mark.parametrize("kind", ["count", "relative"])
def test_edited_copies_score_above_other_pictures(pictures, model, kind):
    if (model, kind) == ("none", "relative"):
        return
    settings = Verify(model=model, score=kind)
    references = [extract(picture, SETTINGS) for picture in pictures]
    turn = cv2.getRotationMatrix2D((128, 96), 25, 0.7)
    for number in (0, 5, 9):
        query = extract(warped(pictures[number], turn, (256, 192)), SETTINGS)
        scores = [score(query, reference, settings) for reference in references]
        assert np.argmax(scores) == number and scores[number] > 2 * np.partition(scores, -2)[-2]


def test_a_mirrored_copy_is_found_by_mirrored_points(pictures):
    query = extract(np.ascontiguousarray(pictures[3][:, ::-1]), SETTINGS)
    reference = extract(pictures[3], SETTINGS)
    assert score(RootSift(SETTINGS).mirror(query), reference, Verify()) > 4 > score(query, reference, Verify())


def test_a_reflection_is_no_model():
    reference = random_points(0, 60)
    flipped = replace(reference, frames=reference.frames * np.float32([-1, 1, 1, 1]))
    for model in ("affine", "homography"):
        assert score(moved(reference, (9, 9)), reference, Verify(model=model)) > 5
        assert score(flipped, reference, Verify(model=model)) == 0


def test_what_nobody_could_have_made_is_no_model():
    reference = random_points(0, 60)
    for factors in ((0.01, 0.01), (1, 0.05), (40, 40)):
        squeezed = replace(reference, frames=reference.frames * np.float32([*factors, 1, 1]))
        assert score(squeezed, reference, Verify(tolerance=0.5)) == 0


def test_the_score_grows_with_inliers_and_falls_with_error_and_with_points_that_do_not_fit():
    reference = random_points(0, 120)
    for kind in ("count", "relative"):
        settings = Verify(score=kind)
        scores = [
            score(
                replace(
                    reference,
                    descriptors=np.concatenate([reference.descriptors[:n], random_points(5, 120 - n).descriptors]),
                ),
                reference,
                settings,
            )
            for n in (6, 12, 30, 60, 120)
        ]
        assert scores == sorted(scores) and scores[0] > 0 and len(set(scores)) == 5
    exact, shaky = (score(moved(reference, (3, 4), noise=noise), reference, Verify()) for noise in (0, 1.0))
    assert shaky < 0.8 * exact
    more = random_points(7, 300)
    busy = Points(
        *(np.concatenate([getattr(reference, part), getattr(more, part)]) for part in ("descriptors", "frames")), 1
    )
    also = random_points(8, 300)
    textured = Points(
        *(np.concatenate([getattr(reference, part), getattr(also, part)]) for part in ("descriptors", "frames")), 1
    )
    assert score(busy, textured, Verify()) < 0.7 * score(reference, reference, Verify())


def test_every_inlier_counts_by_its_error():
    reference = random_points(0, 80)
    found = score(moved(reference, (3, 4)), reference, Verify())
    assert found == pytest.approx(80 / np.sqrt(100), rel=1e-3)


def test_too_few_points_score_nothing():
    for n in (0, 1, 2, 3):
        assert score(random_points(0, n), random_points(0, n), Verify()) == 0
    few = random_points(0, 5)
    assert score(few, few, Verify(least=6)) == 0 < score(few, few, Verify(least=5))
    assert score(random_points(0, 1), random_points(0, 1), COUNT) == 0 < score(few, few, COUNT)


def test_a_pair_has_one_score():
    pair = random_points(0, 80), moved(random_points(0, 80), (5, 5), noise=2.0)
    scores = set()
    for seed in range(5):
        cv2.setRNGSeed(seed)
        scores.add(score(*pair, Verify()))
    assert len(scores) == 1


def test_places_are_projected_by_the_model():
    model = np.array([[2, 0, 1], [0, 2, 3], [0, 0, 2]], float)
    assert np.allclose(project(np.array([[4, 6]]), model), [[4.5, 7.5]])
