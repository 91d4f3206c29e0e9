from pathlib import Path

import cv2
import numpy as np
import pytest

from isckit.data.images import BrokenImage, decode
from isckit.data.layouts import open_disc, require
from isckit.data.packing import pack
from isckit.types import BadInput, StaleArtifact


@pytest.fixture
def packs(disc, tmp_path):
    for name in ("train", "references", "queries", "final_queries"):
        pack(require(disc, name), tmp_path / "packs", part_images=20)
    return tmp_path / "packs"


def test_a_packed_data_set_is_the_same_data_set(disc, packs):
    opened = open_disc(packs)
    assert opened.layout == "Meta" and not opened.problems
    for name in ("train", "references", "queries", "final_queries"):
        images, other = require(disc, name), require(opened, name)
        assert np.array_equal(images.ids, other.ids) and images.role is other.role
        assert images.content_digest() == other.content_digest()
        assert [images.read(i) for i in range(len(images))] == [other.read(i) for i in range(len(other))]


def test_packs_have_at_most_so_many_images_and_are_named_in_order(packs):
    assert sorted(path.name for path in packs.glob("train*.h5")) == [f"train_50k_{i}.h5" for i in range(3)]
    image = require(open_disc(packs), "train").where(45)
    assert Path(image).parent.name == "train_50k_2.h5" and image.endswith((".jpg", ".png"))


def test_packed_pixels_are_the_reduced_images(disc, tmp_path):
    pack(disc.references, tmp_path, side=24)
    images = require(open_disc(tmp_path), "references")
    assert np.array_equal(images.ids, disc.references.ids)
    for i in (0, 5):
        whole = decode(disc.references.read(i), name="")
        expected = cv2.resize(whole, (24, 24), interpolation=cv2.INTER_AREA)
        assert np.array_equal(decode(images.read(i), name=""), expected)


def test_an_interrupted_packing_goes_on_and_ends_in_the_same_bytes(disc, packs):
    before = {path.name: path.read_bytes() for path in packs.glob("train*.h5")}
    kept = (packs / "train_50k_0.h5").stat().st_mtime_ns
    for leftover in packs.glob("train_50k_1.h5*"):
        leftover.unlink()
    pack(disc.train, packs, part_images=20)
    assert {path.name: path.read_bytes() for path in packs.glob("train*.h5")} == before
    assert (packs / "train_50k_0.h5").stat().st_mtime_ns == kept


def test_packs_of_something_else_are_not_replaced(disc, packs):
    with pytest.raises(StaleArtifact, match="side"):
        pack(disc.train, packs, part_images=20, side=16)


def test_broken_images_stop_the_packing_of_pixels_with_all_their_names(disc, tmp_path):
    folder = tmp_path / "data" / "queries"
    folder.mkdir(parents=True)
    for i in range(4):
        name, data = str(disc.queries.ids[i]), disc.queries.read(i)
        (folder / f"{name}.jpg").write_bytes(data if i % 2 else b"broken")
    images = require(open_disc(tmp_path / "data"), "queries")
    with pytest.raises(BadInput, match="2 broken images") as told:
        pack(images, tmp_path / "packs", side=16)
    assert str(images.ids[0]) in str(told.value) and str(images.ids[2]) in str(told.value)
    assert not list((tmp_path / "packs").glob("*.h5"))


def test_a_damaged_pack_is_a_broken_image_and_a_truncated_one_a_fault_of_the_set(packs):
    path = packs / "refs_50k_0.h5"
    images = require(open_disc(packs), "references")
    data = bytearray(path.read_bytes())
    data[int(images.places[3]["offset"]) + 40] ^= 1
    path.write_bytes(data)
    with pytest.raises(BrokenImage, match="CRC"):
        images.read(3)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(BadInput, match=r"whole pack|is missing|cannot be read"):
        require(open_disc(packs), "references")
