"""The cascade on a drawn face: what counts are its contrasts, dark eyes and mouth in a light oval."""

import cv2
import numpy as np
import pytest
from PIL import Image

from isckit import config
from isckit.data.image_sets import open_folder
from isckit.data.training import TrainingData, stage_images
from isckit.types import Role, StaleArtifact
from isckit.views.faces import faces, shows_face, with_faces

STAGE = config.Stage(data=config.Data(every=3, faces=True, partners="others"))


def drawn_face(side=200):
    image = np.full((300, 320, 3), (70, 90, 120), np.uint8)
    cv2.ellipse(image, (160, 70), (85, 60), 0, 0, 360, (40, 25, 20), -1)
    cv2.ellipse(image, (160, 150), (72, 98), 0, 0, 360, (215, 175, 150), -1)
    for x in (130, 190):
        cv2.ellipse(image, (x, 130), (17, 8), 0, 0, 360, (245, 245, 245), -1)
        cv2.circle(image, (x, 130), 8, (30, 20, 20), -1)
        cv2.ellipse(image, (x, 112), (21, 6), 0, 180, 360, (50, 30, 25), -1)
    cv2.ellipse(image, (160, 172), (14, 8), 0, 0, 180, (150, 105, 90), -1)
    cv2.ellipse(image, (160, 205), (29, 9), 0, 0, 360, (140, 60, 60), -1)
    return cv2.GaussianBlur(image, (0, 0), 3)


@pytest.fixture
def train(tmp_path):
    folder = tmp_path / "train"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    for k in range(10):
        Image.fromarray(drawn_face() if k in (1, 3) else noise).save(folder / f"T{k}.png")
    (folder / "T5.png").write_bytes(b"broken")
    return open_folder(folder, Role.TRAIN)


def test_a_face_is_seen_and_other_pictures_show_none():
    face = drawn_face()
    assert shows_face(face)
    assert shows_face(cv2.resize(face, (1280, 1200)))
    assert not shows_face(face[::-1].copy())
    assert not shows_face(face[200:])
    assert not shows_face(np.full((40, 60, 3), 128, np.uint8))
    assert not shows_face(np.zeros((1, 1, 3), np.uint8))


def test_faces_are_found_by_row_with_and_without_processes(train):
    assert faces(train, workers=0).tolist() == faces(train, workers=1).tolist() == [1, 3]


def test_a_stage_with_faces_has_them_as_further_classes(train, tmp_path):
    training_data = with_faces(TrainingData(train), (STAGE,), path=tmp_path / "faces.npz", workers=0)
    images = stage_images(training_data, STAGE.data)
    assert images.anchors.tolist() == [0, 1, 3, 6, 9]
    assert images.labels[images.anchors].tolist() == [0, 1, 2, 3, 4]
    assert sorted(images.labels.tolist()) == list(range(10))
    assert images.partners.tolist() == [2, 4, 5, 7, 8]
    assert training_data.digest() != TrainingData(train).digest()


def test_faces_are_looked_for_once_and_only_where_a_stage_asks(train, tmp_path):
    path = tmp_path / "faces.npz"
    plain = TrainingData(train)
    assert with_faces(plain, (config.Stage(),), path=path, workers=0) is plain and not path.exists()
    with_faces(plain, (STAGE,), path=path, workers=0)
    before = path.stat().st_mtime_ns
    again = with_faces(plain, (STAGE,), path=path, workers=0)
    assert path.stat().st_mtime_ns == before and again.faces.tolist() == [1, 3]
    with pytest.raises(StaleArtifact, match="other inputs: images"):
        with_faces(TrainingData(train.subset(np.arange(4))), (STAGE,), path=path, workers=0)
