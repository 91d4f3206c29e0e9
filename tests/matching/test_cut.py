"""Cuts: global lists, neighbours, and thresholds that are fitted on train alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isckit import config
from isckit.matching import cut
from isckit.matching.cut import above, cut_pairs, normalised, threshold
from isckit.runs.artifacts import receipt_path
from isckit.runs.steps import Kept
from isckit.types import BadInput, Embeddings, Role, RuleViolation, StaleArtifact
from isckit.vectors import above as search_above
from isckit.vectors import scan
from isckit.vectors.above import pairs_above
from isckit.vectors.products import Widened


def unit(seed, n, d=32):
    x = np.random.default_rng(seed).standard_normal((n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def bank_of(vectors, role=Role.TRAIN):
    return Embeddings.whole(role, np.array([f"T{i:06d}" for i in range(len(vectors))]), vectors)


def by_sort(left, right, keep):
    """Rows of pairs in order of score that `keep`, given a place among all and among the query's, lets through."""
    scores = left.astype(np.float64) @ right.astype(np.float64).T
    order = np.argsort(-scores, axis=None, kind="stable")
    places = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1, kind="stable").ravel()
    return [int(k) for place, k in enumerate(order) if keep(place, places[k], scores.flat[k])]


def numbers(hits, columns):
    return (hits.query_rows * columns + hits.reference_rows).tolist()


def test_rows_are_amount_times_images_whatever_the_number_of_views():
    left, right = unit(1, 40), unit(2, 30)
    made = cut_pairs(left, right, config.Cut(by="rows", amount=2.5), images=10)
    assert numbers(made, 30) == by_sort(left, right, lambda place, own, score: place < 25)
    few = cut_pairs(left, right, config.Cut(by="rows", amount=2.5), images=10, least=300)
    assert len(few.scores) == 300
    assert len(cut_pairs(left, right, config.Cut(by="rows", amount=999.0), images=10).scores) == 1200


def test_neighbours_are_those_of_every_view():
    left, right = unit(1, 40), unit(2, 30)
    made = cut_pairs(left, right, config.Cut(by="neighbours", amount=3), images=10)
    assert numbers(made, 30) == by_sort(left, right, lambda place, own, score: own < 3)


@settings(max_examples=40, deadline=None)
@given(tile=st.integers(1, 50), block=st.integers(1, 40), level=st.floats(-1.1, 1.1))
def test_all_pairs_above_a_threshold_are_found_whatever_the_blocks(tile, block, level):
    left, right = unit(1, 20, 4), unit(2, 30, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "TILE_COLUMNS", tile)
        found = pairs_above(left, right, threshold=level, query_block=block, reference_block=block)
        made = found.kept(np.lexsort((found.reference, found.query, -found.score)))
    assert (made.query * 30 + made.reference).tolist() == by_sort(left, right, lambda place, own, score: score >= level)
    assert numbers(above(left, right, threshold=level), 30) == (made.query * 30 + made.reference).tolist()


@settings(max_examples=60, deadline=None)
@given(
    tile=st.integers(1, 50),
    whole=st.booleans(),
    level=st.floats(-2.1, 2.1),
    views=st.lists(st.integers(0, 6), min_size=1, max_size=40).map(sorted),
    others=st.lists(st.integers(0, 6), min_size=1, max_size=40).map(sorted),
)
def test_of_all_views_of_two_images_the_best_pair_is_kept(tile, whole, level, views, others):
    images = [np.array(side) for side in (views, others)]
    left, right = (
        np.random.default_rng(len(side)).integers(-1, 2, (len(side), 3)).astype(np.float32) for side in images
    )
    if not whole:  # no two scores alike
        left, right = left + unit(3, len(left), 3) / 8, right + unit(4, len(right), 3) / 8
    scores = left.astype(np.float64) @ right.astype(np.float64).T
    wanted = {}
    for q, r in np.argwhere(scores >= level).tolist():  # by rows, so that of equals the first stays
        pair = int(images[0][q]), int(images[1][r])
        if pair not in wanted or scores[q, r] > scores[wanted[pair]]:
            wanted[pair] = (q, r)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "TILE_COLUMNS", tile)
        made = pairs_above(left, right, threshold=level, groups=(images[0], images[1]), query_block=7)
    rows = list(zip(made.query.tolist(), made.reference.tolist(), strict=True))
    if whole:
        assert sorted(rows) == sorted(wanted.values())
    best = {}
    for (q, r), score in zip(rows, made.score, strict=True):
        pair = int(images[0][q]), int(images[1][r])
        assert pair not in best
        best[pair] = score
    assert best == pytest.approx({pair: scores[at] for pair, at in wanted.items()}, abs=1e-12)


