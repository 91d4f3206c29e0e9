"""The survey of an image set: sizes, proposals, overlays and faces in one pass, resumable."""

import numpy as np
import pytest
import torch
from PIL import Image

from isckit import config
from isckit.augment.geometry import square
from isckit.config import Extract, Proposals
from isckit.data.image_sets import open_folder
from isckit.engine.distributed import Process
from isckit.engine.survey import Sought, survey
from isckit.runs.artifacts import read_receipt
from isckit.types import BadInput, MissingInput, Role, StaleArtifact
from isckit.views.overlays import COLUMNS, Box, substituted
from isckit.views.proposals import propose
from isckit.views.table import read_table

CPU = Process(torch.device("cpu"))
PROPOSALS = Proposals(scale=50.0, least_pixels=30, longest=64)


class RedRectangles:
    """Finds the one red rectangle of an image."""

    def prepare(self, image):
        return square(image, 64)

    def detect(self, prepared):
        return [self._of(image) for image in prepared.numpy()]

    def _of(self, image):
        rows, columns = np.nonzero((image[..., 0] > 180) & (image[..., 1] < 70))
        if not len(rows):
            return []
        corners = columns.min() / 64, rows.min() / 64, (columns.max() + 1) / 64, (rows.max() + 1) / 64
        return [Box(*map(float, corners), 0.95, "overlay")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Q0 to Q4, 64 x 96; Q1 and Q3 have a red rectangle with a blue patch in it; Q2 is no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for k in (0, 1, 3, 4):
        image = rng.integers(90, 110, (64, 96, 3), dtype=np.uint8)
        image[10:30, 40 + k : 70] = (20, 220, 40)
        if k in (1, 3):
            image[16:48, 24:72] = (220, 20, 20)
            image[24:40, 30:50] = (20, 20, 220)
        Image.fromarray(image).save(folder / f"Q{k}.png")
    (folder / "Q2.png").write_bytes(b"no picture")
    return folder


def surveyed(folder, out, *, role=Role.QUERY, sought=None, shard=2, batch=2, workers=0, made_from=None):
    sought = sought or Sought(PROPOSALS, boxes=True)
    settings = Extract(batch_images=batch, shard_images=shard, on_broken="replace")
    survey(
        open_folder(folder, role),
        out,
        sought=sought,
        made_from=made_from or {"what": "test"},
        settings=settings,
        process=CPU,
        workers=workers,
        detector=RedRectangles() if sought.boxes else None,
    )
    return read_table(out)


def pixels(folder, k):
    return np.asarray(Image.open(folder / f"Q{k}.png"))


def test_sizes_proposals_and_boxes_are_those_of_each_image(folder, tmp_path):
    table = surveyed(folder, tmp_path / "t")
    assert table.ids.tolist() == [f"Q{k}" for k in range(5)]
    assert table.sizes.tolist() == [[64, 96]] * 2 + [[64, 64]] + [[64, 96]] * 2
    for k in (0, 1, 3, 4):
        assert np.array_equal(table.proposals_of(k), propose(pixels(folder, k), PROPOSALS))
        assert len(table.proposals_of(k))
    assert [len(table.boxes_of(k)) for k in range(5)] == [0, 1, 0, 1, 0]
    assert table.boxes_of(1)[0][:4] == pytest.approx((1 / 4, 1 / 4, 3 / 4, 3 / 4), abs=0.03)
    assert len(table.proposals_of(2)) == 0 and read_receipt(tmp_path / "t")["facts"]["replaced"].keys() == {"Q2"}


def test_where_the_detector_decides_the_overlay_itself_is_looked_at(folder, tmp_path):
    sought = Sought(PROPOSALS, boxes=True, substitution=config.Substitution(confidence=0.9))
    table = surveyed(folder, tmp_path / "t", sought=sought)
    part = substituted(pixels(folder, 1), table.boxes_of(1)[0])
    assert table.sizes[1].tolist() == list(part.shape[:2]) != [64, 96]
    assert np.array_equal(table.proposals_of(1), propose(part, PROPOSALS))
    assert np.array_equal(table.proposals_of(0), propose(pixels(folder, 0), PROPOSALS))
    other = surveyed(folder, tmp_path / "r", sought=sought, role=Role.REFERENCE)
    assert other.sizes[1].tolist() == [64, 96]


def test_a_file_of_boxes_decides_before_the_detector_looks(folder, tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text(",".join(COLUMNS) + "\nQ1,0,0,0.5,0.5,0.95,overlay\n")
    sought = Sought(boxes=True, substitution=config.Substitution(boxes=str(path)))
    table = surveyed(folder, tmp_path / "t", sought=sought)
    assert table.sizes[1].tolist() == [32, 48] and table.boxes_of(1)[0].x1 == 1.0
    with pytest.raises(MissingInput):
        surveyed(folder, tmp_path / "u", sought=Sought(substitution=config.Substitution(boxes=str(tmp_path / "no"))))


def test_only_what_is_sought_is_found(folder, tmp_path):
    table = surveyed(folder, tmp_path / "t", sought=Sought())
    assert table.sizes[4].tolist() == [64, 96]
    assert not len(table.proposals) and not len(table.boxes) and not table.faces.any()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_survey_ends_in_the_same_bytes(folder, tmp_path, workers):
    surveyed(folder, tmp_path / "whole", batch=1)
    out = tmp_path / "cut"
    surveyed(folder, out, workers=workers)
    (out / "shard-00001.npz").unlink()
    receipt = out / "receipt.json"
    receipt.write_text(receipt.read_text().replace('"complete": true', '"complete": false'))
    untouched = (out / "shard-00000.npz").stat().st_mtime_ns
    surveyed(folder, out)
    assert (out / "shard-00000.npz").stat().st_mtime_ns == untouched
    for path in sorted((tmp_path / "whole").glob("*.npz")):
        assert path.read_bytes() == (out / path.name).read_bytes()
    with pytest.raises(StaleArtifact):
        surveyed(folder, out, made_from={"what": "else"})


def test_broken_images_stop_the_survey_by_name(folder, tmp_path):
    with pytest.raises(BadInput, match="Q2"):
        survey(
            open_folder(folder, Role.QUERY),
            tmp_path / "t",
            sought=Sought(),
            made_from={},
            settings=Extract(),
            process=CPU,
            workers=0,
        )
