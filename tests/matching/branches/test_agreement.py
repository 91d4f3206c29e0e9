"""The branch of agreement on a made run: lists, filters and penalties equal a loop over all pairs of views."""

from collections import Counter

import numpy as np
import pytest

from isckit.config import Agreement, Cut, Ensemble, Gist, Matching, Overlays, Recipe, Space
from isckit.matching.branches.agreement import matches
from isckit.matching.cut import threshold
from isckit.matching.inputs import MatchingInputs, table_folder
from isckit.matching.spaces import fit_spaces, fit_thresholds, fitted_threshold, space_bank, space_vectors
from isckit.runs.artifacts import read_receipt, write_receipt
from isckit.runs.embeddings import read_shards, write_embeddings
from isckit.runs.run import begin
from isckit.runs.workspace import Workspace
from isckit.types import BadInput, Embeddings, MissingInput, Role
from isckit.vectors.described import fit
from isckit.views.overlays import Box
from isckit.views.table import ImageFinding, table_of, write_table

MEMBERS = ("a", "b", "c")
QUERY_VIEWS = ("whole", "turn90", "turn180", "turn270", "mirror", "overlay_00", "proposal_00")
REFERENCE_VIEWS = ("whole", "quarter_00", "quarter_01", "quarter_10", "quarter_11", "mirror")
QUERIES, REFERENCES = 8, 10
SPACE = Space(dim=6, whiten=0.5)


def crops(**changes):
    values = {"need": 2, "query_views": ("rotations", "overlays"), "min_side": 60, "cut": Cut(by="rows", amount=12)}
    return Agreement(name="crops", members=MEMBERS, space=SPACE, **values | changes)


def parts(**changes):
    values = {"need": 3, "reference_views": ("quarters",), "faceless": True, "privileged": ()}
    return Agreement(name="parts", members=MEMBERS, space=SPACE, **values | {"cut": Cut(amount=25)} | changes)


def sizes(query):
    """Height and width of a query; its overlay is half as high and wide."""
    return 50 + 20 * query, 200


def started(root, *branches):
    """A run of three members that see much the same, and more views than any branch looks at."""
    recipe = Recipe(
        name="made",
        members=tuple(Gist(name=name) for name in MEMBERS),
        ensemble=Ensemble(dim=8),
        overlays=Overlays(confidence=0.5),
        matching=Matching(branches=branches),
    )
    run = begin(Workspace(root), "run", recipe)
    sets = (
        ("train", Role.TRAIN, "T", 80, ("whole",)),
        ("queries", Role.QUERY, "Q", QUERIES, QUERY_VIEWS),
        ("references", Role.REFERENCE, "R", REFERENCES, REFERENCE_VIEWS),
    )
    for at, (image_set, role, letter, count, views) in enumerate(sets):
        shared = np.random.default_rng(at).standard_normal((count * len(views), 10))
        ids = np.repeat([f"{letter}{i:05d}" for i in range(count)], len(views))
        for seed, name in enumerate(MEMBERS):
            noise = np.random.default_rng(10 * at + seed).standard_normal(shared.shape)
            x = (shared + 0.5 * noise).astype(np.float32)
            numbers = np.tile(np.arange(len(views), dtype=np.int16), count)
            folder = run.folder(image_set, name)
            write_embeddings(folder / "shard-00000.h5", Embeddings(role, ids, x, views, numbers))
            write_receipt(folder, made_from={"member": name}, facts={"complete": True, "images": count, "replaced": {}})
    half, low = Box(0.0, 0.0, 0.5, 0.5, 0.9, "overlay"), Box(0.0, 0.0, 0.1, 0.1, 0.3, "overlay")
    emoji = Box(0.0, 0.0, 0.1, 0.1, 0.95, "emoji")
    found = [ImageFinding(sizes(q), np.array([[0.0, 0.0, 0.1, 0.1]]), (emoji, half, low)) for q in range(QUERIES)]
    faces = [ImageFinding((99, 99), np.empty((0, 4)), face=r % 3 == 0) for r in range(REFERENCES)]
    for image_set, letter, findings in (("queries", "Q", found), ("references", "R", faces)):
        folder = table_folder(run, image_set)
        ids = np.array([f"{letter}{i:05d}" for i in range(len(findings))])
        write_table(folder / "shard-00000.npz", table_of(ids, findings))
        write_receipt(folder, made_from={}, facts={"complete": True})
    return run


def fitted(root, *branches):
    run = started(root, *branches)
    fit(run)
    for branch in branches:
        fit_spaces(run, branch)
        fit_thresholds(run, branch)
    return run


def scene(run):
    ids = [np.array([f"{letter}{i:05d}" for i in range(n)]) for letter, n in (("Q", QUERIES), ("R", REFERENCES))]
    return MatchingInputs(run, "queries", "references", *ids, 10_000)


def keys(side):
    return [(str(i), side.view_names[v]) for i, v in zip(side.ids, side.views, strict=True)]