def test_a_score_equal_to_the_threshold_passes_with_all_its_ties():
    made = above(np.ones((5, 2), np.float32), np.ones((7, 2), np.float32), threshold=2.0)
    assert len(made.scores) == 35
    assert len(above(np.ones((5, 2), np.float32), np.ones((7, 2), np.float32), threshold=2.0001).scores) == 0


def test_a_list_beyond_all_bounds_is_refused_while_it_grows(monkeypatch):
    monkeypatch.setattr(search_above, "MOST_ABOVE", 100)
    with pytest.raises(BadInput, match=r"cut\.most") as caught:
        above(unit(1, 40), unit(2, 30), threshold=-2.0)
    assert "1,200 pairs" in str(caught.value)


def test_rows_that_are_widened_as_they_are_read_are_those_of_the_whole_matrix():
    base, further = unit(1, 9, 5), unit(2, 9, 2)
    wide = Widened(Widened(base, further[:, :1]), further[:, 1:])
    whole = np.concatenate([base, further], axis=1)
    assert wide.shape == whole.shape and len(wide) == 9 and np.asarray(wide).dtype == np.float32
    for rows in (slice(2, 7), np.array([8, 0, 0]), slice(None)):
        assert (wide[rows] == whole[rows]).all()


def test_no_queries_give_no_pairs():
    for rule in (config.Cut(), config.Cut(by="neighbours", amount=2), config.Cut(by="share", amount=0.1)):
        assert len(cut_pairs(unit(1, 0), unit(2, 5), rule, images=0, threshold=0.5).scores) == 0


def test_what_a_cut_by_share_lets_through_is_the_same_alone_and_in_company():
    left, right = unit(1, 60), unit(2, 80)
    share = config.Cut(by="share", amount=0.01)

    def pairs(some_left, some_right):
        made = cut_pairs(left[some_left], right[some_right], share, images=len(some_left), threshold=0.3)
        return {
            (some_left[q], some_right[r], s)
            for q, r, s in zip(made.query_rows, made.reference_rows, made.scores, strict=True)
        }

    every = pairs(np.arange(60), np.arange(80))
    assert len(every) > 50
    half = set(range(0, 60, 2))
    assert pairs(np.arange(0, 60, 2), np.arange(40)) == {row for row in every if row[0] in half and row[1] < 40}
    for q, r, s in list(every)[:5]:
        assert pairs(np.array([q]), np.array([r])) == {(q, r, s)}


FITTED = {"norm_factor": 2.0, "norm_first": 1, "norm_last": 10}


@pytest.mark.parametrize("share", [0.02, 0.001])
@pytest.mark.parametrize("factor", [0.0, 2.0])
def test_the_share_of_fresh_unrelated_pairs_above_the_threshold_is_as_asked(share, factor):
    bank = bank_of(unit(3, 3000))
    level = threshold(bank, share=share, norm_factor=factor, norm_first=1, norm_last=10)
    sides = normalised(unit(4, 500), unit(5, 900), bank, factor=factor, first=1, last=10)
    left, right = map(np.asarray, sides)
    reached = np.mean(left.astype(np.float64) @ right.astype(np.float64).T >= level)
    assert reached == pytest.approx(share, rel=0.15)


