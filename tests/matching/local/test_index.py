import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isckit.config import Vote
from isckit.features.points import vectors
from isckit.matching.local.index import (
    EVERYTHING,
    fit,
    load,
    nearest,
    sample_size,
    save,
    squared_distances,
    within,
)


def points(seed, n, *, spread=30):
    """RootSIFT-like descriptors around a few centres."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).integers(60, size=(12, 128))
    return (centres[rng.integers(12, size=n)] + rng.integers(spread, size=(n, 128))).astype(np.float32)


def brute(left, right, allowed, radius):
    gaps = ((left[:, None].astype(np.int64) - right[None].astype(np.int64)) ** 2).sum(axis=2)
    return {(q, r): gaps[q, r] for q, r in zip(*np.nonzero((gaps <= radius) & allowed), strict=True)}


@pytest.fixture(scope="module")
def quantiser():
    return fit(points(0, 900), Vote(lists=8), seed=1)


@given(st.integers(0, 100), st.sampled_from([1, 2, 5]), st.sampled_from([0.0, 9_000.0, 15_000.0]))
@settings(max_examples=15, deadline=None)
def test_radius_search_equals_brute_force_within_probed_cells(quantiser, seed, probes, radius):
    left, right = points(seed, 60), points(seed + 1, 80)
    left[:5] = right[:5]
    probed, cells = quantiser.cells(left, probes=probes), quantiser.cells(right, probes=1)[:, 0]
    allowed = (probed[:, :, None] == cells).any(axis=1)
    hits = within(left, probed, right, cells, radius=radius)
    found = {(q, r): d for q, r, d in zip(*map(np.ndarray.tolist, hits), strict=True)}
    assert found == brute(left, right, allowed, radius) and len(found) == len(hits.query)


def test_cells_are_the_nearest_centroids_and_do_not_hang_on_the_batch(quantiser):
    data = points(5, 300)
    gaps = ((data[:, None] - quantiser.centroids) ** 2).sum(axis=2)
    cells = quantiser.cells(data, probes=3)
    assert np.array_equal(np.take_along_axis(gaps, cells, axis=1), np.sort(gaps, axis=1)[:, :3])
    assert np.array_equal(cells, np.concatenate([quantiser.cells(row[None], probes=3) for row in data]))


def test_one_cell_finds_everything():
    left, right = points(1, 50), points(2, 70)
    hits = within(left, EVERYTHING.cells(left, probes=4), right, np.zeros(70, np.int64), radius=15_000)
    assert len(hits.query) == len(brute(left, right, np.ones((50, 70), bool), 15_000)) > 0


def test_more_hits_than_asked_for_are_no_hits_at_all():
    left, right, cells = points(1, 50), points(2, 70), np.zeros(70, np.int64)
    probed = EVERYTHING.cells(left, probes=4)
    count = len(within(left, probed, right, cells, radius=15_000).query)
    assert within(left, probed, right, cells, radius=15_000, most=count - 1) is None
    assert len(within(left, probed, right, cells, radius=15_000, most=count).query) == count


def test_whether_two_points_meet_depends_on_no_other_point(quantiser):
    left, right = points(1, 50), points(2, 70)
    probed, cells = quantiser.cells(left, probes=2), quantiser.cells(right, probes=1)[:, 0]
    every = within(left, probed, right, cells, radius=15_000)
    some = within(left[::3], probed[::3], right[1::2], cells[1::2], radius=15_000)
    pairs = {(q, r) for q, r in zip(every.query.tolist(), every.reference.tolist(), strict=True)}
    assert {(3 * q, 2 * r + 1) for q, r in zip(some.query.tolist(), some.reference.tolist(), strict=True)} == {
        (q, r) for q, r in pairs if q % 3 == 0 and r % 2 == 1
    }


def test_nearest_is_the_first_of_the_smallest_distances():
    left, right = points(1, 50), points(2, 70)
    right[40] = right[3] = left[7]
    gaps = squared_distances(left, right)
    best, rows = nearest(left, np.zeros((50, 1), np.int64), right, np.zeros(70, np.int64))
    assert np.array_equal(rows, gaps.argmin(axis=1)) and rows[7] == 3
    assert np.array_equal(best, gaps.min(axis=1))


def test_a_point_whose_cells_are_empty_has_no_nearest():
    best, rows = nearest(points(1, 1), np.array([[4]]), points(2, 3), np.array([1, 2, 3]))
    assert best[0] == np.inf and rows[0] == 3


def test_product_quantised_search_finds_most_of_what_is_near():
    train = points(0, 4_000, spread=80)
    left = points(3, 300, spread=80)
    right = np.clip(left + np.random.default_rng(4).integers(-4, 5, size=left.shape), 0, 255).astype(np.float32)
    quantiser = fit(train, Vote(index="ivf_pq", lists=8), seed=1)
    decoded = quantiser.decode(quantiser.encode(right))
    assert quantiser.encode(right).shape == (300, 32)
    gaps = squared_distances(left, decoded)
    assert (gaps.argmin(axis=1) == np.arange(300)).mean() > 0.9
    assert ((decoded - right) ** 2).sum(axis=1).mean() < 0.5 * right.var(axis=0).sum()
    assert np.array_equal(decoded, np.rint(decoded))


def test_fitting_is_repeatable_and_survives_the_disk(tmp_path):
    for index in ("ivf", "ivf_pq"):
        first, second = (fit(points(0, 900), Vote(index=index, lists=8), seed=1) for _ in range(2))
        save(tmp_path / "q.npz", first)
        third = load(tmp_path / "q.npz")
        for other in (second, third):
            assert np.array_equal(first.centroids, other.centroids) and np.array_equal(first.codebook, other.codebook)
    assert sample_size(Vote(lists=2_048)) == 2_048 * 64


def test_the_squared_distance_of_bits_is_hammings():
    bits = np.random.default_rng(0).integers(256, size=(2, 32), dtype=np.uint8)
    a, b = vectors(bits, bits=True)
    assert squared_distances(a[None], b[None])[0, 0] == np.unpackbits(bits[0] ^ bits[1]).sum()
    quantiser = fit(
        vectors(np.random.default_rng(1).integers(256, size=(500, 32), dtype=np.uint8), bits=True),
        Vote(lists=4),
        seed=1,
        bits=True,
    )
    assert 0.2 < quantiser.centroids.mean() < 0.8


def test_of_equally_near_points_in_several_cells_the_first_is_the_nearest():
    twins = np.repeat(points(2, 1), 2, axis=0)
    for cells in ([1, 0], [0, 1]):
        assert nearest(points(1, 1), np.array([[0, 1]]), twins, np.array(cells))[1].tolist() == [0]
