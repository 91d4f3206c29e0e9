"""The model that the kit ships: what it is, and that it works from anywhere without training."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from isckit import config
from isckit.cli.main import main
from isckit.data.images import decode
from isckit.judge.rules.training import trained_parts, training_logs
from isckit.recipes.catalogue import recipe
from isckit.runs.artifacts import read_receipt
from isckit.runs.checkpoints import read_recipe
from isckit.runs.records import read_json
from isckit.runs.workspace import DEFAULT, Workspace

SHIPPED = Workspace.of(Path("nowhere"), DEFAULT)
LARGEST = 25_000_000


def test_it_is_small_and_has_the_catalogues_recipe():
    assert SHIPPED.weights(DEFAULT).stat().st_size <= LARGEST
    assert config.from_dict(read_json(SHIPPED.recipe(DEFAULT))) == recipe("ours_default")
    # The weights carry the recipe that trained them: same members, stage by stage.
    trained = config.from_dict(read_recipe(SHIPPED.weights(DEFAULT)))
    assert trained.members == recipe("ours").members


def test_it_was_fitted_on_train_images_and_has_its_training_logs():
    for path in (SHIPPED.ensemble(DEFAULT), SHIPPED.bank(DEFAULT)):
        facts = read_receipt(path)["facts"]
        assert facts["fitted_on"] == "train" and facts["images"] == 6_000
    assert set(trained_parts(recipe("ours_default"))) == set(training_logs(SHIPPED.checkpoint(DEFAULT)))


def test_what_it_was_trained_on_is_named_with_its_licence():
    card = (SHIPPED.checkpoint(DEFAULT) / "card.md").read_text()
    for entry in recipe("ours_default").external:
        assert entry.name in card and entry.address in card and entry.licence in card


@pytest.fixture(scope="module")
def folders(disc, tmp_path_factory):
    """References, and a copy of each: the middle three quarters of both sides, as a JPEG."""
    root = tmp_path_factory.mktemp("copies")
    for name in ("references", "queries"):
        (root / name).mkdir()
    for row, image_id in enumerate(disc.references.ids[:14]):
        picture = Image.fromarray(decode(disc.references.read(row), name=image_id))
        picture.save(root / "references" / f"{image_id}.png")
        width, height = picture.size
        cut = picture.crop((width // 8, height // 8, width - width // 8, height - height // 8))
        cut.save(root / "queries" / f"Q{image_id[1:]}.jpg", quality=70)
    return root


def test_copies_are_found_by_both_tracks_without_naming_a_model(folders, tmp_path):
    out = tmp_path / "found"
    code = main([
        "infer", "--queries", str(folders / "queries"), "--references", str(folders / "references"),
        "--out", str(out), "--root", str(tmp_path), "--workers", "0",
    ])  # fmt: skip
    assert code == 0
    with h5py.File(out / "descriptors.h5") as file:
        query, reference = file["query"][:], file["reference"][:]
        pairs = [[name.decode()[1:] for name in file[key][:]] for key in ("query_ids", "reference_ids")]
    nearest = ((query[:, None] - reference) ** 2).sum(-1).argmin(1)
    right = np.array(pairs[0]) == np.array(pairs[1])[nearest]
    assert right.mean() >= 0.9, right
    matches = pd.read_csv(out / "matching.csv")
    best = matches.sort_values("score", ascending=False).groupby("query_id").head(1)
    assert (best.query_id.str[1:] == best.reference_id.str[1:]).sum() >= 0.9 * len(query)


def test_any_folder_is_described_without_naming_a_model(folders, tmp_path):
    out = tmp_path / "vectors.h5"
    assert main(["describe", str(folders / "queries"), "--out", str(out), "--root", str(tmp_path)]) == 0
    with h5py.File(out) as file:
        vectors = file["vectors"][:]
    assert vectors.shape == (14, 255) and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert not (tmp_path / "checkpoints").exists()


def test_a_run_of_that_name_in_the_users_folder_comes_first(tmp_path):
    (tmp_path / "checkpoints" / DEFAULT).mkdir(parents=True)
    (tmp_path / "checkpoints" / DEFAULT / "recipe.json").write_text("{}")
    assert Workspace.of(tmp_path, DEFAULT).root == tmp_path
    assert Workspace.of(tmp_path, "other").root == tmp_path
