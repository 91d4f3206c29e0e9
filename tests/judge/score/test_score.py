"""The scorer against the contest's vectors, a textbook twin, scikit-learn, and what must not change a score."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from textbook import average_precision_textbook

from isckit.judge.score.score import score_halves, score_matches
from isckit.types import BadInput, GroundTruth, Matches


def matches(rows: list[tuple[int, int, float]]) -> Matches:
    return Matches(
        np.array([f"Q{q:05d}" for q, _, _ in rows], str),
        np.array([f"R{r:06d}" for _, r, _ in rows], str),
        np.array([s for _, _, s in rows], np.float64),
    )


def truth(pairs: list[tuple[int, int]], distractors: list[int] = ()) -> GroundTruth:
    queries = [f"Q{q:05d}" for q, _ in pairs]
    listed = np.unique(queries + [f"Q{q:05d}" for q in distractors])
    return GroundTruth(np.array(queries, str), np.array([f"R{r:06d}" for _, r in pairs], str), listed)


A = truth([(0, 0), (1, 1)], [2])
TWENTY = truth([(i, i) for i in range(20)])
TWO_REFERENCES = truth([(0, 0), (0, 1)])
LATE = [(0, 99, 1.0), *[(i, i, 0.9 - 0.01 * i) for i in range(19)]]
SANDWICH = (
    [(i, i, 1 - 0.01 * i) for i in range(9)]
    + [(i, 50 + i, 0.8 - 0.01 * i) for i in range(9)]
    + [(i, i, 0.5 - 0.01 * i) for i in range(9, 20)]
)

# The contest's ranking rules in small: number, ground truth, rows, uAP, Recall@P90, threshold, recall@1, recall@10.
VECTORS = [
    (1, A, [(0, 0, 0.9), (1, 1, 0.8)], 1, 1, 0.8, 1, 1),
    (2, A, [(0, 0, 0.9)], 0.5, 0.5, 0.9, 0.5, 0.5),
    (3, A, [(0, 0, 0.9), (1, 1, 0.9), (0, 7, 0.9)], (1 / 2 + 2 / 3) / 2, 0, None, 0.5, 1),
    (4, A, [(2, 5, 0.99), (0, 0, 0.9)], 0.25, 0, None, 0.5, 0.5),
    (5, A, [(9, 5, 0.99), (0, 0, 0.9)], 0.5, 0.5, 0.9, 0.5, 0.5),  # Q9 has no label: dropped, as the platform did
    (6, A, [(0, 0, -0.2), (0, 5, -0.3), (1, 1, -0.5)], (1 + 2 / 3) / 2, 0.5, -0.2, 1, 1),
    (8, A, [], 0, 0, None, 0, 0),
    (9, A, [(0, 5, 0.9)], 0, 0, None, 0, 0),
    (12, TWENTY, LATE, 0.820113, 0.95, 0.72, 0.90, 0.95),
    (13, TWENTY, SANDWICH, 0.790054, 0.45, 0.92, 1, 1),
    (14, TWO_REFERENCES, [(0, 0, 0.9), (0, 1, 0.8)], 1, 1, 0.8, 0.5, 1),
]
REFUSED = [
    (
        7,
        [(0, 0, np.inf), (0, 5, 0.9), (1, 1, -np.inf)],
        "2 scores that are not finite: row 1: Q00000,R000000,inf; row 3: Q00001,R000001,-inf",
    ),
    (10, [(0, 0, 0.9), (0, 0, 0.8)], "1 pairs that occur in an earlier row: row 2: Q00000,R000000"),
    (11, [(0, 5, 0.95), (0, 5, 0.95), (0, 0, 0.9)], "1 pairs that occur in an earlier row: row 2: Q00000,R000005"),
    (15, [(0, 0, np.nan), (1, 1, 0.8), (0, 5, 0.9)], "1 scores that are not finite: row 1: Q00000,R000000,nan"),
]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"vector {vector[0]}")
def test_contest_vectors(vector, reverse):
    number, pairs, rows, uap, recall, threshold, at_1, at_10 = vector
    report = score_matches(matches(rows[::-1] if reverse else rows), pairs)
    tolerance = 5e-7 if number in (12, 13) else 1e-12
    assert report.average_precision == pytest.approx(uap, abs=tolerance)
    assert report.recall_at_p90 == pytest.approx(recall, abs=1e-12)
    assert report.p90_reached == (threshold is not None)
    assert report.threshold_at_p90 == (None if threshold is None else pytest.approx(threshold, abs=1e-12))
    assert (report.recall_at_1, report.recall_at_10) == pytest.approx((at_1, at_10), abs=1e-12)


@pytest.mark.parametrize(("number", "rows", "message"), REFUSED)
def test_contest_vectors_that_only_nonsense_could_score_are_refused(number, rows, message):
    with pytest.raises(BadInput) as caught:
        score_matches(matches(rows), A)
    assert message in caught.value.seen


@st.composite
def instances(draw):
    """A small ground truth with several references a query, and ranked pairs with many ties."""
    pairs = draw(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=8, unique=True))
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, 6), st.integers(0, 5), st.sampled_from([-1.0, 0.0, 0.5, 1.0, 3.0])),
            max_size=25,
            unique_by=lambda row: row[:2],
        )
    )
    others = draw(st.sets(st.integers(0, 6), max_size=3))
    listed, known = {q for q, _ in pairs} | others, {r for _, r in pairs}
    assume(not rows or any(q in listed or r in known for q, r, _ in rows))  # else it is the truth of other images
    return matches(rows), truth(pairs, others)


def labelled_rows(found: Matches, pairs: GroundTruth) -> list[tuple[str, float, bool]]:
    true = set(zip(pairs.query_ids, pairs.reference_ids, strict=True))
    rows = zip(found.query_ids, found.reference_ids, found.scores.tolist(), strict=True)
    return [(q, s, (q, r) in true) for q, r, s in rows if q in set(pairs.listed_queries)]


@given(instances())
def test_agrees_with_the_textbook_walk(instance):
    found, pairs = instance
    rows, n_pos = labelled_rows(found, pairs), len(pairs.query_ids)
    report = score_matches(found, pairs)
    scores, correct = [s for _, s, _ in rows], [y for _, _, y in rows]
    expected = average_precision_textbook(scores, correct, n_pos=n_pos)
    assert report.average_precision == pytest.approx(expected, abs=1e-12)
    reached = [0.0]
    for cut in set(scores):
        accepted = [y for s, y in zip(scores, correct, strict=True) if s >= cut]
        if sum(accepted) >= 0.9 * len(accepted):
            reached.append(sum(accepted) / n_pos)
    assert report.recall_at_p90 == pytest.approx(max(reached), abs=1e-12)
    if report.p90_reached:
        accepted = [y for s, y in zip(scores, correct, strict=True) if s >= report.threshold_at_p90]
        assert sum(accepted) / n_pos == pytest.approx(report.recall_at_p90)
        assert sum(accepted) >= 0.9 * len(accepted)


@given(instances())
def test_recall_at_rank_counts_the_rows_at_or_above_the_true_one(instance):
    found, pairs = instance
    ranks = [
        sum(q == other and s <= t for other, t, _ in labelled_rows(found, pairs)) - 1
        for q, s, true in labelled_rows(found, pairs)
        if true
    ]
    report = score_matches(found, pairs)
    for k, value in ((1, report.recall_at_1), (10, report.recall_at_10)):
        assert value == pytest.approx(sum(rank < k for rank in ranks) / len(pairs.query_ids), abs=1e-12)


@given(instances())
def test_counts_and_ties_are_those_of_the_rows(instance):
    found, pairs = instance
    rows = labelled_rows(found, pairs)
    scores = [s for _, s, _ in rows]
    report = score_matches(found, pairs)
    assert (report.rows_kept, report.rows_dropped) == (len(rows), len(found) - len(rows))
    assert report.distinct_scores == len(set(scores))
    assert report.tied_rows == sum(scores.count(s) > 1 for s in scores)
    assert report.n_distractors == len(set(pairs.listed_queries) - set(pairs.query_ids))
    favourable = [s + (1e-6 if y else 0) for _, s, y in rows]
    best = average_precision_textbook(favourable, [y for _, _, y in rows], n_pos=report.n_pos)
    assert report.optimistic_average_precision == pytest.approx(best, abs=1e-12)
    assert report.optimistic_average_precision >= report.average_precision


@given(instances(), st.randoms(use_true_random=False))
def test_row_order_monotone_rescaling_and_other_names_change_nothing(instance, random):
    found, pairs = instance
    assume(np.isin(found.query_ids, pairs.listed_queries).any() or not len(found))
    order = np.array(random.sample(range(len(found)), len(found)), int)
    shuffled = Matches(found.query_ids[order], found.reference_ids[order], np.exp(found.scores[order] * 3) - 7)
    renamed = Matches(np.char.add("x", found.query_ids), np.char.add("y", found.reference_ids), found.scores)
    names = GroundTruth(
        np.char.add("x", pairs.query_ids), np.char.add("y", pairs.reference_ids), np.char.add("x", pairs.listed_queries)
    )
    expected = score_matches(found, pairs)
    own = score_matches(renamed, names, phase_queries=np.unique(renamed.query_ids))
    for other in (score_matches(shuffled, pairs), own):
        for name in (
            "average_precision",
            "optimistic_average_precision",
            "recall_at_p90",
            "recall_at_1",
            "tied_rows",
            "recall_at_10",
            "n_pos",
            "rows_kept",
            "rows_dropped",
        ):
            assert getattr(other, name) == getattr(expected, name)


@given(instances())
def test_rows_of_unlabelled_queries_change_only_the_count_of_dropped_rows(instance):
    found, pairs = instance
    more = matches([(40_000, r, 9.0) for r in range(5)])
    joined = Matches(
        *(
            np.concatenate([a, b])
            for a, b in (
                (found.query_ids, more.query_ids),
                (found.reference_ids, more.reference_ids),
                (found.scores, more.scores),
            )
        )
    )
    expected = score_matches(found, pairs)
    assert replace(score_matches(joined, pairs), rows_dropped=0) == replace(expected, rows_dropped=0)
    assert score_matches(joined, pairs).rows_dropped == expected.rows_dropped + 5


def test_scikit_learn_agrees_where_there_are_no_ties_and_all_is_found():
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(0)
    rows = [(q, r, s) for (q, r), s in zip(np.ndindex(40, 25), rng.permutation(1000) / 1000, strict=True)]
    pairs = truth([(q, q % 25) for q in range(0, 40, 2)], list(range(40)))
    correct = [r == q % 25 and q % 2 == 0 for q, r, _ in rows]
    expected = average_precision_score(correct, [s for *_, s in rows])
    assert score_matches(matches(rows), pairs).average_precision == pytest.approx(expected, abs=1e-12)


def test_unlabelled_query_of_a_known_phase_list_is_dropped_and_any_other_is_refused():
    rows = matches([(9, 5, 0.99), (0, 0, 0.9)])
    with pytest.raises(BadInput, match=r"1 rows of queries outside the phase.*row 1: Q00009"):
        score_matches(rows, A, phase_queries=A.listed_queries)
    assert score_matches(rows, A, phase_queries=np.array(["Q00000", "Q00009"])).rows_dropped == 1


def test_ground_truth_of_another_phase_is_told():
    with pytest.raises(BadInput, match="ground truth of another phase"):
        score_matches(matches([(50_000, 0, 0.9)]), A)


def test_unlisted_query_of_a_users_own_names_is_refused_without_a_list():
    own = GroundTruth(np.array(["cat"]), np.array(["dog"]), np.array(["cat"]))
    with pytest.raises(BadInput, match=r"outside the phase: row 1: bird,dog"):
        score_matches(Matches(np.array(["bird"]), np.array(["dog"]), np.array([1.0])), own)


def test_unknown_reference_is_refused_only_when_the_references_are_given():
    rows = matches([(0, 7, 0.9), (0, 0, 0.8)])
    assert score_matches(rows, A).protocol.references is None
    with pytest.raises(BadInput, match=r"1 references that are not in the set: row 1: Q00000,R000007"):
        score_matches(rows, A, reference_ids=np.array(["R000000", "R000001"]))
    assert score_matches(rows, A, reference_ids=np.array(["R000000", "R000007"])).protocol.references == 2


def test_truth_without_pairs_and_rows_beyond_the_limit_are_refused():
    with pytest.raises(BadInput, match="without true pairs"):
        score_matches(matches([(0, 0, 1.0)]), truth([], [0]))
    with pytest.raises(BadInput, match="3 rows"):
        score_matches(matches([(0, r, float(r)) for r in range(3)]), A, max_rows=2)


def test_halves_are_scored_apart_and_split_between_24999_and_25000():
    both = truth([(24_999, 0), (25_000, 1), (25_001, 2)])
    rows = matches([(24_999, 0, 0.5), (25_000, 1, 0.9), (25_001, 9, 0.95)])
    halves = score_halves(rows, both)
    assert {name: (part.average_precision, part.n_pos, part.rows_dropped) for name, part in halves.items()} == {
        "phase 1, first half": (1.0, 1, 2),
        "phase 1, second half": (0.25, 2, 1),
    }
    assert score_halves(rows, truth([(24_999, 0)], [24_998])) == {}


def test_summary_states_protocol_and_warns():
    report = score_matches(matches([(0, 0, 0.9), (0, 3, 0.9)]), truth([(0, 0), (1, 1)]))
    text = report.summary()
    assert "queries 2 of the 25,000 of phase 1, first half, Q00000..Q00001 (2 labelled, 0 of them distractors" in text
    assert "references not stated; candidates the rows submitted" in text
    assert "warning: no distractor" in text
    assert "warning: ties cost up to 0.25000 uAP" in text
    assert "90 % precision not reached" in text
    clean = score_matches(matches([(0, 0, 0.9)]), A, reference_ids=np.array(["R000000"]))
    assert clean.warnings == ()
    assert "references 1;" in clean.summary()


def test_whole_slice_with_another_number_of_pairs_is_warned_about():
    whole = truth([(0, 0)], list(range(25_000)))
    report = score_matches(matches([(0, 0, 0.9)]), whole)
    assert report.queries == "phase 1, first half, Q00000..Q24999"
    assert report.warnings == ("1 true pairs in the whole phase 1, first half, where DISC21 has 4,991",)


def test_json_holds_every_value_but_the_curve():
    report = score_matches(matches([(2, 5, 0.99), (0, 0, 0.9)]), A)
    report = replace(report, interval=(0.1, 0.4), slices={"half": report}, inputs={"m.csv": "abc"})
    values = json.loads(report.to_json())
    assert values["threshold_at_p90"] is None and values["p90_reached"] is False
    assert (values["average_precision"], values["interval"], values["inputs"]) == (0.25, [0.1, 0.4], {"m.csv": "abc"})
    assert values["slices"]["half"]["n_pos"] == 2
    assert values["protocol"]["candidates"] == "the rows submitted"
    assert values["version"] and "curve" not in values


@pytest.mark.parametrize("side", ["query", "reference", "both"])
def test_a_truth_with_other_spellings_is_refused_with_one_id_of_each_side(side):
    ending = {"query": (".jpg", ""), "reference": ("", ".jpg"), "both": (".jpg", ".jpg")}[side]
    truth = GroundTruth(
        np.array(["Q00001" + ending[0]]), np.array(["R000002" + ending[1]]), np.array(["Q00001" + ending[0]])
    )
    matches = Matches(np.array(["Q00001"]), np.array(["R000002"]), np.array([0.5]))
    kind = "reference" if side == "reference" else "query"
    with pytest.raises(BadInput, match=rf"no {kind} id .*'[QR]0+[12]\.jpg' there, '[QR]0+[12]' here"):
        score_matches(matches, truth, phase_queries=np.array(["Q00001"]))


def test_rows_that_meet_no_true_pair_by_bad_luck_score_nothing():
    truth = GroundTruth(np.array(["Q00001"]), np.array(["R000002"]), np.array(["Q00001", "Q00003"]))
    matches = Matches(np.array(["Q00003"]), np.array(["R000005"]), np.array([0.5]))
    assert score_matches(matches, truth).average_precision == 0
