"""Folders of anybody's files: what is read, what is left out, and what is said of it."""

import os
import socket
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from isckit.data.image_sets import open_folder
from isckit.types import MissingInput, Role


def photo(path, kind="JPEG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)).save(path, kind)


def opened(folder, caplog):
    caplog.clear()
    images = open_folder(folder, Role.QUERY)
    return images, caplog.text


def test_the_content_decides_what_is_an_image(tmp_path, caplog):
    for name in ("a.jpg", "none", "twitter.jpg_large", "web.jpg?w=300", "deep/er/b.PNG", "IMG.2020"):
        photo(tmp_path / name, "PNG" if name == "none" else "JPEG")
    images, said = opened(tmp_path, caplog)
    assert set(images.ids) == {"a", "none", "twitter", "web", "deep/er/b", "IMG"} and said == ""
    assert all(images.read(i)[:2] in (b"\xff\xd8", b"\x89P") for i in range(len(images)))


def test_entries_that_are_not_read_are_counted_by_reason_and_named(tmp_path, caplog):
    photo(tmp_path / "a.jpg")
    (tmp_path / "note.txt").write_text("x")
    (tmp_path / "empty").touch()
    (tmp_path / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(tmp_path / "a.jpg", "b.jpg")
    with tarfile.open(tmp_path / "more.tar", "w") as archive:
        archive.add(tmp_path / "a.jpg", "b.jpg")
    (tmp_path / "part.7z.001").write_bytes(b"x")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    images, said = opened(tmp_path, caplog)
    assert images.ids.tolist() == ["a"] and "6 of 7 entries are not read" in said
    assert "2 files that are no images (empty, note.txt)" in said
    assert "1 HEIC pictures, to be converted to JPEG or PNG (IMG_1.HEIC)" in said
    assert "3 archives, to be unpacked (more.tar, more.zip, part.7z.001)" in said and "DS_Store" not in said


def test_linked_folders_are_entered_once(tmp_path, caplog):
    photo(tmp_path / "album/a.jpg")
    for k in range(8):
        photo(tmp_path / f"elsewhere/{k}.jpg")
    (tmp_path / "album/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "album")
    (tmp_path / "album/one.jpg").symlink_to(tmp_path / "elsewhere/0.jpg")
    (tmp_path / "album/gone.jpg").symlink_to(tmp_path / "nowhere")
    images, said = opened(tmp_path / "album", caplog)
    assert set(images.ids) == {"a", "one", *(f"linked/{k}" for k in range(8))}
    assert "1 folders met before, by a link (linked/back)" in said and "1 links that lead nowhere (gone.jpg)" in said


def test_pipes_sockets_and_devices_are_not_waited_for(tmp_path, caplog, monkeypatch):
    photo(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    monkeypatch.chdir(tmp_path)  # the path of a socket has a limit
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        images, said = opened(tmp_path, caplog)
    assert images.ids.tolist() == ["a"]
    assert "3 pipes, sockets or devices (pipe.jpg, socket.jpg, zero.jpg)" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root lists every folder")
def test_a_folder_that_cannot_be_listed_is_named(tmp_path, caplog):
    photo(tmp_path / "a.jpg")
    photo(tmp_path / "locked/b.jpg")
    (tmp_path / "locked").chmod(0)
    images, said = opened(tmp_path, caplog)
    (tmp_path / "locked").chmod(0o700)
    assert images.ids.tolist() == ["a"] and "folders that cannot be listed: Permission denied (locked/)" in said


def test_names_of_people_are_kept_and_those_that_are_no_text_left_out(tmp_path, caplog):
    kept = ["Bild 1, (ä).jpg", "Screenshot\u202f2024\xa0.jpg", "[a]'\".jpg", "日本.jpg"]
    for name in kept:
        photo(tmp_path / name)
    (tmp_path / "line\nbreak.jpg").write_bytes(b"x")
    (tmp_path / os.fsdecode(b"latin\xe4.jpg")).write_bytes(b"x")
    images, said = opened(tmp_path, caplog)
    assert sorted(images.ids) == sorted(name[:-4] for name in kept)
    assert "2 names that are no text ('latin\\udce4.jpg', 'line\\nbreak.jpg')" in said


def test_names_that_differ_in_their_extension_alone_keep_it(tmp_path, caplog):
    for name in ("a.jpg", "a.png", "b.jpg", "c/a.jpg"):
        photo(tmp_path / name)
    images, _ = opened(tmp_path, caplog)
    assert images.ids.tolist() == ["a.jpg", "a.png", "b", "c/a"]
    assert [images.where(i) for i in range(4)] == [f"{tmp_path}/{n}" for n in ("a.jpg", "a.png", "b.jpg", "c/a.jpg")]


def test_a_folder_without_images_says_what_it_holds(tmp_path):
    with pytest.raises(MissingInput, match="which is empty"):
        open_folder(tmp_path, Role.EXTERNAL)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(MissingInput, match=r"1 files that are no images \(notes\.txt\)"):
        open_folder(tmp_path, Role.EXTERNAL)
