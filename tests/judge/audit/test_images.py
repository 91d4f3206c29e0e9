"""Claims about image digests: what they cover, what a pass reads again, and which images are named as changed."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isckit.data.layouts import open_disc, open_folder, require
from isckit.judge.audit import images as module
from isckit.judge.audit.images import ImageDigests, changed, digest_images, read_digests, same_bytes, write_digests
from isckit.types import BadInput, MissingInput, Role


def fill(folder, contents):
    """An opened folder of files with these bytes, by id."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        (folder / f"{name}.jpg").write_bytes(data)
    return open_folder(folder, Role.TRAIN)


def random_contents(n, *, seed=0):
    rng = np.random.default_rng(seed)
    return {f"T{i:06d}": rng.bytes(int(rng.integers(0, 5000))) for i in range(n)}


def digests_of(contents):
    """The brute-force twin of a pass."""
    ids = sorted(contents)
    found = [hashlib.sha256(contents[name]).digest() for name in ids]
    rows = np.frombuffer(b"".join(found), np.uint8).reshape(-1, 32)
    return ImageDigests("train", Role.TRAIN, np.array(ids, np.str_), rows, sum(map(len, contents.values())))


def same(first, second):
    return (
        first.ids.tolist() == second.ids.tolist()
        and np.array_equal(first.digests, second.digests)
        and (first.name, first.role, first.bytes, first.digest)
        == (second.name, second.role, second.bytes, second.digest)
    )


@pytest.mark.parametrize("workers", [0, 3])
def test_the_digest_of_an_image_is_the_sha256_of_its_file_in_every_shard(tmp_path, monkeypatch, workers):
    monkeypatch.setattr(module, "SHARD", 300)
    contents = random_contents(700)
    found = digest_images(fill(tmp_path / "train", contents), tmp_path / "digests", workers=workers)
    assert same(found, digests_of(contents))
    assert len(list((tmp_path / "digests").iterdir())) == 3


def test_the_digest_of_a_set_can_be_checked_by_hand(tmp_path):
    contents = {"a": b"first", "b": b"second"}
    found = digest_images(fill(tmp_path / "train", contents), tmp_path / "digests", workers=1)
    lines = "".join(f"{name} {hashlib.sha256(data).hexdigest()}\n" for name, data in contents.items())
    expected = hashlib.sha256(lines.encode()).hexdigest()
    assert found.record() == {"role": "train", "images": 2, "bytes": 11, "digest": expected}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_folder_and_its_archive_have_the_same_digests(tmp_path, method):
    contents = random_contents(40)
    fill(tmp_path / "folder/train", contents)
    (tmp_path / "packed").mkdir()
    with zipfile.ZipFile(tmp_path / "packed/train.zip", "w", method) as archive:
        for name, data in contents.items():
            archive.writestr(f"inner/{name}.jpg", data)
    sets = [require(open_disc(tmp_path / kind), "train") for kind in ("folder", "packed")]
    found = [digest_images(images, tmp_path / f"digests{i}", workers=2) for i, images in enumerate(sets)]
    assert same(found[0], digests_of(contents)) and same(found[1], found[0])


def overwritten(path, data):
    """Other bytes of the same length, under the old time of change."""
    times = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("trust", [True, False])
def test_other_bytes_under_the_old_size_and_time_are_read(tmp_path, trust):
    contents = random_contents(20) | {"T000003": b"before"}
    images = fill(tmp_path / "train", contents)
    before = digest_images(images, tmp_path / "digests", workers=1)
    overwritten(tmp_path / "train/T000003.jpg", b"behind")
    now = digest_images(images, tmp_path / "digests", workers=1, trust=trust)
    assert changed(before, now).changed == ("T000003",)
    assert same(now, digests_of(contents | {"T000003": b"behind"}))


def test_only_trust_takes_over_shards(tmp_path, monkeypatch):
    images = fill(tmp_path / "train", random_contents(20))
    before, read = digest_images(images, tmp_path / "digests", workers=1), []
    honest = module._read_chunk
    monkeypatch.setattr(module, "_read_chunk", lambda part: read.append(len(part)) or honest(part))
    assert same(digest_images(images, tmp_path / "digests", workers=1), before) and read == []
    assert same(digest_images(images, tmp_path / "digests", workers=1, trust=False), before) and sum(read) == 20


