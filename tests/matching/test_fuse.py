"""Fusion equals brute force over pairs, and is the same whatever the order of rows and branches' other pairs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isckit import config
from isckit.matching.fuse import best_per_query, fuse
from isckit.types import BadInput, Matches


def matches(*rows):
    queries, references, scores = zip(*rows, strict=True) if rows else ((), (), ())
    return Matches(np.array(queries, str), np.array(references, str), np.array(scores, np.float64))


def as_dict(made):
    pairs = zip(made.query_ids.tolist(), made.reference_ids.tolist(), strict=True)
    return dict(zip(pairs, made.scores.tolist(), strict=True))


def scores_of(branch):
    """{pair: scores} of one branch."""
    out = {}
    for query, reference, score in zip(branch.query_ids, branch.reference_ids, branch.scores, strict=True):
        out.setdefault((str(query), str(reference)), []).append(float(score))
    return out


def by_loop(found, fusion):
    """The twin: plain Python over pairs."""
    branches = {name: scores_of(branch) for name, branch in found.items()}
    pairs = {pair for branch in branches.values() for pair in branch}
    made = {}
    for pair in pairs:
        rows = [score for branch in branches.values() for score in branch.get(pair, [])]
        bests = [max(branch[pair]) if pair in branch else None for branch in branches.values()]
        match fusion:
            case config.Best():
                made[pair] = max(rows)
            case config.Sum():
                made[pair] = sum(best for best in bests if best is not None)
            case config.TopMean(rows=n):
                top = sorted(rows, reverse=True)[:n]
                made[pair] = sum(top) / len(top)
            case config.Weighted():
                made[pair] = 0.0
                for best, weight, absent, log in zip(
                    bests, fusion.weights, fusion.absent, fusion.logarithmic, strict=True
                ):
                    score = absent if best is None else best
                    made[pair] += weight * (math.log(1 + score) if log else score)
            case config.Ranks(constant=constant):
                made[pair] = 0.0
                for branch in branches.values():
                    if pair in branch:
                        own = sorted((-max(s), r) for (q, r), s in branch.items() if q == pair[0])
                        rank = 1 + own.index((-max(branch[pair]), pair[1]))
                        made[pair] += 1 / (constant + rank)
    return made


FUSIONS = (
    config.Best(),
    config.Sum(),
    config.TopMean(rows=1),
    config.TopMean(rows=2),
    config.TopMean(rows=3),
    config.Weighted(weights=(1.0, -2.0, 0.5), absent=(-0.25, 0.0, 3.0), logarithmic=(False, True, True)),
    config.Ranks(constant=3.0),
)
ROW = st.tuples(
    st.sampled_from(["Q00001", "Q00002", "Q60000", "odd"]),
    st.sampled_from(["R000001", "R000010", "R900000"]),
    st.sampled_from([0.0, 0.25, 0.5, 1.0, 7.0]),
)
FOUND = st.lists(st.lists(ROW, max_size=12), min_size=3, max_size=3)


@pytest.mark.parametrize("fusion", FUSIONS, ids=repr)
@settings(max_examples=60, deadline=None)
@given(FOUND)
def test_fusion_equals_a_loop_over_pairs(fusion, rows):
    found = {f"b{i}": matches(*own) for i, own in enumerate(rows)}
    made, wanted = fuse(found, fusion), by_loop(found, fusion)
    order = list(zip(made.query_ids.tolist(), made.reference_ids.tolist(), strict=True))
    assert order == sorted(wanted)
    assert made.scores.dtype == np.float64
    for pair, score in as_dict(made).items():
        assert score == pytest.approx(wanted[pair], abs=1e-12)


@pytest.mark.parametrize("fusion", FUSIONS, ids=repr)
@settings(max_examples=30, deadline=None)
@given(FOUND, st.integers(0, 99))
def test_the_order_of_rows_changes_no_bit(fusion, rows, seed):
    found = {f"b{i}": matches(*own) for i, own in enumerate(rows)}
    shuffled = {}
    for name, branch in found.items():
        order = np.random.default_rng(seed).permutation(len(branch))
        shuffled[name] = Matches(branch.query_ids[order], branch.reference_ids[order], branch.scores[order])
    one, other = fuse(found, fusion), fuse(shuffled, fusion)
    assert one.scores.tobytes() == other.scores.tobytes()
    assert one.query_ids.tolist() == other.query_ids.tolist()
    assert one.reference_ids.tolist() == other.reference_ids.tolist()


@pytest.mark.parametrize("fusion", [f for f in FUSIONS if not isinstance(f, config.Ranks)], ids=repr)
@settings(max_examples=30, deadline=None)
@given(FOUND)
def test_the_score_of_a_pair_does_not_depend_on_other_pairs(fusion, rows):
    def kept(keep):
        return as_dict(fuse({f"b{i}": matches(*(r for r in own if keep(r))) for i, own in enumerate(rows)}, fusion))

    every = kept(lambda row: True)
    for part in (kept(lambda row: row[0] == "Q00001"), kept(lambda row: row[1] != "R000010")):
        assert part.items() <= every.items()


def test_ranks_alone_looks_at_other_references():
    found = {"a": matches(("Q1", "R1", 0.9), ("Q1", "R2", 0.5))}
    without = {"a": matches(("Q1", "R2", 0.5))}
    fusion = config.Ranks(constant=60.0)
    assert as_dict(fuse(found, fusion)) == {("Q1", "R1"): 1 / 61, ("Q1", "R2"): 1 / 62}
    assert as_dict(fuse(without, fusion)) == {("Q1", "R2"): 1 / 61}


def test_equal_scores_of_other_rows_count_in_the_mean_of_two():
    # The published code loses a value that occurs twice and takes .1 for the second score.
    rows = [("Q1", "R1", score) for score in (0.4, 0.1, 0.5, 0.4)]
    assert as_dict(fuse({"a": matches(*rows)}, config.TopMean(rows=2))) == {("Q1", "R1"): pytest.approx(0.45)}
    twice = {"a": matches(("Q1", "R1", 0.5), ("Q1", "R1", 0.2)), "b": matches(("Q1", "R1", 0.5))}
    assert as_dict(fuse(twice, config.TopMean(rows=2))) == {("Q1", "R1"): 0.5}


def test_a_pair_with_one_row_keeps_its_score_in_the_mean_of_two():
    assert as_dict(fuse({"a": matches(("Q1", "R1", 0.3))}, config.TopMean(rows=2))) == {("Q1", "R1"): 0.3}


def test_a_sum_counts_each_branch_once_and_only_where_it_has_the_pair():
    found = {
        "global": matches(("Q1", "R1", 3), ("Q1", "R1", 5)),
        "local": matches(("Q1", "R1", 3), ("Q1", "R2", 2)),
        "crops": matches(),
    }
    assert as_dict(fuse(found, config.Sum())) == {("Q1", "R1"): 8, ("Q1", "R2"): 2}


def test_a_logarithm_of_nothing_is_refused_by_name_of_the_branch():
    fusion = config.Weighted(weights=(1.0,), absent=(0.0,), logarithmic=(True,))
    with pytest.raises(BadInput, match="1 scores of -1 or less in branch local"):
        fuse({"local": matches(("Q1", "R1", -1.0), ("Q1", "R2", 2.0))}, fusion)


def test_weights_of_another_number_of_branches_are_refused():
    fusion = config.Weighted(weights=(1.0, 1.0), absent=(0.0, 0.0), logarithmic=(False, False))
    with pytest.raises(BadInput, match="2 weights for 1 branches: local"):
        fuse({"local": matches(("Q1", "R1", 1.0))}, fusion)


@pytest.mark.parametrize("fusion", FUSIONS, ids=repr)
def test_nothing_found_gives_no_pairs(fusion):
    made = fuse({"a": matches(), "b": matches(), "c": matches()}, fusion)
    assert (len(made), made.scores.dtype) == (0, np.float64)


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, max_size=20, unique_by=lambda row: row[:2]), st.integers(1, 4))
def test_the_best_of_each_query_are_kept_in_the_order_that_they_came(rows, n):
    made = best_per_query(matches(*rows), n)
    kept = set()
    for query in {row[0] for row in rows}:
        own = sorted((row for row in rows if row[0] == query), key=lambda row: (-row[2], row[1]))
        kept |= {row[:2] for row in own[:n]}
    wanted = [row for row in rows if row[:2] in kept]
    assert list(as_dict(made).items()) == [((q, r), s) for q, r, s in wanted]
