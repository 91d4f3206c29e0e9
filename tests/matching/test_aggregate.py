"""Image pairs carry the maximum over their views, whatever the cut of the list left out."""

import numpy as np
import pytest

from isckit.matching.lists import Hits, aggregate, search, with_crop_penalty
from isckit.types import Embeddings, Role

VIEWS = ("whole", "left", "right")


def with_views(role, prefix, images, seed, d=6):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((images * len(VIEWS), d))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    ids = np.repeat([f"{prefix}{i:03d}" for i in rng.permutation(images)], len(VIEWS))
    return Embeddings(role, ids, x, VIEWS, np.tile(np.arange(len(VIEWS), dtype=np.int16), images))


def hits_of(queries, references, n, penalty=0.0):
    left, right = with_crop_penalty(queries.vectors, references.vectors, queries, references, penalty=penalty)
    return search(left, right, n=n, metric="ip", query_keys=queries.ids, reference_keys=references.ids)


def by_loop(queries, references, penalty):
    best = {}
    for q, x in enumerate(queries.vectors.astype(float)):
        for r, y in enumerate(references.vectors.astype(float)):
            crops = int(queries.views[q] > 0) + int(references.views[r] > 0)
            pair = (str(queries.ids[q]), str(references.ids[r]))
            best[pair] = max(best.get(pair, -np.inf), float(x @ y) - penalty * crops)
    return sorted(((q, r, s) for (q, r), s in best.items()), key=lambda row: (-row[2], row[0], row[1]))


def rows_of(matches):
    return list(zip(matches.query_ids.tolist(), matches.reference_ids.tolist(), matches.scores.tolist(), strict=True))


@pytest.mark.parametrize("penalty", [0.0, 0.05, 3.0])
def test_pairs_are_the_maximum_over_views_in_order(penalty):
    queries, references = with_views(Role.QUERY, "Q", 7, 1), with_views(Role.REFERENCE, "R", 11, 2)
    wanted = by_loop(queries, references, penalty)
    made = rows_of(aggregate(hits_of(queries, references, 21 * 33, penalty), queries, references, max_rows=1000))
    assert len(wanted) == 77
    assert [row[:2] for row in made] == [row[:2] for row in wanted]
    assert np.allclose([row[2] for row in made], [row[2] for row in wanted], atol=1e-6)
    short = aggregate(hits_of(queries, references, 21 * 33, penalty), queries, references, max_rows=20)
    assert rows_of(short) == made[:20]


@pytest.mark.parametrize("penalty", [0.0, 0.3])
@pytest.mark.parametrize("n", [1, 40, 150, 400])
def test_a_shorter_list_gives_a_prefix_with_the_same_scores(penalty, n):
    queries, references = with_views(Role.QUERY, "Q", 7, 3), with_views(Role.REFERENCE, "R", 11, 4)
    full, cut = (
        rows_of(aggregate(hits_of(queries, references, size, penalty), queries, references, max_rows=1000))
        for size in (10_000, n)
    )
    assert cut == full[: len(cut)]
    assert n < 40 or len(cut) > 3


def test_equal_scores_go_by_query_id_then_reference_id():
    queries = Embeddings.whole(Role.QUERY, np.array(["Q2", "Q1"]), np.ones((2, 1), np.float32))
    references = Embeddings.whole(Role.REFERENCE, np.array(["R2", "R1"]), np.ones((2, 1), np.float32))
    matches = aggregate(hits_of(queries, references, 4), queries, references, max_rows=3)
    assert [row[:2] for row in rows_of(matches)] == [("Q1", "R1"), ("Q1", "R2"), ("Q2", "R1")]


def test_no_hits_give_no_matches():
    none = np.empty(0, np.int64)
    one = Embeddings.whole(Role.QUERY, np.array(["Q1"]), np.ones((1, 1), np.float32))
    assert len(aggregate(Hits(none, none, np.empty(0), 0, -np.inf), one, one, max_rows=3)) == 0