def listed(run, branch, member):
    """{((query, view), (reference, view)): score} of one member, over all pairs of the branch's views."""
    key = f"{branch.name}.{member}"
    queries = space_vectors(run, key, "queries", view_sets=branch.query_views)
    references = space_vectors(run, key, "references", view_sets=branch.reference_views)
    train = space_bank(run, key).vectors.astype(np.float64)
    q, r = queries.vectors.astype(np.float64), references.vectors.astype(np.float64)
    scores = q @ r.T - 2 * np.sort(q @ train.T, axis=1)[:, -10:].mean(axis=1)[:, None]
    order = np.argsort(-scores, axis=None)
    if branch.cut.by == "rows":
        order = order[: round(branch.cut.amount * QUERIES)]
    else:
        order = order[scores.flat[order] >= fitted_threshold(run, branch, member)]
    columns = keys(queries), keys(references)
    return {(columns[0][k // len(r)], columns[1][k % len(r)]): scores.flat[k] for k in order.tolist()}


def by_loop(run, branch):
    lists = [listed(run, branch, member) for member in branch.members]
    count = Counter(pair for own in lists for pair in own)
    rows = []
    for own in lists:
        for ((query, crop), (reference, view)), score in own.items():
            height, width = sizes(int(query[1:]))
            side = min(height // 2, width // 2) if crop.startswith("overlay") else min(height, width)
            face = int(reference[1:]) % 3 == 0
            free = {crop, view} <= {"whole", "overlay_00"} and branch.privileged
            enough = count[(query, crop), (reference, view)] >= branch.need
            if enough and side >= branch.min_side and not (face and branch.faceless):
                rows.append((query, reference, score - (0 if free else branch.crop_penalty)))
    return sorted(rows)


def assert_rows(made, wanted):
    rows = sorted(zip(made.query_ids.tolist(), made.reference_ids.tolist(), made.scores.tolist(), strict=True))
    assert [row[:2] for row in rows] == [row[:2] for row in wanted]
    assert [row[2] for row in rows] == pytest.approx([row[2] for row in wanted], abs=1e-5)


CUTS = [Cut(by="rows", amount=25), Cut(by="share", amount=0.3)]


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.by)
@pytest.mark.parametrize("need", [1, 2, 3])
def test_query_crops_equal_a_loop_with_small_ones_dropped(tmp_path, need, cut):
    branch = crops(need=need, cut=cut)
    run = fitted(tmp_path, branch)
    wanted = by_loop(run, branch)
    assert len(wanted) > 5 and len(by_loop(run, crops(need=need, cut=cut, min_side=0))) > len(wanted)
    assert_rows(matches(scene(run), branch, {}), wanted)


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.by)
def test_reference_parts_equal_a_loop_without_faces_and_with_every_row_penalised(tmp_path, cut):
    branch = parts(cut=cut)
    run = fitted(tmp_path, branch)
    wanted = by_loop(run, branch)
    assert len(wanted) > 5 and len(by_loop(run, parts(cut=cut, faceless=False))) > len(wanted)
    assert_rows(matches(scene(run), branch, {}), wanted)


def test_a_pair_that_one_member_lists_does_not_go_on(tmp_path):
    run = fitted(tmp_path, crops())
    lists = [listed(run, crops(), member) for member in MEMBERS]
    count = Counter(pair for own in lists for pair in own)
    assert min(count.values()) == 1, "the data must have pairs to drop"
    agreed = {(query[0], reference[0]) for (query, reference), c in count.items() if c >= 2}
    made = matches(scene(run), crops(min_side=0), {})
    assert set(zip(made.query_ids.tolist(), made.reference_ids.tolist(), strict=True)) == agreed


def test_members_described_with_other_rows_are_refused(tmp_path):
    run = fitted(tmp_path, crops())
    folder = run.folder("queries", "b")
    (shard,) = read_shards(folder)
    write_embeddings(folder / "shard-00000.h5", shard.take(np.arange(len(shard.ids)) > 0))
    with pytest.raises(BadInput, match="branch crops with other rows of query views"):
        matches(scene(run), crops(), {})


def test_thresholds_are_those_of_the_banks_and_say_what_they_were_fitted_on(tmp_path):
    branch = crops(cut=Cut(by="share", amount=0.02))
    run = fitted(tmp_path, branch)
    for member in MEMBERS:
        bank = space_bank(run, f"crops.{member}")
        wanted = threshold(bank, share=0.02, norm_factor=2.0, norm_first=1, norm_last=10)
        assert fitted_threshold(run, branch, member) == wanted
        facts = read_receipt(run.workspace.threshold("run", f"crops.{member}"))["facts"]
        assert (facts["fitted_on"], facts["images"]) == ("train", 80)


def test_thresholds_depend_on_neither_queries_nor_references(tmp_path):
    branch = crops(cut=Cut(by="share", amount=0.02))
    one, other = started(tmp_path / "one", branch), started(tmp_path / "other", branch)
    for image_set in ("queries", "references"):
        for member in MEMBERS:
            path = other.folder(image_set, member) / "shard-00000.h5"
            (shard,) = read_shards(path.parent)
            write_embeddings(path, shard.with_vectors(-shard.vectors))
    for run in (one, other):
        fit(run)
        fit_spaces(run, run.recipe.matching.branches[0])
        fit_thresholds(run, branch)
    for member in MEMBERS:
        assert fitted_threshold(one, branch, member) == fitted_threshold(other, branch, member)


def test_a_threshold_that_was_not_fitted_is_missed_and_other_cuts_have_none(tmp_path):
    run = started(tmp_path, crops(), parts(cut=Cut(by="share", amount=0.02)))
    assert fitted_threshold(run, crops(), "a") is None
    with pytest.raises(MissingInput, match="isckit fit"):
        fitted_threshold(run, parts(cut=Cut(by="share", amount=0.02)), "a")
