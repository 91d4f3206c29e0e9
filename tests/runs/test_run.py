"""From embeddings on disk to fitted runs: ensembles by PCA and in a shared space, draws, and what receipts hang on."""

import numpy as np
import pytest
from PIL import Image

from isckit.config import Ensemble, Gist, Recipe, Stretch, Substitution, replace
from isckit.data.image_sets import open_folder
from isckit.runs.artifacts import read_receipt, write_receipt, write_text
from isckit.runs.embeddings import read_shards, write_embeddings
from isckit.runs.run import begin
from isckit.runs.workspace import Workspace
from isckit.tracks.descriptor import descriptor_track
from isckit.types import BadInput, Embeddings, Role, StaleArtifact
from isckit.vectors.described import bank, ensembled, fit, set_made_from, train_vectors
from isckit.vectors.pca import load_pca

SIZES = {"train": (Role.TRAIN, "T", 90), "references": (Role.REFERENCE, "R", 30), "queries": (Role.QUERY, "Q", 20)}
SHARED = Ensemble(how="shared", dim=12)


def started(root, ensemble, *, widths=(12, 12, 12)):
    """A run whose members described all sets in shards of 16 images: of references two views, of others one."""
    members = tuple(Gist(name=f"m{number}", weight=1.0 + number) for number in range(len(widths)))
    run = begin(Workspace(root), "run", Recipe(name="made", members=members, ensemble=ensemble, normalise=(Stretch(),)))
    rng = np.random.default_rng(0)
    for image_set, (role, letter, count) in SIZES.items():
        names = ("whole", "mirror") if role is Role.REFERENCE else ("whole",)
        ids = np.repeat([f"{letter}{i:05d}" for i in range(count)], len(names))
        for member, width in zip(members, widths, strict=True):
            views = np.tile(np.arange(len(names), dtype=np.int16), count)
            x = rng.standard_normal((len(ids), width)).astype(np.float32)
            rows, folder = Embeddings(role, ids, x, names, views), run.folder(image_set, member.name)
            for number, start in enumerate(range(0, len(ids), 16 * len(names))):
                shard = np.arange(start, min(start + 16 * len(names), len(ids)))
                write_embeddings(folder / f"shard-{number:05d}.h5", rows.take(shard))
            write_receipt(
                folder, made_from={"member": member.name}, facts={"complete": True, "images": count, "replaced": {}}
            )
    return run


def raw(run, image_set, member):
    x = Embeddings.joined(list(read_shards(run.folder(image_set, member)))).vectors.astype(np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_in_a_shared_space_references_and_train_are_the_first_members_and_queries_the_others(tmp_path):
    run = started(tmp_path, SHARED)
    fit(run)
    np.testing.assert_allclose(bank(run).vectors, raw(run, "train", "m0"), atol=1e-6)
    references = ensembled(run, "references", views=None)
    np.testing.assert_allclose(references.vectors, raw(run, "references", "m0"), atol=1e-6)
    total = 2 * raw(run, "queries", "m1") + 3 * raw(run, "queries", "m2")
    wanted = total / np.linalg.norm(total, axis=1, keepdims=True)
    np.testing.assert_allclose(ensembled(run, "queries").vectors, wanted, atol=1e-6)


def test_a_run_in_a_shared_space_has_the_files_of_any_other_and_becomes_a_submission(tmp_path):
    run = started(tmp_path, SHARED)
    fit(run)
    assert load_pca(run.workspace.ensemble("run")).fitted_on is Role.TRAIN
    for path in (run.workspace.ensemble("run"), run.workspace.bank("run")):
        assert read_receipt(path)["facts"]["fitted_on"] == "train"
    facts = read_receipt(descriptor_track(run, phase=1))["facts"]
    assert facts["dim"] == 12


def test_a_shared_space_of_another_dimension_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"12 dimensions, and ensemble.dim=8"):
        fit(started(tmp_path, Ensemble(how="shared", dim=8)))


def test_members_of_several_dimensions_share_no_space(tmp_path):
    with pytest.raises(BadInput, match="12 and 10 dimensions"):
        fit(started(tmp_path, SHARED, widths=(12, 10)))


def test_whole_images_of_an_ensemble_are_the_same_with_and_without_other_views(tmp_path):
    run = started(tmp_path, Ensemble(dim=8), widths=(12, 10))
    fit(run)
    every, whole = ensembled(run, "references", views=None), ensembled(run, "references")
    assert len(every.ids) == 60 and len(whole.ids) == 30
    assert whole.vectors.tobytes() == every.only("whole").vectors.tobytes()
    assert whole.ids.tolist() == every.only("whole").ids.tolist()


@pytest.mark.parametrize("limit", [7, 89, 90, 500])
def test_the_images_fitted_on_are_drawn_by_the_seed_alone(tmp_path, limit):
    run = started(tmp_path, Ensemble(dim=8, fit_images=limit), widths=(12,))
    got = train_vectors(run)
    rows = np.arange(90) if limit >= 90 else np.sort(np.random.default_rng(1).choice(90, limit, replace=False))
    assert got.ids.tolist() == [f"T{row:05d}" for row in rows]
    np.testing.assert_allclose(got.vectors, raw(run, "train", "m0")[rows], atol=1e-6)


def test_boxes_decide_the_freshness_of_queries_and_of_nothing_else(tmp_path):
    boxes = tmp_path / "boxes.csv"
    write_text(boxes, "image_id,x0,y0,x1,y1,confidence,label\n")
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "pictures" / "X0.png")
    plain = started(tmp_path / "plain", SHARED)
    recipe = replace(plain.recipe, substitution=Substitution(boxes=str(boxes), confidence=0.8))
    run = begin(Workspace(tmp_path / "root"), "run", recipe)
    for one in (plain, run):
        write_text(one.weights, "weights")

    def made_from(one, role):
        return set_made_from(one, open_folder(tmp_path / "pictures", role), recipe.members[0], ["whole"])

    before = {role: made_from(run, role) for role in Role}
    assert {role for role in Role if before[role] != made_from(plain, role)} == {Role.QUERY}
    write_text(boxes, "image_id,x0,y0,x1,y1,confidence,label\nX0,0,0,1,1,1,overlay\n")
    assert {role for role in Role if before[role] != made_from(run, role)} == {Role.QUERY}


def test_a_run_goes_on_with_its_own_recipe_only(tmp_path):
    run = started(tmp_path, SHARED)
    assert begin(run.workspace, "run", run.recipe).recipe == run.recipe
    with pytest.raises(StaleArtifact, match="ensemble"):
        begin(run.workspace, "run", replace(run.recipe, ensemble=Ensemble(dim=12)))