@pytest.mark.parametrize("what", ["size", "time", "id"])
def test_a_shard_is_read_again_when_size_time_or_id_of_an_image_changed(tmp_path, what):
    contents = random_contents(20) | {"T000003": b"before"}
    fill(tmp_path / "train", contents)
    digest_images(open_folder(tmp_path / "train", Role.TRAIN), tmp_path / "digests", workers=1)
    path = tmp_path / "train/T000003.jpg"
    if what == "id":
        path.rename(tmp_path / "train/T000003x.jpg")
        contents["T000003x"] = contents.pop("T000003")
    else:
        contents["T000003"] = b"behind" if what == "time" else b"longer than before"
        overwritten(path, contents["T000003"])
        if what == "time":
            os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    now = digest_images(open_folder(tmp_path / "train", Role.TRAIN), tmp_path / "digests", workers=1)
    assert same(now, digests_of(contents))


def pack(path, contents):
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.jpg"), data)
    return require(open_disc(path.parent), "train")


def test_an_archive_is_read_again_when_it_is_newer_or_a_member_has_another_checksum(tmp_path):
    path = tmp_path / "packed/train.zip"
    pack(path, {"T000000": b"before"})
    os.utime(path, ns=(0, 10**18))
    digest_images(open_disc(path.parent).train, tmp_path / "digests", workers=1)
    pack(path, {"T000000": b"behind"})
    os.utime(path, ns=(0, 10**18))
    now = digest_images(open_disc(path.parent).train, tmp_path / "digests", workers=1)
    assert same(now, digests_of({"T000000": b"behind"}))
    shard = tmp_path / "digests/shard-00000.npz"
    written = shard.stat().st_mtime_ns
    digest_images(open_disc(path.parent).train, tmp_path / "digests", workers=1)
    assert shard.stat().st_mtime_ns == written
    os.utime(path, ns=(0, 10**18 + 1))
    digest_images(open_disc(path.parent).train, tmp_path / "digests", workers=1)
    assert shard.stat().st_mtime_ns > written


KILLED = """
import os, sys
from pathlib import Path
from isckit.judge.audit import images as digests
from isckit.data.layouts import open_folder
from isckit.types import Role
digests.SHARD = 50
save = digests.write_arrays
def save_and_die(path, arrays):
    save(path, arrays)
    if "00001" in path.name:
        os.kill(os.getpid(), 9)
digests.write_arrays = save_and_die
digests.digest_images(open_folder(Path(sys.argv[1]), Role.TRAIN), Path(sys.argv[2]), workers=2)
"""


def test_a_killed_pass_goes_on_where_it_was(tmp_path, monkeypatch):
    contents = random_contents(200)
    images = fill(tmp_path / "train", contents)
    victim = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "train", tmp_path / "digests"], check=False)
    assert victim.returncode == -9
    shards = sorted((tmp_path / "digests").glob("*.npz"))
    assert [shard.name for shard in shards] == ["shard-00000.npz", "shard-00001.npz"]
    written = [shard.stat().st_mtime_ns for shard in shards]
    monkeypatch.setattr(module, "SHARD", 50)
    assert same(digest_images(images, tmp_path / "digests", workers=2), digests_of(contents))
    assert [shard.stat().st_mtime_ns for shard in shards] == written


def test_a_file_gone_meanwhile_and_one_that_cannot_be_read_are_named(tmp_path):
    images = fill(tmp_path / "train", random_contents(5))
    (tmp_path / "train/T000002.jpg").unlink()
    with pytest.raises(MissingInput, match=r"T000002 .*is gone"):
        digest_images(images, tmp_path / "digests", workers=2)
    (tmp_path / "train/T000002.jpg").mkdir()
    with pytest.raises(BadInput, match=r"T000002 .*directory"):
        digest_images(images, tmp_path / "digests", workers=2)
    assert not list((tmp_path / "digests").glob("*"))


def test_a_damaged_or_vanished_archive_is_refused(tmp_path):
    path = tmp_path / "packed/train.zip"
    images = pack(path, {"T000000": b"one", "T000001": b"two"})
    path.write_bytes(path.read_bytes().replace(b"two", b"owt", 1))
    with pytest.raises(BadInput, match="CRC-32"):
        digest_images(images, tmp_path / "digests", workers=1)
    path.unlink()
    with pytest.raises(MissingInput, match="T000000"):
        digest_images(images, tmp_path / "digests", workers=1)


def test_a_file_of_digests_gives_back_what_was_written(tmp_path):
    for contents in ({}, random_contents(30), {"a/ü": b"x", "b": b""}):
        expected = digests_of(contents)
        write_digests(tmp_path / "images.npz", expected)
        assert same(read_digests(tmp_path / "images.npz"), expected)


