"""Detected overlays take the place of queries before anything looks at them, and of no other image."""

import numpy as np
import pytest
import torch
from PIL import Image

from isckit.config import Extract, Substitution
from isckit.data.datasets import Order, PreparedImages
from isckit.data.image_sets import open_folder
from isckit.engine.describe import Target, extract
from isckit.engine.distributed import Process
from isckit.runs.artifacts import read_receipt
from isckit.runs.embeddings import read_shards
from isckit.runs.steps import Output
from isckit.types import BadInput, Embeddings, MissingInput, Role
from isckit.views.geometry import view_set
from isckit.views.overlays import COLUMNS, open_overlays
from isckit.views.table import Wanted

CPU = Process(torch.device("cpu"))


class Means:
    """Describes an image by its size and the mean of its colours."""

    dim = 5

    def prepare(self, image, views):
        return np.array([*image.shape[:2], *image.mean(axis=(0, 1)).round()], np.uint8)

    def embed(self, prepared, views):
        return prepared[:, None].float().expand(-1, len(views), -1)


@pytest.fixture
def pictures(tmp_path):
    """Folder of four PNGs, 20 x 40, blue on the left and red on the right; X2 is no picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, :20, 2], image[:, 20:, 0] = 200, 100
    for name in ("X0", "X1", "X3"):
        Image.fromarray(image).save(folder / f"{name}.png")
    (folder / "X2.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def boxes(tmp_path):
    path = tmp_path / "boxes.csv"
    lines = [",".join(COLUMNS), "X1,0.5,0,1,0.5,0.95,overlay", "X2,0.5,0,1,0.5,0.95,overlay", "X3,0,0,1,1,0.5,overlay"]
    path.write_text("\n".join(lines) + "\n")
    return Substitution(boxes=str(path), confidence=0.9)


def described(pictures, out, role, substitution):
    images = open_folder(pictures, role)
    settings = Extract(batch_images=3, shard_images=4, on_broken="replace")
    extract(
        [Target(Means(), Wanted(view_set(("mirror",))))],
        [Output(out, {"images": images.content_digest()}, ".h5")],
        images,
        settings=settings,
        process=CPU,
        workers=0,
        substitute=open_overlays(substitution) if substitution is not None and role is Role.QUERY else None,
    )
    return Embeddings.joined(list(read_shards(out))).only("whole").vectors, read_receipt(out)["facts"]


WHOLE_PICTURE = [20, 40, 50, 0, 100]
GREY = [64, 64, 128, 128, 128]


def test_a_query_with_a_sure_overlay_is_described_by_it_alone(pictures, boxes, tmp_path):
    vectors, facts = described(pictures, tmp_path / "out", Role.QUERY, boxes)
    assert vectors.tolist() == [WHOLE_PICTURE, [10, 20, 100, 0, 0], GREY, WHOLE_PICTURE]
    assert (facts["substituted"], [*facts["replaced"]]) == (1, ["X2"])


@pytest.mark.parametrize("role", [Role.REFERENCE, Role.TRAIN, Role.EXTERNAL])
def test_other_images_are_described_whole_though_boxes_name_them(pictures, boxes, tmp_path, role):
    vectors, facts = described(pictures, tmp_path / "out", role, boxes)
    assert vectors.tolist() == [WHOLE_PICTURE, WHOLE_PICTURE, GREY, WHOLE_PICTURE]
    assert facts["substituted"] == 0


def test_without_substitution_queries_are_described_whole(pictures, tmp_path):
    vectors, _ = described(pictures, tmp_path / "out", Role.QUERY, None)
    assert vectors.tolist() == [WHOLE_PICTURE, WHOLE_PICTURE, GREY, WHOLE_PICTURE]


def test_a_missing_file_of_boxes_is_refused(tmp_path):
    with pytest.raises(MissingInput):
        open_overlays(Substitution(boxes=str(tmp_path / "none.csv")))


@pytest.mark.parametrize("role", [Role.REFERENCE, Role.TRAIN])
def test_parts_of_references_and_train_images_are_refused(pictures, boxes, role):
    images = open_folder(pictures, role)
    with pytest.raises(BadInput, match=f"in place of the {role} images"):
        PreparedImages(images, rows=np.arange(4), orders=[Order(Means(), ())], substitute=open_overlays(boxes))
