"""Agreement on pairs of views, and D2LV as a whole against the spelt-out form of its published steps."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isckit import config
from isckit.matching.branches.agreement import ViewPairs, agree, large_enough, penalised, without_faces
from isckit.matching.fuse import fuse
from isckit.matching.lists import Hits, of_views
from isckit.matching.views import member_list
from isckit.submission import best_rows
from isckit.types import Embeddings, Matches, Role


def hits(rows):
    """A member's list from {(query row, reference row): score}."""
    pairs = np.array(list(rows), np.int64).reshape(-1, 2)
    return Hits(pairs[:, 0], pairs[:, 1], np.array(list(rows.values()), np.float64), 0, -np.inf)


def rows_of(pairs):
    return sorted(zip(*(column.tolist() for column in pairs), strict=True))


LIST = st.dictionaries(st.tuples(st.integers(0, 4), st.integers(0, 4)), st.sampled_from([-1.0, 0.0, 0.5]), max_size=12)


@settings(max_examples=80, deadline=None)
@given(st.lists(LIST, min_size=1, max_size=4), st.integers(1, 4))
def test_rows_are_those_of_pairs_that_enough_lists_hold(lists, need):
    count = Counter(pair for own in lists for pair in own)
    wanted = sorted((*pair, s) for own in lists for pair, s in own.items() if count[pair] >= need)
    assert rows_of(agree([hits(own) for own in lists], need=need)) == wanted


def test_what_is_in_one_list_only_is_dropped_and_what_is_in_two_has_two_rows():
    lists = [hits({(0, 0): 0.9, (1, 0): 0.8}), hits({(1, 0): 0.3}), hits({(0, 1): 0.7})]
    assert rows_of(agree(lists, need=2)) == [(1, 0, 0.3), (1, 0, 0.8)]


def test_with_a_need_of_three_what_is_in_two_lists_only_is_dropped():
    both = {(0, 0): 0.9, (1, 0): 0.8}
    lists = [hits(both), hits(both), hits({(1, 0): 0.1})]
    assert rows_of(agree(lists, need=3)) == [(1, 0, 0.1), (1, 0, 0.8), (1, 0, 0.8)]


def test_members_that_see_the_same_images_in_other_views_do_not_agree():
    # Rows 0 and 1 are two views of one query.
    assert rows_of(agree([hits({(0, 0): 0.9}), hits({(1, 0): 0.9})], need=2)) == []


def test_small_views_of_queries_are_dropped_and_the_limit_itself_stays():
    pairs = ViewPairs(np.array([0, 1, 2]), np.array([0, 0, 0]), np.zeros(3))
    assert large_enough(pairs, np.array([99, 100, 400]), min_side=100).query_rows.tolist() == [1, 2]


def test_references_with_faces_are_dropped_with_all_their_views():
    pairs = ViewPairs(np.zeros(4, int), np.arange(4), np.zeros(4))
    assert without_faces(pairs, np.array([True, True, False, False])).reference_rows.tolist() == [2, 3]


@pytest.mark.parametrize("first", [0, 50_000, 99_990])
def test_only_whole_and_overlay_views_are_free_of_the_penalty_whatever_the_ids(first):
    names = ("whole", "turn90", "proposal_00", "overlay_00", "overlay_01", "centre")
    ids = np.array([f"Q{first + view:05d}" for view in range(6)])
    queries = Embeddings(Role.QUERY, ids, np.zeros((6, 1), np.float32), names, np.arange(6, dtype=np.int16))
    whole = Embeddings.whole(Role.REFERENCE, np.array(["R000000"]), np.zeros((1, 1), np.float32))
    pairs = ViewPairs(np.arange(6), np.zeros(6, int), np.full(6, 0.5))
    free = of_views(queries, ("whole", "overlay_*")), of_views(whole, ("whole",))
    assert penalised(pairs, *free, penalty=0.05).scores.tolist() == [0.5, 0.45, 0.45, 0.5, 0.5, 0.45]
    # Whole queries against views of references: no view is free, whole ones neither.
    none = of_views(queries, ()), of_views(whole, ())
    assert penalised(pairs, *none, penalty=0.05).scores.tolist() == [0.45] * 6


# D2LV, spelt out: two sets of three members, two scales, and the other direction, on toy vectors.

SETS = {"basic": 200, "blur": 100}
SCALES = (256, 320)
CROPS = ("whole", "turn90", "centre", "overlay_00", "proposal_00")
PARTS = ("whole", "quarter_00", "third_11")
QUERIES, REFERENCES, TRAIN, DIM, ROWS = 6, 12, 40, 5, 9


def side(role, prefix, count, views, rng):
    x = rng.standard_normal((count * len(views), DIM))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    ids = np.repeat([f"{prefix}{i:06d}"[-7 if prefix == "R" else 0 :] for i in range(count)], len(views))
    return Embeddings(role, ids, x, views, np.tile(np.arange(len(views), dtype=np.int16), count))


