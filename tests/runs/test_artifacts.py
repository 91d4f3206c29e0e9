"""What stands on disk is whole, and known to be made from what is at hand."""

import hashlib
import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from isckit.runs.artifacts import (
    atomic,
    file_digest,
    ids_digest,
    is_fresh,
    read_receipt,
    receipt_path,
    rows_digest,
    write_json,
    write_receipt,
    write_text,
)
from isckit.runs.records import read_json
from isckit.types import BadInput, MissingInput, StaleArtifact


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, PermissionError])
def test_an_exception_in_the_block_leaves_the_old_file_and_no_litter(tmp_path, error):
    path = write_text(tmp_path / "a.txt", "old")
    with pytest.raises(error), atomic(path) as temporary:
        temporary.write_text("half of the n")
        assert path.read_text() == "old"
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_the_temporary_file_lies_beside_its_target_so_that_renaming_is_atomic(tmp_path):
    with atomic(tmp_path / "deep" / "a.txt") as temporary:
        assert temporary.parent == tmp_path / "deep"
        assert not (tmp_path / "deep" / "a.txt").exists()
        temporary.write_text("new")
    assert (tmp_path / "deep" / "a.txt").read_text() == "new"
    assert names(tmp_path / "deep") == ["a.txt"]


def test_a_block_that_writes_nothing_fails_and_keeps_the_old_file(tmp_path):
    path = write_text(tmp_path / "a.txt", "old")
    with pytest.raises(FileNotFoundError), atomic(path):
        pass
    assert path.read_text() == "old"


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = write_text(tmp_path / "a.txt", "old")
    code = f"""
import os, pathlib, signal
from isckit.runs.artifacts import atomic
with atomic(pathlib.Path({str(path)!r})) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert path.read_text() == "old"
    assert len(names(tmp_path)) == 2
    others = [tmp_path / f".a.txt.{node}.{os.getpid()}.0123.part" for node in (platform.node()[:50], "elsewhere")]
    for other in others:  # a process that runs, and one of a machine that nobody can ask
        other.write_text("half")
    write_text(path, "new")
    assert names(tmp_path) == sorted(["a.txt", *(other.name for other in others)])


@pytest.mark.parametrize("size", [1001, 5_000_000])
def test_a_full_disk_becomes_storage_full_and_changes_nothing(tmp_path, size):
    path = write_text(tmp_path / "a.txt", "old")
    code = f"""
import pathlib, resource, signal
from isckit.runs.artifacts import write_text
from isckit.types import StorageFull
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_text(pathlib.Path({str(path)!r}), "x" * {size})
except StorageFull as error:
    print(error)
    raise SystemExit(7)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 7, ran.stderr
    assert str(path) in ran.stdout
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_json_is_sorted_and_comes_back(tmp_path):
    path = write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": "ü"})
    assert read_json(path) == {"b": [1, 2.5], "a": "ü"}
    assert path.read_text().index('"a"') < path.read_text().index('"b"')


def test_absent_and_damaged_json_are_refused(tmp_path):
    with pytest.raises(MissingInput):
        read_json(tmp_path / "a.json")
    for damaged in (b"{", b"", b"\xff\xfe"):
        (tmp_path / "a.json").write_bytes(damaged)
        with pytest.raises(BadInput, match=r"a\.json"):
            read_json(tmp_path / "a.json")


def test_file_digest_is_sha256_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digest(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_ids_digest_depends_on_order_and_on_where_ids_end():
    assert ids_digest(np.array(["a", "b"])) != ids_digest(np.array(["b", "a"]))
    assert ids_digest(np.array(["ab", "c"])) != ids_digest(np.array(["a", "bc"]))


def test_rows_digest_is_free_of_order_and_sees_every_change():
    rng = np.random.default_rng(0)
    ids = np.array([f"R{i:06d}" for i in range(70_000)])
    x = rng.standard_normal((70_000, 2)).astype(np.float32)
    digest = rows_digest(ids, x)
    order = rng.permutation(len(ids))
    assert rows_digest(ids[order], x[order]) == digest
    assert rows_digest(ids, x.astype(">f4")) == digest
    assert rows_digest(ids, x[order]) != digest
    other = x.copy()
    other[69_999, 1] = np.nextafter(other[69_999, 1], np.float32(9))
    assert rows_digest(ids, other) != digest


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_artifact_is_fresh_when_made_from_the_same_and_stale_by_name_otherwise(tmp_path, kind):
    path = tmp_path / "artifact"
    made_from = {"recipe": "r1", "images": {"n": 3}, "views": ("whole", "left")}
    assert not is_fresh(path, made_from)
    path.write_text("data") if kind == "file" else path.mkdir()
    assert not is_fresh(path, made_from), "an artifact without a receipt was not finished"
    write_receipt(path, made_from=made_from, facts={"seconds": 2})
    assert is_fresh(path, dict(reversed(made_from.items())))
    with pytest.raises(StaleArtifact, match=r"other inputs: images \(images: .*3.* there, .*4.* now\)"):
        is_fresh(path, made_from | {"images": {"n": 4}})
    with pytest.raises(StaleArtifact, match="other inputs: recipe, views"):
        is_fresh(path, made_from | {"views": ("left", "whole"), "recipe": "r2"})
    with pytest.raises(StaleArtifact, match="other inputs: weights"):
        is_fresh(path, made_from | {"weights": "w"})
    with pytest.raises(StaleArtifact, match="other inputs: images"):
        is_fresh(path, {k: v for k, v in made_from.items() if k != "images"})


def test_receipt_lies_inside_a_folder_and_beside_a_file_and_names_what_ran(tmp_path):
    (tmp_path / "file").write_text("data")
    write_receipt(tmp_path / "file", made_from={"a": 1}, facts={"rows": 5})
    assert receipt_path(tmp_path) == tmp_path / "receipt.json"
    assert names(tmp_path) == ["file", "file.receipt.json"]
    receipt = read_receipt(tmp_path / "file")
    sha256 = hashlib.sha256(b"data").hexdigest()
    assert (receipt["made_from"], receipt["facts"]) == ({"a": 1}, {"rows": 5, "sha256": sha256})
    assert receipt["packages"]["numpy"] == np.__version__


def test_a_receipt_of_nothing_is_missing(tmp_path):
    with pytest.raises(MissingInput):
        read_receipt(tmp_path / "none")


def test_another_process_does_not_share_the_temporary_file(tmp_path):
    with atomic(tmp_path / "a") as temporary, atomic(tmp_path / "a") as other:
        assert temporary != other and platform.node() in temporary.name  # on a disk that several machines share
        other.write_text("y")
        temporary.write_text("x")
