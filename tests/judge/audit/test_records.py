import json

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from isckit.judge.audit import records
from isckit.judge.audit.records import changed_parts, file_record, part_digests, receipt_changes
from isckit.runs.artifacts import file_digest, write_receipt
from isckit.submission import write_matches
from isckit.types import BadInput, Matches


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    save_file(
        {"a.weight": rng.random((3, 4)), "b": rng.random(5)}, tmp_path / "w.safetensors", metadata={"recipe": "{}"}
    )
    np.savez(tmp_path / "p.npz", mean=rng.random(4), components=rng.random((2, 4)))
    (tmp_path / "m.jsonl").write_text('{"epoch": 0}\n{"epoch": 1}\n')
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["vectors"], file["group/ids"] = rng.random((5, 3), np.float32), np.array(["a", "b"], "S1")
        file["group/words"] = np.array(["one", "another"], object)
        file["number"], file.attrs["role"] = 7, "train"
    pairs = Matches(np.array(["Q00001", "Q00002"]), np.array(["R000001", "R000002"]), np.array([0.5, 0.25]))
    write_matches(tmp_path / "matching.csv", pairs)
    return tmp_path


def test_parts_are_tensors_arrays_lines_datasets_and_columns(files):
    assert set(part_digests(files / "w.safetensors")) == {"(header)", "a.weight", "b"}
    assert set(part_digests(files / "p.npz")) == {"mean", "components"}
    assert list(part_digests(files / "m.jsonl")) == ["line 1", "line 2"]
    datasets = part_digests(files / "d.h5")
    assert set(datasets) == {"vectors", "group/ids", "group/words", "number", "(attributes)"}
    assert datasets["vectors"].startswith("5 x 3 float32 ") and datasets["number"].startswith(" int64 ")
    assert set(part_digests(files / "matching.csv")) == {"query_id", "reference_id", "score"}
    assert part_digests(files / "m.txt") == part_digests(files / "other.csv") == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [("vectors", np.float32(2)), ("group/ids", b"c"), ("group/words", "others"), ("number", 8)],
)
def test_a_dataset_that_changed_is_named_in_any_place_and_of_any_kind(files, name, value):
    path = files / "d.h5"
    recorded = part_digests(path)
    assert changed_parts(path, recorded) == ""
    with h5py.File(path, "r+") as file:
        file[name][() if name == "number" else -1] = value
    assert changed_parts(path, recorded) == f"1 changed: {name}"


def test_blocks_of_a_dataset_do_not_matter(files, monkeypatch):
    before = part_digests(files / "d.h5")["vectors"]
    monkeypatch.setattr(records, "BLOCK", 2)
    assert part_digests(files / "d.h5")["vectors"] == before


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Q00003,R000002,0.25", "1 changed: query_id"),
        ("Q00002,R000003,0.25", "1 changed: reference_id"),
        ("Q00002,R000002,0.125", "1 changed: score"),
        ("Q00002,R000002,x", "changed, and cannot be read: 1 malformed lines: 3"),
    ],
)
def test_a_column_that_changed_is_named(files, line, told):
    path = files / "matching.csv"
    recorded, lines = part_digests(path), path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line]) + "\n")
    assert changed_parts(path, recorded) == told


def test_the_order_of_rows_is_content(files):
    path = files / "matching.csv"
    recorded, (head, one, two) = part_digests(path), path.read_text().splitlines()
    path.write_text("\n".join([head, two, one]))
    assert changed_parts(path, recorded) == "3 changed: query_id, reference_id, score"
    path.write_text("\r\n".join([head, one, two]))
    assert changed_parts(path, recorded) == ""


@pytest.mark.parametrize("name", ["w.safetensors", "p.npz", "m.jsonl"])
def test_any_changed_byte_is_told_or_leaves_every_part_as_it_was(files, name):
    path = files / name
    recorded, data = file_record(path)["parts"], path.read_bytes()
    silent = 0
    for k in range(len(data)):
        path.write_bytes(data[:k] + bytes([data[k] ^ 0x15]) + data[k + 1 :])
        silent += not changed_parts(path, recorded)
    # Only of an npz there are bytes that no part is made of: those of the archive's directory.
    assert silent == 0 if name != "p.npz" else silent < 0.4 * len(data)
    path.write_bytes(data)
    assert changed_parts(path, recorded) == ""


def test_the_part_that_changed_is_named(files):
    path = files / "w.safetensors"
    recorded, data = part_digests(path), bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert changed_parts(path, recorded) == "1 changed: b"
    path = files / "m.jsonl"
    recorded = part_digests(path)
    path.write_text('{"epoch": 0}\n{"epoch": 7}\n{"epoch": 2}\n')
    assert changed_parts(path, recorded) == "1 changed: line 2; 1 new: line 3"
    path.write_text('{"epoch": 0}\n')
    assert changed_parts(path, recorded) == "1 gone: line 2"


def test_a_record_has_digest_size_and_receipt_without_clocks(files):
    path = files / "m.txt"
    path.write_text("abc")
    write_receipt(path, made_from={"images": "x"}, facts={"rows": 2, "cost": {"seconds": 1.5}})
    record = file_record(path)
    assert record["sha256"] == file_digest(path) and record["bytes"] == 3 and "parts" not in record
    assert record["receipt"]["facts"] == {"rows": 2} and record["receipt"]["made_from"] == {"images": "x"}
    assert receipt_changes(path, record["receipt"]) == []
    write_receipt(path, made_from={"images": "y"}, facts={"rows": 2, "cost": {"seconds": 9.5}})
    assert receipt_changes(path, record["receipt"]) == ["receipt value made_from.images: 'x' there, 'y' now"]
    (files / "m.txt.receipt.json").write_text(json.dumps([1]))
    assert "cannot be read" in receipt_changes(path, record["receipt"])[0]
    (files / "m.txt.receipt.json").unlink()
    assert receipt_changes(path, record["receipt"]) == ["its receipt is gone"]


def test_a_damaged_file_gets_no_record(files):
    path = files / "w.safetensors"
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(BadInput, match=r"w\.safetensors cannot be read"):
        file_record(path)