def test_a_missing_or_damaged_file_of_digests_is_refused(tmp_path):
    path = tmp_path / "images.npz"
    with pytest.raises(MissingInput):
        read_digests(path)
    write_digests(path, digests_of(random_contents(30)))
    whole = path.read_bytes()
    for at in (0, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:at])
        with pytest.raises(BadInput):
            read_digests(path)
    flipped = bytearray(whole)
    place = whole.index(digests_of(random_contents(30)).digests[7].tobytes())
    flipped[place] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(BadInput, match="CRC"):
        read_digests(path)


def arrays(**other):
    return {
        "ids": np.array([b"a", b"b"]),
        "digests": np.zeros((2, 32), np.uint8),
        "name": np.array("train"),
        "role": np.array("train"),
        "bytes": np.array(0),
    } | other


@pytest.mark.parametrize(
    "wrong",
    [
        {"ids": np.array([b"b", b"a"])},
        {"ids": np.array([b"a", b"a"])},
        {"ids": np.array([b"a"])},
        {"ids": np.array([1, 2])},
        {"digests": np.zeros((2, 31), np.uint8)},
        {"digests": np.zeros((2, 32), np.int8)},
        {"role": np.array("thief")},
        {"name": np.array([object()])},
    ],
    ids=["order", "twice", "fewer", "numbers", "short", "type", "role", "pickle"],
)
def test_a_file_of_other_arrays_is_no_file_of_digests(tmp_path, wrong):
    path = tmp_path / "images.npz"
    np.savez(path, **arrays())
    read_digests(path)
    np.savez(path, **arrays(**wrong))
    with pytest.raises(BadInput):
        read_digests(path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(BadInput):
        read_digests(tmp_path / "one.npy")


def test_a_damaged_shard_is_refused_by_name_and_replaced_without_trust(tmp_path):
    contents = random_contents(10)
    images = fill(tmp_path / "train", contents)
    digest_images(images, tmp_path / "digests", workers=1)
    shard = tmp_path / "digests/shard-00000.npz"
    shard.write_bytes(shard.read_bytes()[:300])
    with pytest.raises(BadInput, match=r"shard-00000\.npz"):
        digest_images(images, tmp_path / "digests", workers=1)
    assert same(digest_images(images, tmp_path / "digests", workers=1, trust=False), digests_of(contents))


def test_changes_name_every_image():
    before = digests_of({"a": b"1", "b": b"2", "c": b"3", "d": b"4", "e": b"5"})
    now = digests_of({"b": b"3", "c": b"2", "d": b"other", "e": b"5", "long name": b"6"})
    changes = changed(before, now)
    assert (changes.missing, changes.added) == (("a",), ("long name",))
    assert changes.changed == ("b", "c", "d")
    assert changes.swapped == (("b", "c"),)
    assert str(changes) == "3 changed: b, c, d; 1 missing: a; 1 added: long name; 1 swapped: b <-> c"
    assert changes and not changed(before, before)


small = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from([b"1", b"2", b"3", b"4"]), max_size=8)


@settings(max_examples=150)
@given(small, small)
def test_changes_and_common_files_are_those_of_a_brute_force_search(before, now):
    first, second = digests_of(before), digests_of(now)
    changes = changed(first, second)
    other = {name for name in before.keys() & now.keys() if before[name] != now[name]}
    assert changes.changed == tuple(sorted(other))
    assert changes.missing == tuple(sorted(before.keys() - now.keys()))
    assert changes.added == tuple(sorted(now.keys() - before.keys()))
    swapped = [(a, b) for a in sorted(other) for b in sorted(other) if a < b]
    swapped = [(a, b) for a, b in swapped if (before[a], now[a]) == (now[b], before[b])]
    assert changes.swapped == tuple(swapped)
    pairs = [(a, b) for a in sorted(before) for b in sorted(now) if before[a] == now[b]]
    assert same_bytes(first, second) == pairs
    assert bool(changes) == (before != now)


def test_files_that_agree_in_the_first_bytes_of_their_digests_only_are_not_the_same():
    first = digests_of({"a": b"1"})
    near = first.digests.copy()
    near[0, 31] ^= 1
    second = ImageDigests("references", Role.REFERENCE, first.ids, near, 1)
    assert same_bytes(first, second) == [] and same_bytes(first, first) == [("a", "a")]


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = fill(tmp_path / "train", {"a": b"12345"}).sources[0]
    for size in (4, 6):
        with pytest.raises(BadInput, match="image a "):
            module._file(path, "a", size=size)
    assert module._file(path, "a", size=5) == b"12345"
    shutil.rmtree(tmp_path / "train")
