"""Image pairs carry the maximum over their views, whatever the cut of the list left out."""

import numpy as np
import pytest

from isckit.matching.aggregate import aggregate
from isckit.matching.search import Hits, search
from isckit.types import BadInput, Embeddings, Role

VIEWS = ("whole", "left", "right")


def with_views(role, prefix, images, seed, d=6):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((images * len(VIEWS), d))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    ids = np.repeat([f"{prefix}{i:03d}" for i in rng.permutation(images)], len(VIEWS))
    return Embeddings(role, ids, x, VIEWS, np.tile(np.arange(len(VIEWS), dtype=np.int16), images))


def hits_of(queries, references, n):
    return search(
        queries.vectors, references.vectors, n=n, metric="ip", query_keys=queries.ids, reference_keys=references.ids
    )


def by_loop(hits, queries, references, penalty):
    best = {}
    for q, r, score in zip(hits.query_rows, hits.reference_rows, hits.scores, strict=True):
        cropped = queries.views[q] > 0 or references.views[r] > 0
        pair = (str(queries.ids[q]), str(references.ids[r]))
        best[pair] = max(best.get(pair, -np.inf), score - penalty * cropped)
    return sorted(((q, r, float(s)) for (q, r), s in best.items()), key=lambda row: (-row[2], row[0], row[1]))


def rows_of(matches):
    return list(zip(matches.query_ids.tolist(), matches.reference_ids.tolist(), matches.scores.tolist(), strict=True))


@pytest.mark.parametrize("penalty", [0.0, 0.05, 3.0])
def test_pairs_are_the_maximum_over_views_in_order(penalty):
    queries, references = with_views(Role.QUERY, "Q", 7, 1), with_views(Role.REFERENCE, "R", 11, 2)
    every = hits_of(queries, references, 21 * 33)
    wanted = by_loop(every, queries, references, penalty)
    assert len(wanted) == 77
    assert rows_of(aggregate(every, queries, references, max_rows=1000, crop_penalty=penalty)) == wanted
    assert rows_of(aggregate(every, queries, references, max_rows=20, crop_penalty=penalty)) == wanted[:20]


@pytest.mark.parametrize("penalty", [0.0, 0.3])
@pytest.mark.parametrize("n", [1, 40, 150, 400])
def test_a_shorter_list_gives_a_prefix_with_the_same_scores(penalty, n):
    queries, references = with_views(Role.QUERY, "Q", 7, 3), with_views(Role.REFERENCE, "R", 11, 4)
    full = rows_of(
        aggregate(hits_of(queries, references, 10_000), queries, references, max_rows=1000, crop_penalty=penalty)
    )
    cut = rows_of(aggregate(hits_of(queries, references, n), queries, references, max_rows=1000, crop_penalty=penalty))
    assert cut == full[: len(cut)]
    assert n < 40 or len(cut) > 3


def test_a_pair_whose_better_view_may_have_been_cut_is_left_out():
    queries = Embeddings(
        Role.QUERY, np.array(["Q1", "Q1"]), np.ones((2, 1), np.float32), VIEWS, np.array([0, 1], np.int16)
    )
    references = Embeddings.whole(Role.REFERENCE, np.array(["R1", "R2"]), np.ones((2, 1), np.float32))
    kept = Hits(np.array([0, 1]), np.array([0, 1]), np.array([0.9, 0.8]), 0, 0.8)
    assert rows_of(aggregate(kept, queries, references, max_rows=9, crop_penalty=0.05)) == [("Q1", "R1", 0.9)]
    nothing_cut = Hits(kept.query_rows, kept.reference_rows, kept.scores, 0, -np.inf)
    assert rows_of(aggregate(nothing_cut, queries, references, max_rows=9, crop_penalty=0.05)) == [
        ("Q1", "R1", 0.9),
        ("Q1", "R2", 0.8 - 0.05),
    ]


def test_equal_scores_go_by_query_id_then_reference_id():
    queries = Embeddings.whole(Role.QUERY, np.array(["Q2", "Q1"]), np.ones((2, 1), np.float32))
    references = Embeddings.whole(Role.REFERENCE, np.array(["R2", "R1"]), np.ones((2, 1), np.float32))
    matches = aggregate(hits_of(queries, references, 4), queries, references, max_rows=3, crop_penalty=1.0)
    assert [row[:2] for row in rows_of(matches)] == [("Q1", "R1"), ("Q1", "R2"), ("Q2", "R1")]


def test_no_hits_give_no_matches():
    none = np.empty(0, np.int64)
    one = Embeddings.whole(Role.QUERY, np.array(["Q1"]), np.ones((1, 1), np.float32))
    assert len(aggregate(Hits(none, none, np.empty(0), 0, -np.inf), one, one, max_rows=3, crop_penalty=0.0)) == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"max_rows": 0, "crop_penalty": 0.0},
        {"max_rows": 1, "crop_penalty": -0.1},
        {"max_rows": 1, "crop_penalty": np.nan},
    ],
)
def test_senseless_settings_are_refused(settings):
    one = Embeddings.whole(Role.QUERY, np.array(["Q1"]), np.ones((1, 1), np.float32))
    with pytest.raises(BadInput):
        aggregate(hits_of(one, one, 1), one, one, **settings)
