import numpy as np
import pytest

from isckit.features.points import Points
from isckit.features.store import Block
from isckit.matching.local.index import PointHits
from isckit.matching.local.vote import count_votes, winners


def rule(votes, mean):
    """Whether imgFp's rule takes image 0 with these votes of images 0, 1, ..."""
    images = np.repeat(np.arange(len(votes)), votes)
    distances = np.full(len(images), mean, np.float32)
    won = winners(images, distances, np.zeros(len(images), np.int64), least=4, alone=6, radius=8_000)
    return won.reference.tolist() == [0]


@pytest.mark.parametrize(
    ("votes", "mean", "accepted"),
    [
        ((4, 3), 7_999, True),
        ((3, 0), 100, False),
        ((3, 1), 100, False),
        ((5,), 100, False),
        ((6,), 7_999, True),
        ((6,), 8_000, False),
        ((4, 4), 100, False),
        ((4, 3), 8_000, False),
    ],
)
def test_the_published_rule(votes, mean, accepted):
    assert rule(votes, mean) is accepted


def test_each_query_is_judged_by_its_own_points():
    images = np.array([7, 7, 7, 7, 2, -1, 3, 3, 3, 3, 3, 3, -1])
    owners = np.array([0] * 6 + [4] * 6 + [5])
    distances = np.where(images == 2, 60_000, 50).astype(np.float32)
    won = winners(images, distances, owners, least=4, alone=6, radius=8_000)
    assert (won.query.tolist(), won.reference.tolist(), won.votes.tolist()) == ([0, 4], [7, 3], [4, 6])


def block(frames, per):
    """Images with so many points each."""
    frames = np.array(frames, np.float32).reshape(-1, 4)
    parts = np.split(frames, np.cumsum(per)[:-1])
    names = np.array([f"I{number}" for number in range(len(per))])
    return Block.of(names, [Points(np.zeros((len(part), 128), np.uint8), part, 100) for part in parts])


def hits(*rows):
    q, r, d = zip(*rows, strict=True)
    return PointHits(np.array(q, np.int32), np.array(r, np.int32), np.array(d, np.float32))


def test_points_vote_once_a_pair_and_are_voted_for_once():
    same = [0, 0, 4, 90]
    query, reference = block([same] * 4, [3, 1]), block([same] * 5, [3, 2])
    # Query points 0, 1, 2 all hit reference point 0; query point 0 hits 0, 1, 2; query point 3 hits image 1 twice.
    found = hits((0, 0, 5), (1, 0, 5), (2, 0, 1), (0, 1, 9), (0, 2, 3), (1, 4, 2), (3, 3, 1), (3, 4, 1))
    votes = count_votes(found, query, reference, consistent=False, least=1)
    counted = {(q, r): n for q, r, n in zip(*map(np.ndarray.tolist, votes), strict=True)}
    assert counted == {(0, 0): 2, (0, 1): 1, (1, 1): 1}
    assert len(count_votes(found, query, reference, consistent=False, least=3).votes) == 0


@pytest.mark.parametrize(("turns", "sizes", "expected"), [
    ([0] * 4, [1] * 4, 4),
    ([0, 2, 357, 8], [1] * 4, 4),
    ([0, 90, 180, 270], [1] * 4, 1),
    ([0, 0, 180, 180], [1] * 4, 2),
    ([0] * 4, [1, 1, 4, 16], 2),
    ([350, 355, 4, 9], [2, 2.2, 2.4, 1.9], 4),
])  # fmt: skip
def test_only_votes_that_agree_on_turn_and_scale_count_together(turns, sizes, expected):
    query = block([[0, 0, 4 * size, 30 + turn] for turn, size in zip(turns, sizes, strict=True)], [4])
    reference = block([[0, 0, 4, 30]] * 4, [4])
    found = hits(*((k, k, 10) for k in range(4)))
    assert count_votes(found, query, reference, consistent=True, least=1).votes.tolist() == [expected]
    assert count_votes(found, query, reference, consistent=False, least=1).votes.tolist() == [4]


def test_votes_of_a_pair_do_not_hang_on_other_images_or_on_the_order_of_hits():
    rng = np.random.default_rng(0)
    frames = np.column_stack([rng.uniform(0, 99, (40, 2)), rng.uniform(2, 4, 40), rng.uniform(0, 40, 40)])
    query, reference = block(frames[:20], [10, 10]), block(frames[20:], [5, 10, 5])
    rows = [
        (q, r, float(d)) for q, r, d in zip(*rng.integers(20, size=(2, 300)), rng.integers(9, size=300), strict=True)
    ]
    rows = list({(q, r): (int(q), int(r), d) for q, r, d in rows}.values())
    every = count_votes(hits(*rows), query, reference, consistent=True, least=2)
    expected = dict(
        zip(zip(every.query.tolist(), every.reference.tolist(), strict=True), every.votes.tolist(), strict=True)
    )
    assert len(expected) > 3
    rng.shuffle(rows)
    alone = [(q, r - 5, d) for q, r, d in rows if 5 <= r < 15]
    part = count_votes(hits(*alone), query, reference.part(1, 2), consistent=True, least=2)
    assert {(q, 1): n for q, n in zip(part.query.tolist(), part.votes.tolist(), strict=True)} == {
        pair: n for pair, n in expected.items() if pair[1] == 1
    }


def test_no_hits_are_no_votes():
    none = PointHits(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))
    for consistent in (True, False):
        assert len(count_votes(none, block([], [0]), block([], [0]), consistent=consistent, least=1).votes) == 0
    empty = np.zeros(0, np.int64)
    assert len(winners(empty, empty.astype(np.float32), empty, least=1, alone=1, radius=1).votes) == 0
