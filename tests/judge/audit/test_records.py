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


def test_parts_are_tensors_arrays_lines_and_rows_of_datasets_and_columns(files):
    assert set(part_digests(files / "w.safetensors")) == {"(header)", "a.weight", "b"}
    assert set(part_digests(files / "p.npz")) == {"mean", "components"}
    assert list(part_digests(files / "m.jsonl")) == ["line 1", "line 2"]
    datasets = {"vectors rows 0-4", "group/ids rows 0-1", "group/words rows 0-1", "number rows 0-0", "(attributes)"}
    assert set(part_digests(files / "d.h5")) == datasets
    columns = {"query_id rows 0-1", "reference_id rows 0-1", "score rows 0-1"}
    assert set(part_digests(files / "matching.csv")) == columns
    assert part_digests(files / "m.txt") == part_digests(files / "other.csv") == {}


@pytest.mark.parametrize(
    ("name", "value", "rows"),
    [("vectors", 2, "4-4"), ("group/ids", b"c", "0-1"), ("group/words", "others", "0-1"), ("number", 8, "0-0")],
)
def test_rows_of_a_dataset_that_changed_are_named_in_any_place_and_of_any_kind(files, monkeypatch, name, value, rows):
    monkeypatch.setattr(records, "_ROWS", 2)
    path = files / "d.h5"
    recorded = part_digests(path)
    assert part_digests(path) == recorded
    with h5py.File(path, "r+") as file:
        file[name][() if name == "number" else -1] = value
    now = part_digests(path)
    assert {part for part in now if now[part] != recorded[part]} == {f"{name} rows {rows}"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Q00003,R000002,0.25", "1 changed: query_id rows 0-1"),
        ("Q00002,R000003,0.25", "1 changed: reference_id rows 0-1"),
        ("Q00002,R000002,0.125", "1 changed: score rows 0-1"),
        ("Q00002,R000002,x", "changed, and cannot be read: 1 malformed lines: 3"),
    ],
)
def test_a_column_that_changed_is_named(files, line, told):
    path = files / "matching.csv"
    recorded, lines = part_digests(path), path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line]) + "\n")
    assert changed_parts(path, recorded) == told


def test_the_order_of_rows_is_content_and_ends_of_lines_are_not(files):
    path = files / "matching.csv"
    recorded, (head, one, two) = part_digests(path), path.read_text().splitlines()
    path.write_text("\n".join([head, two, one]))
    assert changed_parts(path, recorded).startswith("3 changed: query_id rows 0-1")
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
    assert record["receipt"]["facts"] == {"rows": 2, "sha256": record["sha256"]}
    assert record["receipt"]["made_from"] == {"images": "x"}
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
