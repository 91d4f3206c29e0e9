import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import isckit
from isckit.cli.main import main
from isckit.runs import checkpoints
from isckit.runs.embeddings import read_embeddings
from isckit.submission import read_matches
from isckit.types import BadInput, MissingInput


@pytest.fixture(scope="module")
def model(done):
    """The run of the chain, loaded from Python."""
    return isckit.load("run", root=str(done))


@pytest.fixture(scope="module")
def folders(mini):
    return mini / "images" / "queries", mini / "images" / "references"


def files(folder):
    return sorted(folder.iterdir())


def test_a_folder_is_described_as_by_the_command(model, done, folders, tmp_path):
    out = tmp_path / "v.h5"
    assert (
        main(["describe", str(folders[1]), "--name", "run", "--root", str(done), "--out", str(out), "--workers", "0"])
        == 0
    )
    wanted, found = read_embeddings(out), model.describe(folders[1])
    assert found.ids.tolist() == wanted.ids.tolist()
    np.testing.assert_array_equal(found.vectors, wanted.vectors)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)


def test_paths_pictures_and_arrays_are_the_same_images_in_the_order_given(model, folders):
    paths = files(folders[1])[5::-1]
    by_path = model.describe(paths)
    assert by_path.ids.tolist() == [str(path) for path in paths]
    pictures = [Image.open(path) for path in paths]
    by_picture = model.describe(pictures)
    assert by_picture.ids.tolist() == [f"image_{k:06d}" for k in range(6)]
    by_array = model.describe([np.asarray(picture.convert("RGB")) for picture in pictures])
    np.testing.assert_array_equal(by_array.vectors, by_picture.vectors)
    # libjpeg-turbo and Pillow may differ by a level
    assert (by_picture.vectors * by_path.vectors).sum(1).min() > 0.999
    whole = model.describe(folders[1])
    rows = [whole.ids.tolist().index(path.stem) for path in paths]
    np.testing.assert_allclose(by_path.vectors, whole.vectors[rows], atol=1e-6)


def test_a_rotated_photograph_is_upright_as_from_its_file(model, folders, tmp_path):
    picture = Image.open(files(folders[1])[0]).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.png", exif=exif)
    by_file, by_picture = (
        model.describe([tmp_path / "turned.png"]),
        model.describe([Image.open(tmp_path / "turned.png")]),
    )
    np.testing.assert_allclose(by_file.vectors, by_picture.vectors, atol=1e-6)
    assert (by_file.vectors * model.describe([picture]).vectors).sum() < 0.999


def test_pairs_are_those_of_the_command_and_score_as_its_file_does(model, done, folders, mini, tmp_path):
    sides = ["--queries", str(folders[0]), "--references", str(folders[1])]
    assert main(["infer", *sides, "--out", str(tmp_path), "--name", "run", "--root", str(done), "--workers", "0"]) == 0
    wanted, found = read_matches(tmp_path / "matching.csv"), model.match(*folders)
    assert found.query_ids.tolist() == wanted.query_ids.tolist()
    np.testing.assert_array_equal(found.scores, wanted.scores)
    (truth,) = mini.rglob("public_ground_truth.csv")
    report = isckit.score(found, truth)
    assert report.average_precision == isckit.score(tmp_path / "matching.csv", truth).average_precision > 0


def test_images_that_do_not_decode_are_left_out_with_a_warning_and_the_others_keep_their_order(
    model, folders, tmp_path, caplog
):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    paths = files(folders[1])[3::-1]
    found = model.describe([paths[0], tmp_path / "bad.jpg", *paths[1:]])
    assert found.ids.tolist() == [str(path) for path in paths]
    np.testing.assert_allclose(found.vectors, model.describe(paths).vectors, atol=1e-6)
    assert "1 broken image" in caplog.text and "bad.jpg: no image" in caplog.text
    caplog.clear()
    pairs = model.match([paths[0], tmp_path / "bad.jpg"], paths)
    assert set(pairs.query_ids) == {str(paths[0])} and "bad.jpg: no image" in caplog.text
    with pytest.raises(BadInput, match="1 broken image"):
        model.describe([tmp_path / "bad.jpg"])


def test_weights_are_read_once_and_no_file_is_left(done, folders, tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    isckit.load.cache_clear()
    reads, read = [], checkpoints.read_weights
    monkeypatch.setattr("isckit.tracks.extraction.read_weights", lambda path: reads.append(path) or read(path))
    before = sorted(done.rglob("*"))
    first = isckit.load("run", root=str(done)).describe(files(folders[1])[:3])
    second = isckit.load("run", root=str(done)).describe(files(folders[1])[:3])
    isckit.load("run", root=str(done)).match(files(folders[0])[:3], files(folders[1])[:3])
    np.testing.assert_array_equal(first.vectors, second.vectors)
    assert len(reads) == 1
    assert list(tmp_path.iterdir()) == [] and sorted(done.rglob("*")) == before


@pytest.mark.parametrize(
    ("images", "kind", "saying"),
    [
        ([], BadInput, "no images"),
        ("nowhere", MissingInput, "nowhere"),
        (["nowhere/a.jpg"], MissingInput, "no file nowhere/a.jpg"),
        ([np.zeros((4, 4, 3), np.float32)], BadInput, "float32"),
        ([np.zeros((4, 4, 2), np.uint8)], BadInput, "shape"),
        (["a.jpg", Path("a.jpg")], BadInput, "a.jpg twice"),
    ],
)
def test_wrong_images_are_refused(model, images, kind, saying):
    with pytest.raises(kind) as fault:
        model.describe(images)
    assert saying in str(fault.value)


def test_a_broken_picture_is_named(model, tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"no picture")
    with pytest.raises(BadInput, match="1 broken image"):
        model.describe([tmp_path / "x.jpg"])


def test_an_unknown_run_is_refused_and_names_those_there_are(done):
    with pytest.raises(MissingInput, match="run"):
        isckit.load("other", root=str(done))


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version

    assert isckit.__version__ == version("isckit")
    with pytest.raises(AttributeError, match="nothing"):
        isckit.nothing  # noqa: B018


def test_importing_the_package_is_light():
    import subprocess
    import sys

    code = "import sys, isckit; print(sorted(set(sys.modules) & {'torch', 'faiss', 'numpy', 'pandas'}))"
    assert json.loads(subprocess.check_output([sys.executable, "-c", code], text=True).replace("'", '"')) == []
