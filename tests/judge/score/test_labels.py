"""Rows meet labels: indices, truth, drops; and slices named by the numbers they hold."""

import numpy as np
import pytest

from isckit.judge.score.labels import SLICES, in_slice, label, slice_of
from isckit.types import GroundTruth, Matches


def truth(pairs: list[tuple[str, str]], listed: list[str]) -> GroundTruth:
    columns = np.array(pairs, str).reshape(-1, 2)
    return GroundTruth(columns[:, 0], columns[:, 1], np.unique(listed))


@pytest.mark.parametrize(
    "names",
    [("Q00001", "Q00002", "Q00003", "Q00004", "R000001", "R000002"), ("ant", "bee", "cat", "dog", "x", "y")],
    ids=["DISC21", "own"],
)
def test_rows_carry_query_index_score_and_truth(names):
    a, b, c, d, x, y = names
    found = Matches(np.array([c, a, b, d, a]), np.array([x, x, y, x, y]), np.array([5, 4, 3, 2, 1], np.float32))
    rows = label(found, truth([(a, x), (b, x), (c, x)], [a, b, c]), phase_queries=np.array([a, b, c, d]))
    assert rows.queries.tolist() == [2, 0, 1, 0]
    assert rows.scores.tolist() == [5, 4, 3, 1]
    assert rows.correct.tolist() == [True, True, False, False]
    assert rows.true_queries.tolist() == [0, 1, 2]
    assert rows.dropped == 1


@pytest.mark.parametrize(
    ("numbers", "name"),
    [
        ([0, 24_999], "2 of the 25,000 of phase 1, first half, Q00000..Q24999"),
        ([25_000, 49_999], "2 of the 25,000 of phase 1, second half, Q25000..Q49999"),
        ([24_999, 25_000], "2 of the 50,000 of phase 1, Q24999..Q25000"),
        ([50_000, 99_999], "2 of the 50,000 of phase 2, Q50000..Q99999"),
        ([49_999, 50_000], "Q49999..Q50000"),
    ],
)
def test_slice_is_the_smallest_that_holds_all_queries(numbers, name):
    assert slice_of(truth([], [f"Q{k:05d}" for k in numbers])) == (name, ())


def test_own_names_have_no_slice():
    assert slice_of(truth([], ["cat", "ant"])) == ("ant..cat", ())


def test_second_half_begins_with_its_first_query():
    pairs = [(f"Q{k:05d}", "R000001") for k in (24_999, 25_000, 49_999, 50_000)]
    part = in_slice(truth(pairs, [q for q, _ in pairs]), "phase 1, second half")
    assert part.query_ids.tolist() == part.listed_queries.tolist() == ["Q25000", "Q49999"]


def test_published_counts_add_up():
    assert SLICES["phase 1, first half"][2] + SLICES["phase 1, second half"][2] == SLICES["phase 1"][2] == 10_000
