import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from isckit.judge.audit.records import changed_parts, file_record, part_digests, receipt_changes
from isckit.runs.artifacts import file_digest, write_receipt
from isckit.types import BadInput


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    save_file(
        {"a.weight": rng.random((3, 4)), "b": rng.random(5)}, tmp_path / "w.safetensors", metadata={"recipe": "{}"}
    )
    np.savez(tmp_path / "p.npz", mean=rng.random(4), components=rng.random((2, 4)))
    (tmp_path / "m.jsonl").write_text('{"epoch": 0}\n{"epoch": 1}\n')
    return tmp_path


def test_parts_are_tensors_arrays_and_lines(files):
    assert set(part_digests(files / "w.safetensors")) == {"(header)", "a.weight", "b"}
    assert set(part_digests(files / "p.npz")) == {"mean", "components"}
    assert list(part_digests(files / "m.jsonl")) == ["line 1", "line 2"]
    assert part_digests(files / "m.txt") == {}


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
