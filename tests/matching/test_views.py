"""The branch of views as a pure function: a loop over all pairs of views, free views, cuts, independence."""

import numpy as np
import pytest

from isckit import config
from isckit.matching.cut import threshold
from isckit.matching.views import view_matches
from isckit.types import Embeddings, Role

VIEWS = ("whole", "turn90", "overlay_00", "overlay_01")


def side(role, prefix, images, views, seed, d=12):
    x = np.random.default_rng(seed).standard_normal((images * len(views), d))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    ids = np.repeat([f"{prefix}{i:05d}" for i in range(images)], len(views))
    return Embeddings(role, ids, x, views, np.tile(np.arange(len(views), dtype=np.int16), images))


QUERIES = side(Role.QUERY, "Q", 9, VIEWS, 1)
REFERENCES = side(Role.REFERENCE, "R", 14, VIEWS[:2], 2)
BANK = side(Role.TRAIN, "T", 60, ("whole",), 3)


def by_loop(branch, free, least=-np.inf):
    """{pair: score of its best pair of views}, of those that reach `least`."""
    q, r, t = (s.vectors.astype(np.float64) for s in (QUERIES, REFERENCES, BANK))
    ranked = np.sort(q @ t.T, axis=1)[:, ::-1][:, branch.norm_first - 1 : branch.norm_last]
    scores = q @ r.T - branch.norm_factor * ranked.mean(axis=1)[:, None]
    best = {}
    for a in range(len(q)):
        for b in range(len(r)):
            names = QUERIES.view_names[QUERIES.views[a]], REFERENCES.view_names[REFERENCES.views[b]]
            score = scores[a, b] - branch.crop_penalty * sum(name not in free for name in names)
            pair = str(QUERIES.ids[a]), str(REFERENCES.ids[b])
            best[pair] = max(best.get(pair, -np.inf), score)
    return {pair: score for pair, score in best.items() if score >= least}


def as_dict(made):
    pairs = zip(made.query_ids.tolist(), made.reference_ids.tolist(), strict=True)
    return dict(zip(pairs, made.scores.tolist(), strict=True))


@pytest.mark.parametrize("factor", [0.0, 1.5])
@pytest.mark.parametrize(
    ("patterns", "free"),
    [(("whole",), ("whole",)), (("whole", "overlay_*"), ("whole", "overlay_00", "overlay_01")), ((), ())],
)
def test_a_pair_has_the_score_of_its_best_pair_of_views_with_free_ones_free(factor, patterns, free):
    branch = config.Views(norm_factor=factor, norm_first=2, norm_last=5, crop_penalty=0.2)
    made = as_dict(view_matches(branch, QUERIES, REFERENCES, BANK, images=9, free=patterns))
    assert made == pytest.approx(by_loop(branch, free), abs=1e-5)


def test_a_cut_by_share_keeps_what_reaches_its_threshold_with_penalty_and_is_the_same_for_a_pair_alone():
    branch = config.Views(norm_first=1, norm_last=3, cut=config.Cut(by="share", amount=0.02))
    level = threshold(BANK, share=0.3, norm_factor=1.5, norm_first=1, norm_last=3)
    made = as_dict(view_matches(branch, QUERIES, REFERENCES, BANK, images=9, threshold=level))
    wanted = by_loop(branch, ("whole",), least=level)
    assert 5 < len(wanted) < 9 * 14
    assert made == pytest.approx(wanted, abs=1e-5)
    for query, reference in [*wanted][:3]:
        alone = QUERIES.take(QUERIES.ids == query), REFERENCES.take(REFERENCES.ids == reference)
        found = as_dict(view_matches(branch, *alone, BANK, images=1, threshold=level))
        assert found == {(query, reference): made[query, reference]}


def test_a_cut_by_rows_loses_no_pair_of_a_small_set():
    branch = config.Views(cut=config.Cut(by="rows", amount=0.5))
    assert len(view_matches(branch, QUERIES, REFERENCES, BANK, images=9)) == 9 * 14


def test_a_cut_by_neighbours_keeps_those_of_every_view():
    branch = config.Views(norm_factor=0.0, crop_penalty=0.0, cut=config.Cut(by="neighbours", amount=1))
    nearest = (QUERIES.vectors @ REFERENCES.vectors.T).argmax(axis=1)
    wanted = {(str(q), str(REFERENCES.ids[n])) for q, n in zip(QUERIES.ids, nearest, strict=True)}
    assert as_dict(view_matches(branch, QUERIES, REFERENCES, BANK, images=9)).keys() == wanted