@pytest.mark.parametrize("ranks", [(1, 10), (10, 10), (1, 1), (3, 4)])
def test_the_threshold_equals_a_loop_that_leaves_both_images_of_a_pair_out_of_the_bank(ranks):
    x = unit(3, 90)
    similar = x.astype(np.float64) @ x.astype(np.float64).T
    scores = []
    for q in range(90):
        for t in range(90):
            if q != t:
                others = np.sort(np.delete(similar[q], [q, t]))[::-1]
                scores.append(similar[q, t] - 2 * others[ranks[0] - 1 : ranks[1]].mean())
    wanted = np.sort(scores)[::-1][round(0.01 * 90 * 89) - 1]
    made = threshold(bank_of(x), share=0.01, norm_factor=2.0, norm_first=ranks[0], norm_last=ranks[1])
    assert made == pytest.approx(wanted, abs=1e-6)


def test_copies_within_train_change_the_threshold_little():
    clean = unit(3, 800)
    copies = clean[:40] + 0.3 * unit(9, 40)
    copies /= np.linalg.norm(copies, axis=1, keepdims=True)
    with_copies = bank_of(np.concatenate([clean, copies.astype(np.float32)]))
    # 80 ordered pairs of copies would be the best of 64 wanted, had they been counted as unrelated.
    level = threshold(bank_of(clean), share=1e-4, **FITTED)
    assert threshold(with_copies, share=1e-4, **FITTED) == pytest.approx(level, abs=0.02)


def test_the_threshold_depends_on_neither_order_of_rows_nor_which_other_columns_exist():
    bank = bank_of(unit(3, 300))
    order = np.random.default_rng(0).permutation(300)
    one = threshold(bank, share=0.01, sample=100, **FITTED)
    assert one == threshold(bank.take(order), share=0.01, sample=100, **FITTED)
    assert one != threshold(bank, share=0.01, sample=50, **FITTED)


@pytest.mark.parametrize("role", [Role.QUERY, Role.REFERENCE])
def test_thresholds_are_fitted_on_train_alone(role):
    with pytest.raises(RuleViolation):
        threshold(bank_of(unit(3, 60), role), share=0.01, **FITTED)


def test_a_bank_too_small_for_the_share_or_the_ranks_is_refused():
    with pytest.raises(BadInput, match="less than one"):
        threshold(bank_of(unit(3, 30)), share=1e-6, **FITTED)
    with pytest.raises(BadInput, match="a bank of 12 train images"):
        threshold(bank_of(unit(3, 12)), share=0.1, **FITTED)


def test_a_bank_of_one_vector_repeated_has_a_threshold():
    assert np.isfinite(threshold(bank_of(np.repeat(unit(3, 1), 40, axis=0)), share=0.1, **FITTED))


@pytest.mark.parametrize("values", [{"by": "share", "amount": 1.0}, {"by": "neighbours", "amount": 2.5}])
def test_amounts_that_make_no_sense_are_refused_where_they_are_written(values):
    with pytest.raises(ValueError, match="a cut by"):
        config.Cut(**values)


def test_parts_are_kept_until_all_is_done_and_only_missing_ones_are_looked_for_again(tmp_path, monkeypatch):
    left, right, searched = unit(1, 40, 4), unit(2, 30, 4), []
    views = np.arange(40) // 4, np.arange(30) // 3
    monkeypatch.setattr(cut, "_PART", 15)
    whole = above(left, right, threshold=0.3, groups=views)

    def spied(queries, *others, **more):
        searched.append(len(queries))
        return pairs_above(queries, *others, **more)

    monkeypatch.setattr(cut, "pairs_above", spied)
    kept = Kept(tmp_path, {"of": "these"})
    for _ in range(2):
        made = above(left, right, threshold=0.3, groups=views, kept=kept, name="v")
        assert numbers(made, 30) == numbers(whole, 30) and made.scores.tobytes() == whole.scores.tobytes()
        assert searched == [15, 15, 10]
    (tmp_path / "v/shard-00001.npz").unlink()
    receipt_path(tmp_path / "v").unlink()  # as a killed run leaves it
    assert numbers(above(left, right, threshold=0.3, groups=views, kept=kept, name="v"), 30) == numbers(whole, 30)
    assert searched == [15, 15, 10, 15]
    with pytest.raises(StaleArtifact):
        above(left, right, threshold=0.3, groups=views, kept=Kept(tmp_path, {"of": "others"}), name="v")
