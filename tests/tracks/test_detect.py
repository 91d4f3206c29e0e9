"""`detect` writes what the run's detector finds in any folder, whatever the batch."""

import shutil
from pathlib import Path

import pytest
import torch

from isckit import config
from isckit.data.image_sets import open_folder
from isckit.engine.distributed import Process
from isckit.models.detector import OverlayDetector
from isckit.recipes.overlay_detector import mini as detector_mini
from isckit.runs.checkpoints import write_weights
from isckit.runs.run import begin
from isckit.runs.workspace import Workspace
from isckit.tracks.detect import detect, detector_of
from isckit.types import BadInput, MissingInput, Role
from isckit.views.overlays import read_boxes

CPU = Process(torch.device("cpu"))


@pytest.fixture
def run(tmp_path):
    recipe = detector_mini()
    recipe = config.replace(recipe, detector=config.replace(recipe.detector, image_size=64, confidence=0.0, most=3))
    run = begin(Workspace(tmp_path), "overlays", recipe)
    torch.manual_seed(0)
    detector = OverlayDetector(recipe.detector)
    with torch.no_grad():  # untrained, half of its boxes have no width
        detector.network.head.regression_head.bbox_reg.bias.fill_(1.0)
    weights = {f"detector.{key}": value for key, value in detector.state_dict().items()}
    write_weights(run.weights, weights | {"gist.anything": torch.zeros(1)}, recipe=config.to_json(recipe))
    return run


def test_all_boxes_of_a_folder_are_written(run, disc, tmp_path, mini):
    images = open_folder(mini / "images" / "queries", Role.QUERY)
    boxes = []
    for batch in (3, None):
        path = tmp_path / "out" / f"{batch}.csv"
        assert detect(run, images, path, process=CPU, workers=0, batch=batch) == {}
        boxes.append(read_boxes(path))
    assert boxes[0].keys() == boxes[1].keys() == set(images.ids.tolist())
    detector = detector_of(run, process=CPU)
    from isckit.data.images import decode

    for row, name in enumerate(images.ids.tolist()):
        prepared = detector.prepare(decode(images.read(row), name=name))
        (alone,) = detector.detect(torch.from_numpy(prepared)[None])
        for found in boxes:
            assert [box.label for box in found[name]] == [box.label for box in alone]
            for one, other in zip(found[name], alone, strict=True):
                assert one[:5] == pytest.approx(other[:5], abs=2e-5)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"3.csv", "None.csv"}


def test_an_image_that_does_not_decode_is_left_out_and_told(run, mini, tmp_path):
    folder = Path(shutil.copytree(mini / "images" / "queries", tmp_path / "queries"))
    bad = min(folder.iterdir())
    bad.write_bytes(b"no image")
    told = detect(run, open_folder(folder, Role.QUERY), tmp_path / "boxes.csv", process=CPU, workers=0)
    assert told.keys() == {bad.stem} and bad.stem not in read_boxes(tmp_path / "boxes.csv")


def test_a_recipe_without_a_detector_and_a_run_without_weights_are_refused(run, tmp_path):
    from dataclasses import replace

    with pytest.raises(BadInput, match="no detector"):
        detector_of(replace(run, recipe=config.replace(run.recipe, detector=None)), process=CPU)
    run.weights.unlink()
    with pytest.raises(MissingInput, match="no "):
        detector_of(run, process=CPU)


def test_weights_of_another_detector_are_refused(run):
    from dataclasses import replace

    other = config.replace(run.recipe.detector, name="other")
    with pytest.raises(BadInput, match="tensors missing"):
        detector_of(replace(run, recipe=config.replace(run.recipe, detector=other)), process=CPU)
