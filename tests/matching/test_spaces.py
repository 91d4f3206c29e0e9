"""Spaces of branches: which members and views they hold, what they are fitted on, and where they lie."""

import numpy as np
import pytest

from isckit.config import Agreement, Cut, Ensemble, Gist, Matching, Recipe, Space, Views
from isckit.matching.cut import threshold
from isckit.matching.spaces import fit_spaces, fit_thresholds, own_spaces, space_bank, space_vectors, view_names
from isckit.runs.artifacts import read_receipt, write_receipt
from isckit.runs.embeddings import read_shards, write_embeddings
from isckit.runs.records import read_json
from isckit.runs.run import begin
from isckit.runs.workspace import Workspace
from isckit.types import BadInput, Embeddings, MissingInput, Role
from isckit.vectors.described import ensembled, fit

WIDTHS = {"a": 6, "b": 5, "c": 4}
VIEWS = ("whole", "mirror", "proposal_00", "proposal_01")
OWN = Views(name="own", members=("c", "a"), space=Space(dim=3), query_views=("mirror",), reference_views=())
BARE = Views(name="bare", members=("b",), space=Space(), query_views=("proposals",), reference_views=())
AGREED = Agreement(name="agreed", members=("a", "b"), space=Space(dim=4, whiten=0.5))
PLAIN = Views(query_views=("mirror",), reference_views=())


def started(root, *branches):
    """A run of three members; queries have a mirrored view, and every other one proposals, as only `b` sees them."""
    members = tuple(Gist(name=name, weight=1.0 + at) for at, name in enumerate(WIDTHS))
    recipe = Recipe(name="made", members=members, ensemble=Ensemble(dim=8), matching=Matching(branches=branches))
    run = begin(Workspace(root), "run", recipe)
    rng = np.random.default_rng(0)
    for image_set, role, letter, count in (("train", Role.TRAIN, "T", 60), ("queries", Role.QUERY, "Q", 9)):
        for name, width in WIDTHS.items():
            seen = 1 if role is Role.TRAIN else 4 if name == "b" else 2
            rows = [(i, view) for i in range(count) for view in range(seen) if view < 2 or i % 2]
            ids = np.array([f"{letter}{i:05d}" for i, _ in rows])
            x = rng.standard_normal((len(rows), width)).astype(np.float32)
            views = np.array([view for _, view in rows], np.int16)
            folder = run.folder(image_set, name)
            write_embeddings(folder / "shard-00000.h5", Embeddings(role, ids, x, VIEWS[:seen], views))
            write_receipt(folder, made_from={"member": name}, facts={"complete": True, "images": count, "replaced": {}})
    return run


def units(run, image_set, member, views):
    (shard,) = read_shards(run.folder(image_set, member))
    x = shard.named(views).vectors.astype(np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def fitted(root, *branches):
    run = started(root, *branches)
    fit(run)
    for branch in branches:
        fit_spaces(run, branch)
    return run


def test_every_branch_with_a_space_has_one_and_an_agreement_one_a_member(tmp_path):
    run = started(tmp_path, PLAIN, OWN, AGREED)
    assert [own.key for branch in run.recipe.matching.branches for own in own_spaces(run.recipe, branch)] == [
        "own",
        "agreed.a",
        "agreed.b",
    ]


def test_a_space_holds_the_weighted_members_of_its_branch_projected_by_a_pca_of_train(tmp_path):
    run = fitted(tmp_path, PLAIN, OWN)
    # Members stand in the order of the recipe, with its weights, whatever the order in the branch.
    train, queries = (
        np.concatenate([1.0 * units(run, s, "a", v), 3.0 * units(run, s, "c", v)], axis=1)
        for s, v in (("train", ("whole",)), ("queries", ("whole", "mirror")))
    )
    basis = np.linalg.svd(train - train.mean(0), full_matrices=False)[2][:3]
    wanted = (queries - train.mean(0)) @ basis.T
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    got = space_vectors(run, "own", "queries", view_sets=("mirror",))
    np.testing.assert_allclose(got.vectors @ got.vectors.T, wanted @ wanted.T, atol=1e-5)
    assert len(got.ids) == 18


def test_a_space_without_a_dimension_leaves_the_vectors_and_takes_the_views_that_differ_from_image_to_image(tmp_path):
    run = fitted(tmp_path, BARE)
    got = space_vectors(run, "bare", "queries", view_sets=("proposals",))
    names = np.array(got.view_names)[got.views]
    assert set(names) == {"whole", "proposal_00", "proposal_01"}
    assert len(got.ids) == 9 + 2 * 4
    wanted = units(run, "queries", "b", ("whole", "proposal_*"))
    np.testing.assert_allclose(got.vectors, wanted, atol=1e-6)


def test_whitening_makes_the_bank_of_a_space_uncorrelated_before_unit_length(tmp_path):
    run = fitted(tmp_path, AGREED)
    bank = space_bank(run, "agreed.a")
    assert bank.role is Role.TRAIN and bank.vectors.shape == (60, 4)
    np.testing.assert_allclose(np.linalg.norm(bank.vectors, axis=1), 1.0, atol=1e-5)
    assert read_receipt(run.workspace.space("run", "agreed.a"))["facts"]["fitted_on"] == "train"


def test_without_a_space_of_its_own_a_branch_compares_the_descriptors_with_their_views(tmp_path):
    run = fitted(tmp_path, PLAIN)
    got = space_vectors(run, None, "queries", view_sets=("mirror",))
    assert got.vectors.tobytes() == ensembled(run, "queries", views=("whole", "mirror")).vectors.tobytes()
    assert space_bank(run, None).vectors.shape == (60, 8)


def test_a_space_that_was_not_fitted_is_missed(tmp_path):
    with pytest.raises(MissingInput, match="isckit fit"):
        space_bank(started(tmp_path, OWN), "own")


def test_views_that_a_member_lacks_are_named(tmp_path):
    run = fitted(tmp_path, Views(query_views=("proposals",), reference_views=()))
    with pytest.raises(BadInput, match="rows in member"):
        space_vectors(run, None, "queries", view_sets=("proposals",))


def test_names_of_view_sets_begin_with_the_whole_image():
    assert view_names(("overlays", "mirror")) == ("whole", "mirror", "overlay_*")


@pytest.mark.parametrize(("references", "share"), [(None, 0.3), (1, 0.3), (1_000, 5 / 8_000)])
def test_a_share_that_would_list_too_many_pairs_at_the_size_at_hand_is_replaced_by_a_smaller_one(
    tmp_path, references, share
):
    cut = Cut(by="share", amount=0.3, most=5)
    branch = Views(norm_last=3, query_views=("mirror",), reference_views=("rotations",), cut=cut)
    run = fitted(tmp_path, branch)
    assert [len(view_names(views)) for views in (branch.query_views, branch.reference_views)] == [2, 4]
    if references is not None:
        folder = run.folder("references", "a")
        folder.mkdir(parents=True)
        write_receipt(folder, made_from={}, facts={"complete": True, "images": references})
    fit_thresholds(run, branch)
    found = read_json(run.workspace.threshold("run", "views"))
    assert found["share"] == share
    bank = space_bank(run, None)
    assert found["threshold"] == threshold(bank, share=found["share"], norm_factor=1.5, norm_first=1, norm_last=3)
