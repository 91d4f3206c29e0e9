"""The bootstrap equals scoring a ground truth in which queries really are repeated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textbook import average_precision_textbook

from isckit.judge.score.curve import bootstrap, weighted_average_precision
from isckit.judge.score.labels import Labelled, label
from isckit.judge.score.score import score_matches
from isckit.types import GroundTruth, Matches


def instance(seed: int, n_queries: int = 40) -> tuple[Matches, GroundTruth]:
    """Half the queries have a reference, one in five of these is never found; scores are coarse, so many tie."""
    rng = np.random.default_rng(seed)
    listed = np.char.mod("Q%05d", np.arange(n_queries))
    queries = np.repeat(np.arange(n_queries), 5)
    references = np.tile(np.arange(5), n_queries)
    scores = np.round(rng.normal(size=len(queries)) + 1.5 * (references == 0) * (queries % 2 == 0), 1)
    keep = ~((references == 0) & (queries % 10 == 0))
    positives = np.arange(0, n_queries, 2)
    truth = GroundTruth(listed[positives], np.full(len(positives), "R000000"), listed)
    return Matches(listed[queries][keep], np.char.mod("R%06d", references)[keep], scores[keep]), truth


def repeated(rows: Labelled, weight: np.ndarray) -> float:
    """uAP of the rows written out as often as their query was drawn."""
    scores = np.repeat(rows.scores, weight[rows.queries]).tolist()
    correct = np.repeat(rows.correct, weight[rows.queries]).tolist()
    return average_precision_textbook(scores, correct, n_pos=int(weight[rows.true_queries].sum()))


@given(st.integers(0, 50))
def test_weights_mean_repetition_of_queries(seed):
    rows = label(*instance(seed))
    weights = np.random.default_rng(seed).integers(0, 4, size=(40, 3))
    expected = [repeated(rows, column) for column in weights.T]
    assert weighted_average_precision(rows, weights.T) == pytest.approx(expected, abs=1e-12)


def test_weights_of_one_give_the_score_itself():
    matches, truth = instance(1)
    value = weighted_average_precision(label(matches, truth), np.ones((1, 40), int))[0]
    assert value == pytest.approx(score_matches(matches, truth).average_precision, abs=1e-12)


def test_resample_without_true_pairs_is_left_out():
    rows = label(*instance(2))
    weights = np.stack([np.arange(40) % 2, np.ones(40, int)])
    assert np.isnan(weighted_average_precision(rows, weights)).tolist() == [True, False]


def test_nothing_found_is_zero():
    matches, truth = instance(3)
    none = matches.reference_ids != "R000000"
    only_false = Matches(matches.query_ids[none], matches.reference_ids[none], matches.scores[none])
    assert bootstrap(only_false, truth, n=20) == (0.0, 0.0)


def test_interval_is_the_quantiles_of_resampled_queries_and_repeats_with_its_seed():
    matches, truth = instance(4)
    rows, rng = label(matches, truth), np.random.default_rng(9)
    values = [repeated(rows, np.bincount(rng.integers(40, size=40), minlength=40)) for _ in range(150)]
    expected = tuple(np.quantile(values, [0.025, 0.975]))
    assert bootstrap(matches, truth, n=150, seed=9) == pytest.approx(expected, abs=1e-12)
    assert bootstrap(matches, truth, n=150, seed=9) != bootstrap(matches, truth, n=150, seed=10)


def test_interval_narrows_as_queries_grow_and_holds_the_score():
    widths = []
    for n_queries in (40, 4000):
        matches, truth = instance(5, n_queries)
        low, high = bootstrap(matches, truth, n=200, seed=1)
        assert low < score_matches(matches, truth).average_precision < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 5  # a factor of 10 is expected


def test_wider_level_gives_a_wider_interval():
    matches, truth = instance(6)
    low, high = bootstrap(matches, truth, n=200, level=0.99)
    inner = bootstrap(matches, truth, n=200, level=0.5)
    assert low < inner[0] < inner[1] < high