def branch(name, *, need, **settings_):
    return config.Agreement(
        name=name, members=("a", "b", "c"), need=need, cut=config.Cut(by="rows", amount=ROWS), norm_last=10, **settings_
    )


def published_list(queries, references, bank):
    """{((query, crop), (reference, view)): score} of one member, by full sorting."""
    q, r, t = (side_.vectors.astype(np.float64) for side_ in (queries, references, bank))
    scores = q @ r.T - 2 * np.sort(q @ t.T, axis=1)[:, -10:].mean(axis=1)[:, None]
    kept = np.argsort(-scores, axis=None)[: ROWS * QUERIES]
    keys = [[(str(i), s.view_names[v]) for i, v in zip(s.ids, s.views, strict=True)] for s in (queries, references)]
    return {(keys[0][k // len(r)], keys[1][k % len(r)]): scores.flat[k] for k in kept.tolist()}


def published(global_local, local_global, sizes, faces):
    """The spelt-out form: one running table of the two best scores of each pair of images."""
    best = {}

    def agreed(lists, need):
        count = Counter(pair for own in lists for pair in own)
        return [(*pair, own[pair]) for pair, c in count.items() if c >= need for own in lists if pair in own]

    def push(query, reference, score):
        a, b = best.get((query, reference), (-np.inf, -np.inf))
        if score > a:
            best[query, reference] = (score, a)
        elif score > b:
            best[query, reference] = (a, score)

    for (name, _), lists in global_local.items():
        for crop, reference, score in agreed(lists, 2):
            if sizes[crop] >= SETS[name]:
                privileged = crop[1] == "whole" or crop[1].startswith("overlay")
                push(crop[0], reference[0], score - (0 if privileged else 0.05))
    for query, view, score in agreed(local_global, 3):
        if view[0] not in faces:
            push(query[0], view[0], score - 0.05)
    return {pair: (a + b) / 2 if b > -np.inf else a for pair, (a, b) in best.items()}


def finished(branch_, members, sizes, faces):
    """The same from the kit's pieces."""
    queries, references, _ = members[0]
    pairs = agree([member_list(branch_, *member, images=QUERIES) for member in members], need=branch_.need)
    if branch_.min_side:
        sides = np.array(
            [sizes[str(i), queries.view_names[v]] for i, v in zip(queries.ids, queries.views, strict=True)]
        )
        pairs = large_enough(pairs, sides, min_side=branch_.min_side)
    if branch_.faceless:
        pairs = without_faces(pairs, np.isin(references.ids, list(faces)))
    free = ("whole", "overlay_*") if branch_.privileged else ()
    pairs = penalised(pairs, of_views(queries, free), of_views(references, free), penalty=branch_.crop_penalty)
    return Matches(queries.ids[pairs.query_rows], references.ids[pairs.reference_rows], pairs.scores)


@pytest.mark.parametrize("seed", range(6))
def test_d2lv_equals_its_published_steps_spelt_out(seed):
    rng = np.random.default_rng(seed)
    sizes = {(f"Q{q:06d}", crop): int(rng.integers(60, 400)) for q in range(QUERIES) for crop in CROPS}
    faces = {f"R{r:06d}" for r in range(REFERENCES) if rng.random() < 0.3}

    def member(crops, views):
        return (
            side(Role.QUERY, "Q", QUERIES, crops, rng),
            side(Role.REFERENCE, "R", REFERENCES, views, rng),
            side(Role.TRAIN, "T", TRAIN, ("whole",), rng),
        )

    drawn = {(name, scale): [member(CROPS, ("whole",)) for _ in range(3)] for name in SETS for scale in SCALES}
    parts = [member(("whole",), PARTS) for _ in range(3)]
    # With vectors of their own the members would hardly agree: they share most of the direction.
    for members in (*drawn.values(), parts):
        for other in members[1:]:
            for own, shared in zip(other, members[0], strict=True):
                own.vectors[:] = shared.vectors + 0.3 * own.vectors
    lists = {key: [published_list(*m) for m in members] for key, members in drawn.items()}
    wanted = published(lists, [published_list(*m) for m in parts], sizes, faces)
    found = {
        f"{name}_{scale}": finished(branch(name, need=2, min_side=SETS[name]), members, sizes, faces)
        for (name, scale), members in drawn.items()
    }
    found["parts"] = finished(branch("parts", need=3, faceless=True, privileged=()), parts, sizes, faces)
    assert all(len(rows) for rows in found.values())
    fused = best_rows(fuse(found, config.TopMean(rows=2)), 10_000)
    made = dict(
        zip(zip(fused.query_ids.tolist(), fused.reference_ids.tolist(), strict=True), fused.scores, strict=True)
    )
    assert made.keys() == wanted.keys()
    assert all(made[pair] == pytest.approx(wanted[pair], abs=1e-6) for pair in wanted)
    assert (np.diff(fused.scores) <= 0).all()
