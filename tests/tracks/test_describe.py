"""A folder becomes a file of vectors: those of the run, of the members, in order, and again after an interruption."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from isckit import config
from isckit.cli import tools as interop
from isckit.data.layouts import open_folder, require
from isckit.engine.distributed import Process
from isckit.models.members import build, prefixed
from isckit.runs.artifacts import receipt_path
from isckit.runs.checkpoints import write_weights
from isckit.runs.embeddings import read_embeddings
from isckit.runs.run import begin
from isckit.runs.workspace import Workspace
from isckit.tracks.describe import describe_by_run, describe_by_weights
from isckit.tracks.extraction import extract_set
from isckit.types import WHOLE, BadInput, MissingInput, Role, StaleArtifact
from isckit.vectors.described import bank, ensembled, fit
from isckit.vectors.normalise import fit_normaliser, normalise

HERE = Process(torch.device("cpu"))
PROCESS = {"process": HERE, "workers": 0}
SMALL = config.Network(
    backbone=config.Backbone(name="test_resnet"), dim=16, image_size=32, canvas=48, stages=(), weight=2.0
)
RECIPE = config.Recipe(
    name="small",
    members=(SMALL, config.Gist(weight=3.0)),
    extract=config.Extract(shard_images=5, batch_images=4),
    ensemble=config.Ensemble(dim=12),
    normalise=(config.Subtract(k=3), config.Stretch(n=2)),
    matching=config.Matching(branches=(config.Views(query_views=("mirror",), reference_views=("centre",)),)),
)


def write(path, recipe=RECIPE, seed=0):
    torch.manual_seed(seed)
    networks = [member for member in recipe.members if isinstance(member, config.Network)]
    weights = {k: v for member in networks for k, v in prefixed(member.name, build(member).state_dict()).items()}
    write_weights(path, weights, recipe=config.to_json(recipe))
    return path


@pytest.fixture(scope="module")
def fitted(disc, tmp_path_factory):
    run = begin(Workspace(tmp_path_factory.mktemp("root")), "run", RECIPE)
    write(run.weights)
    for name in ("train", "references", "queries"):
        extract_set(run, require(disc, name), **PROCESS)
    fit(run)
    return run


@pytest.fixture
def folder(disc, tmp_path):
    """References in subfolders, so that ids are paths."""
    folder = tmp_path / "pictures"
    for number, path in enumerate(Path(disc.references.where(i)) for i in range(12)):
        (folder / f"part{number % 2}").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / f"part{number % 2}" / path.name)
    return folder


def numbers(ids):
    return [name.split("/")[1] for name in ids.tolist()]


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("role", [Role.REFERENCE, Role.QUERY])
def test_a_run_describes_a_folder_as_its_submission_does(fitted, disc, tmp_path, normalised, role):
    image_set = {Role.REFERENCE: "references", Role.QUERY: "queries"}[role]
    out = tmp_path / "v.h5"
    describe_by_run(fitted, require(disc, image_set), out, normalised=normalised, **PROCESS)
    wanted = ensembled(fitted, image_set).only(WHOLE)
    if normalised:
        wanted = normalise(wanted, fit_normaliser(bank(fitted), RECIPE.normalise))
    found = read_embeddings(out)
    assert found.ids.tolist() == wanted.ids.tolist() and found.role is role
    np.testing.assert_allclose(found.vectors, wanted.vectors, atol=1e-6)


def test_bare_weights_give_the_members_unit_vectors_side_by_side(fitted, folder, tmp_path):
    out = tmp_path / "v.h5"
    images = open_folder(folder, Role.REFERENCE)
    facts = describe_by_weights(RECIPE, fitted.weights, images, out, **PROCESS)
    found = read_embeddings(out)
    assert found.vectors.shape == (12, 16 + 960) and facts["dim"] == 976 and facts["images"] == 12
    own = [
        np.concatenate([read_embeddings(p).only(WHOLE).vectors for p in sorted(fitted.folder("references", m).iterdir())
                        if p.suffix == ".h5"])
        for m in ("network", "gist")
    ]  # fmt: skip
    ids = np.concatenate([read_embeddings(p).only(WHOLE).ids for p in sorted(
        fitted.folder("references", "gist").glob("*.h5"))])  # fmt: skip
    rows = np.searchsorted(ids, numbers(found.ids))
    np.testing.assert_allclose(found.vectors, np.concatenate(own, axis=1)[rows], atol=1e-6)


def test_the_file_is_contiguous_float32_with_fixed_bytes_as_ids_and_says_what_made_it(fitted, folder, tmp_path):
    out = tmp_path / "v.hdf5"
    describe_by_run(fitted, open_folder(folder, Role.REFERENCE), out, normalised=False, **PROCESS)
    with h5py.File(out) as file:
        assert file["vectors"].dtype == np.float32 and file["vectors"].chunks is None and file["ids"].dtype.kind == "S"
        assert file.attrs["recipe"] == config.digest(RECIPE) and file.attrs["normalised"] == "False"
        assert file["ids"][0].decode().startswith("part0/R")


def test_npz_holds_the_same_and_is_read_without_pickle(fitted, folder, tmp_path):
    images = open_folder(folder, Role.REFERENCE)
    for suffix in ("h5", "npz"):
        describe_by_weights(RECIPE, fitted.weights, images, tmp_path / f"v.{suffix}", **PROCESS)
    wanted = read_embeddings(tmp_path / "v.h5")
    with np.load(tmp_path / "v.npz", allow_pickle=False) as found:
        assert np.array_equal(found["vectors"], wanted.vectors) and found["ids"].tolist() == wanted.ids.tolist()
        assert str(found["recipe"]) == config.digest(RECIPE)


def test_an_interrupted_command_goes_on_and_leaves_nothing_behind(fitted, folder, tmp_path, monkeypatch):
    from isckit.engine import describe as extract

    images = open_folder(folder, Role.REFERENCE)
    describe_by_run(fitted, images, tmp_path / "once.h5", normalised=False, **PROCESS)
    done, describing = [], extract._Extraction.describe

    def interrupted(extraction, shard, bar):
        done.append(int(shard[0]))
        if done == [0, 5]:
            raise KeyboardInterrupt
        return describing(extraction, shard, bar)

    monkeypatch.setattr(extract._Extraction, "describe", interrupted)
    out = tmp_path / "v.h5"
    with pytest.raises(KeyboardInterrupt):
        describe_by_run(fitted, images, out, normalised=False, **PROCESS)
    assert not out.exists()
    describe_by_run(fitted, images, out, normalised=False, **PROCESS)
    assert done == [0, 5, 5, 10]  # the first shard was not described again
    assert out.read_bytes() == (tmp_path / "once.h5").read_bytes()
    assert sorted(p.name for p in tmp_path.glob("v.h5*")) == ["v.h5", "v.h5.receipt.json"]
    describe_by_run(fitted, images, out, normalised=False, **PROCESS)
    assert done == [0, 5, 5, 10]


def test_a_file_made_from_something_else_is_not_overwritten(fitted, folder, tmp_path):
    images, out = open_folder(folder, Role.REFERENCE), tmp_path / "v.h5"
    describe_by_run(fitted, images, out, normalised=False, **PROCESS)
    with pytest.raises(StaleArtifact, match="normalised"):
        describe_by_run(fitted, images, out, normalised=True, **PROCESS)


def test_broken_images_stop_or_are_left_out_and_named(fitted, folder, tmp_path):
    (folder / "part0" / "bad.jpg").write_bytes(b"no image")
    images = open_folder(folder, Role.REFERENCE)
    with pytest.raises(BadInput, match="part0/bad"):
        describe_by_weights(RECIPE, fitted.weights, images, tmp_path / "w.h5", **PROCESS)
    grey = config.override(RECIPE, ["extract.on_broken=replace"])
    facts = describe_by_weights(grey, fitted.weights, images, tmp_path / "w.h5", **PROCESS)
    assert facts["replaced"].keys() == {"part0/bad"} and "no image" in facts["replaced"]["part0/bad"]
    assert read_embeddings(tmp_path / "w.h5").ids.tolist() == [i for i in images.ids.tolist() if i != "part0/bad"]
    assert json.loads(receipt_path(tmp_path / "w.h5").read_text())["facts"]["replaced"] == facts["replaced"]
    assert not (tmp_path / "w.h5.cache").exists()


def test_a_run_that_was_not_fitted_is_refused_before_anything_is_described(folder, tmp_path):
    run = begin(Workspace(tmp_path / "root"), "run", RECIPE)
    write(run.weights)
    with pytest.raises(MissingInput, match=r"bank\.h5"):
        describe_by_run(run, open_folder(folder, Role.REFERENCE), tmp_path / "v.h5", normalised=False, **PROCESS)
    assert not list(tmp_path.glob("v.h5*"))


def test_weights_of_another_recipe_and_other_suffixes_are_refused(fitted, folder, tmp_path):
    images = open_folder(folder, Role.REFERENCE)
    other = config.override(RECIPE, ["members.network.dim=20"])
    with pytest.raises(BadInput, match="instead of"):
        describe_by_weights(other, fitted.weights, images, tmp_path / "v.h5", **PROCESS)
    with pytest.raises(BadInput, match=r"v\.csv"):
        describe_by_weights(RECIPE, fitted.weights, images, tmp_path / "v.csv", **PROCESS)


def test_files_that_differ_in_their_extension_alone_keep_it_and_empty_folders_are_refused(folder, tmp_path):
    twin = next((folder / "part0").iterdir())
    Image.new("RGB", (8, 8)).save(twin.with_suffix(".png"))
    ids = open_folder(folder, Role.REFERENCE).ids.tolist()
    assert {f"part0/{twin.name}", f"part0/{twin.stem}.png"} <= set(ids)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingInput, match="no image"):
        open_folder(tmp_path / "empty", Role.REFERENCE)


def verb(*arguments):
    app = typer.Typer()
    app.command()(interop.describe)
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.output


def test_the_verb_describes_by_a_run_and_by_a_weight_file_that_carries_its_recipe(fitted, folder, tmp_path):
    code, text = verb(folder, "--out", tmp_path / "a.h5", "--name", "run", "--root", fitted.workspace.root,
                      "--set", "extract.batch_images=3", "--side", "query", "--workers", 0)  # fmt: skip
    assert code == 0 and "12 images, 12 values each" in text
    assert read_embeddings(tmp_path / "a.h5").role is Role.QUERY
    code, text = verb(folder, "--out", tmp_path / "b.npz", "--checkpoint", fitted.weights, "--workers", 0)
    assert code == 0 and "12 images, 976 values each" in text


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["--name", "run", "--checkpoint", "w.pth"], "--name RUN"),
        (["--checkpoint", "w.pth", "--normalised"], "only a run is fitted"),
        (["--name", "run", "--recipe", "sscd"], "its own recipe"),
        (["--checkpoint", "w.pth"], "no checkpoint"),
        (["--checkpoint", "there.pth"], "--recipe NAME"),
        (["--name", "other"], "no run 'other'"),
        (["--name", "bare"], "isckit train --name bare"),
        (["--name", "run", "--set", "ensemble.dim=8"], "extract.batch_images"),
    ],
)
def test_the_verb_refuses_what_it_cannot_do_with_one_message(fitted, folder, tmp_path, monkeypatch, arguments, saying):
    monkeypatch.chdir(tmp_path)
    Path("there.pth").write_bytes(b"")
    begin(fitted.workspace, "bare", RECIPE)
    code, text = verb(folder, "--out", "v.h5", "--root", fitted.workspace.root, "--workers", 0, *arguments)
    assert code == 2 and "what to do:" in text and saying in text, text
    assert not list(tmp_path.glob("v.h5*"))
