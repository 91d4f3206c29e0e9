import json

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from isckit.judge.audit import compare
from isckit.judge.audit.compare import file_gap, relative_gap


def test_the_gap_is_a_part_of_the_root_mean_square():
    before = np.array([[3.0, 4.0], [0.0, 5.0]])
    after = np.array([[3.0, 4.5], [0.0, 4.75]])
    assert relative_gap(before, after) == pytest.approx(0.5 / np.sqrt(50 / 4))
    assert relative_gap(before, before) == 0 == relative_gap(np.zeros(3), np.zeros(3))


def test_blocks_do_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    before = rng.normal(size=(50, 3)).astype(np.float32)
    after = before + rng.normal(size=(50, 3)).astype(np.float32) / 100
    whole = relative_gap(before, after)
    monkeypatch.setattr(compare, "_BLOCK", 7)
    assert relative_gap(before, after) == pytest.approx(whole)
    assert whole == pytest.approx(
        np.abs(before - after).max() / np.sqrt(np.square(before, dtype=float).mean()), rel=1e-5
    )


@pytest.mark.parametrize(
    ("before", "after", "gap"),
    [
        ([1.0, np.nan], [1.0, np.nan], 0),
        ([1.0, np.nan], [1.0, 2.0], np.inf),
        ([1.0, np.inf], [1.0, np.inf], 0),
        ([1.0, np.inf], [2.0, np.inf], 1),
        ([1.0, 2.0], [1.0, 2.0, 3.0], np.inf),
        ([1.0, 2.0], [1, 2], np.inf),
        (["a", "b"], ["a", "b"], 0),
        (["a", "b"], ["a", "c"], np.inf),
        (b"train", b"train", 0),
        (2.0, 3.0, 0.5),
    ],
)
def test_what_is_no_number_or_of_another_kind_is_the_same_or_infinitely_far(before, after, gap):
    assert relative_gap(np.array(before), np.array(after)) == gap


def npz(path, values):
    np.savez(path, values=values, role=np.array("train"))


def h5(path, values):
    with h5py.File(path, "w") as file:
        file["group/values"], file["ids"] = values, np.array([b"T0", b"T1"])


def safetensors(path, values):
    save_file({"values": values}, path)


def as_json(path, values):
    path.write_text(json.dumps({"fitted": {"values": values.tolist()}, "by": "share", "yes": True}))


KINDS = {".npz": npz, ".h5": h5, ".safetensors": safetensors, ".json": as_json}


@pytest.mark.parametrize("suffix", KINDS)
def test_the_numbers_of_each_kind_of_file_are_compared(tmp_path, suffix):
    here, there = tmp_path / f"here{suffix}", tmp_path / f"there{suffix}"
    values = np.array([1.0, 1.0], np.float64)
    KINDS[suffix](here, values)
    KINDS[suffix](there, values)
    assert file_gap(here, there) == 0
    KINDS[suffix](there, np.array([1.0, 1.125]))
    assert file_gap(here, there) == 0.125
    KINDS[suffix](there, values[:1])
    assert file_gap(here, there) == np.inf


def test_text_in_json_counts_and_unknown_kinds_are_the_same_bytes_or_not(tmp_path):
    (tmp_path / "a.json").write_text('{"by": "share", "score": 1}')
    (tmp_path / "b.json").write_text('{"by": "rows", "score": 1}')
    assert file_gap(tmp_path / "a.json", tmp_path / "b.json") == np.inf
    for name, content in (("a.index", b"1"), ("b.index", b"1"), ("c.index", b"2")):
        (tmp_path / name).write_bytes(content)
    assert file_gap(tmp_path / "a.index", tmp_path / "b.index") == 0
    assert file_gap(tmp_path / "a.index", tmp_path / "c.index") == np.inf
