"""What was made from images is told when their contents change, whatever their names, sizes and times say."""

import hashlib
import os
import zlib

import numpy as np
import pytest
from PIL import Image

from isckit.data import contents
from isckit.data.image_sets import ImageSet, open_folder
from isckit.data.layouts import open_disc, require
from isckit.data.packs import write_pack
from isckit.types import Role


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch):
    """Each test begins as a process does."""
    monkeypatch.setattr(contents, "_remembered", {})


@pytest.fixture
def folder(tmp_path):
    """A folder of eight BMP files of one size."""
    rng = np.random.default_rng(0)
    (tmp_path / "photos/inner").mkdir(parents=True)
    for i in range(8):
        pixels = rng.integers(0, 256, (9, 7, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / ("inner" if i % 2 else "") / f"{i}.bmp")
    return tmp_path / "photos"


def digest(folder):
    return open_folder(folder, Role.QUERY).content_digest()


def exchanged(path, data):
    """Put other bytes in place of a file, and its old times back."""
    before = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_the_digest_is_that_of_ids_sizes_and_crcs(folder):
    files = {str(p.relative_to(folder).with_suffix("")): p.read_bytes() for p in folder.rglob("*.bmp")}
    ids = sorted(files)
    sha = hashlib.sha256("\n".join(ids).encode())
    sha.update(np.array([len(files[i]) for i in ids], "<i8").tobytes())
    sha.update(np.array([zlib.crc32(files[i]) for i in ids], "<u4").tobytes())
    assert digest(folder) == sha.hexdigest()


@pytest.mark.parametrize("hinted", [False, True])
def test_a_picture_of_the_same_name_size_and_time_is_another_one(folder, hinted, monkeypatch):
    if hinted:
        monkeypatch.setattr(contents, "HINT_BYTES", 0)
        monkeypatch.setattr(contents, "_SETTLED", -(10**12))
    first, path = digest(folder), folder / "inner/3.bmp"
    assert digest(folder) == first
    data = path.read_bytes()
    exchanged(path, data[:-1] + bytes([data[-1] ^ 1]))
    assert digest(folder) != first
    exchanged(path, data)
    assert digest(folder) == first


def test_a_turned_photo_is_another_one(tmp_path):
    (tmp_path / "p").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 1
    path = tmp_path / "p/a.jpg"
    Image.new("RGB", (16, 8), "red").save(path, exif=exif)
    first, data = digest(path.parent), path.read_bytes()
    at = data.index(b"\x01\x12\x00\x03") + 9
    assert data[at] == 1
    exchanged(path, data[:at] + b"\x06" + data[at + 1 :])
    assert Image.open(path).getexif()[0x0112] == 6 and digest(path.parent) != first


def test_two_pictures_that_change_places_are_seen(folder):
    first, one, two = digest(folder), folder / "0.bmp", folder / "2.bmp"
    data = one.read_bytes()
    exchanged(one, two.read_bytes())
    exchanged(two, data)
    assert digest(folder) != first


def test_packs_of_other_pixels_are_seen(tmp_path):
    found = []
    for value in (0, 255):
        root = tmp_path / str(value)
        pixels = [bytes([value]) * (4 * 4 * 3)] * 2
        write_pack(root / "refs_50k_0.h5", ["R000000.jpg", "R000001.jpg"], np.full(2, 48), pixels, side=4)
        found.append(require(open_disc(root), "references").content_digest())
    assert found[0] != found[1]


def test_what_has_been_read_is_not_read_again(folder, monkeypatch):
    monkeypatch.setattr(contents, "HINT_BYTES", 0)
    monkeypatch.setattr(contents, "_SETTLED", -(10**12))
    reads, honest = [], ImageSet.read
    monkeypatch.setattr(ImageSet, "read", lambda self, i: reads.append(str(self.ids[i])) or honest(self, i))
    first = digest(folder)
    assert len(reads) == 8
    reads.clear()
    assert digest(folder) == first and reads == []
    (folder / "inner/5.bmp").touch()
    assert digest(folder) == first and reads == ["inner/5"]
    reads.clear()
    (folder / "inner/5.bmp").rename(folder / "inner/9.bmp")
    assert digest(folder) != first and reads == ["inner/9"]


def test_one_process_reads_a_small_set_once(folder, monkeypatch):
    monkeypatch.setattr(contents, "_SETTLED", -(10**12))
    reads, honest = [], ImageSet.read
    monkeypatch.setattr(ImageSet, "read", lambda self, i: reads.append(i) or honest(self, i))
    assert digest(folder) == digest(folder) and len(reads) == 8


def test_a_file_that_has_just_changed_is_no_hint(folder, monkeypatch):
    monkeypatch.setattr(contents, "HINT_BYTES", 0)
    digest(folder)
    images = open_folder(folder, Role.QUERY)
    assert not contents._hint_file(images.sources).exists()


def test_a_small_set_leaves_no_hints(folder, monkeypatch):
    monkeypatch.setattr(contents, "_SETTLED", -(10**12))
    digest(folder)
    assert not contents._hint_file(open_folder(folder, Role.QUERY).sources).exists()


@pytest.mark.parametrize("damage", [b"", b"no archive", b"PK\x03\x04 cut"])
def test_hints_that_cannot_be_read_or_written_change_nothing(folder, monkeypatch, tmp_path, damage):
    monkeypatch.setattr(contents, "HINT_BYTES", 0)
    monkeypatch.setattr(contents, "_SETTLED", -(10**12))
    first = digest(folder)
    path = contents._hint_file(open_folder(folder, Role.QUERY).sources)
    path.write_bytes(damage)
    contents._remembered.clear()
    assert digest(folder) == first and path.read_bytes() != damage
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert digest(folder) == first


def test_a_file_that_cannot_be_read_does_not_stop_the_digest(folder, monkeypatch):
    (folder / "broken.jpg").symlink_to(folder)  # reads as a folder
    assert len(digest(folder)) == 64
