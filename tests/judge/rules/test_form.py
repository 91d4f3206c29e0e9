"""One broken file for every code of form, each of which triggers that code alone; clean files trigger none."""

import contextlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from isckit.judge.rules import form
from isckit.judge.rules.form import CODES, check_descriptors_form, check_matches_form
from isckit.submission import read_descriptors, write_descriptors, write_matches
from isckit.types import BadInput, Embeddings, Matches, Role

HEAD = "query_id,reference_id,score\n"
GOOD = "Q00001,R000002,0.5\nQ00000,R000001,-1e-3\n"
QUERIES = np.char.mod("Q%05d", np.arange(30))
REFERENCES = np.char.mod("R%06d", np.arange(2000))
SETS = {"query_ids": QUERIES, "reference_ids": REFERENCES}

# Code -> text of the file, options, lines at fault.
BROKEN_MATCHES = {
    "M01": (b"\xff\xfe", {}, ()),
    "M02": (GOOD, {}, ()),
    "M03": (HEAD + GOOD + "Q00001,R000001\nQ00001,R000001,1,1\n", {}, (4, 5)),
    "M04": (HEAD + "\n" + GOOD + "  \n", {}, (2, 5)),
    "M05": ((HEAD + GOOD).replace("\n", "\r\n"), {}, ()),
    "M06": (HEAD + GOOD + "Q00001.jpg,R000001,1\nQ00001,references/R000001,1\n", {}, (4, 5)),
    "M07": (HEAD + GOOD + "Q00001,T000001,1\n", {}, (4,)),
    "M08": (HEAD + GOOD + "Q50000,R000001,1\n", {"phase": 1}, (4,)),
    "M09": (HEAD + GOOD + "Q1,R000001,1\nR000001,R000002,1\n,R000001,1\n", {}, (4, 5, 6)),
    "M10": (HEAD + GOOD + "Q00030,R000001,1\nQ00001,R002000,1\n", SETS, (4, 5)),
    "M11": (HEAD + GOOD + "Q00001,R000001,high\nQ00001,R000003,\nQ00001,R000004, 1\n", {}, (4, 5, 6)),
    "M12": (HEAD + GOOD + "Q00001,R000001,nan\nQ00001,R000003,NaN\n", {}, (4, 5)),
    "M13": (HEAD + GOOD + "Q00001,R000001,inf\nQ00001,R000003,-Infinity\n", {}, (4, 5)),
    "M14": (HEAD + GOOD + GOOD, {}, (4, 5)),
    "M15": (HEAD + GOOD + "Q00002,R000001,0\n", {}, ()),
    "M16": (HEAD, {}, ()),
}


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("code", BROKEN_MATCHES)
def test_broken_matches_file_triggers_its_code_alone(tmp_path, monkeypatch, code):
    text, options, lines = BROKEN_MATCHES[code]
    if code == "M15":
        monkeypatch.setattr(form, "MAX_ROWS", 2)
    faults = check_matches_form(write(tmp_path / "m.csv", text), **options)
    assert {fault.code for fault in faults} == {code}
    assert sorted(row for fault in faults for row in fault.rows) == list(lines)
    assert sum(fault.count for fault in faults) == max(1, len(lines))


@pytest.mark.parametrize("options", [{}, {"phase": 1}, SETS, SETS | {"phase": 1}])
def test_clean_matches_file_triggers_nothing(tmp_path, options):
    ids = np.arange(300)
    matches = Matches(QUERIES[ids % 30], REFERENCES[ids], np.random.default_rng(0).normal(size=300))
    write_matches(tmp_path / "m.csv", matches)
    assert check_matches_form(tmp_path / "m.csv", **options) == []


def test_absent_file_and_missing_phase_are_told(tmp_path):
    assert [fault.code for fault in check_matches_form(tmp_path / "none.csv")] == ["M01"]
    assert [fault.code for fault in check_descriptors_form(tmp_path / "none.h5")] == ["D01"]
    mixed = HEAD + "Q00001,R000001,3\nQ50001,R000001,2\nQ50002,R000001,1\n"
    faults = check_matches_form(write(tmp_path / "m.csv", mixed))
    assert [(fault.code, fault.rows) for fault in faults] == [("M08", (2,))]


def test_all_faults_come_at_once_with_ten_rows_and_the_full_count(tmp_path):
    text = "q,r,s\n" + "".join(f"Q00001,R{k:06d},nan\n" for k in range(12)) + "\nQ00001,R000000,1\nx,R000000,1,2\n"
    faults = {fault.code: fault for fault in check_matches_form(write(tmp_path / "m.csv", text))}
    assert sorted(faults) == ["M02", "M03", "M04", "M12", "M14"]
    assert (faults["M12"].rows, faults["M12"].count) == (tuple(range(2, 12)), 12)
    assert (faults["M14"].rows, faults["M04"].rows, faults["M03"].rows) == ((15,), (14,), (16,))
    assert str(faults["M12"]) == "M12 score is NaN: 12 (rows 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...)"


def test_own_names_are_judged_by_the_sets_alone(tmp_path):
    path = write(tmp_path / "m.csv", HEAD + "cat.v1,dog,1\nbird,dog,2\n")
    own = {"query_ids": np.array(["cat.v1"]), "reference_ids": np.array(["dog"])}
    assert [(fault.code, fault.rows) for fault in check_matches_form(path, **own)] == [("M10", (3,))]


def vectors(n: int, seed: int, dim: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def save(path: Path, **changes) -> Path:
    """A clean file of 30 queries and 2,000 references, with some datasets replaced (None: left out)."""
    datasets = {
        "query": vectors(30, 0),
        "reference": vectors(2000, 1),
        "query_ids": QUERIES.astype("S6"),
        "reference_ids": REFERENCES.astype("S7"),
    } | changes
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            if values is not None:
                file[name] = values
    return path


def put(values: np.ndarray, rows, value) -> np.ndarray:
    values = values.copy()
    values[rows] = value
    return values


def with_id(*extra: str) -> dict:
    """Queries with further ids at the end, and vectors for them."""
    ids = np.concatenate([QUERIES, np.array(extra)])
    return {"query_ids": np.char.encode(ids), "query": vectors(len(ids), 0)}


LAST = QUERIES.astype("S6")
# Code -> datasets to replace, options, total count.
BROKEN_DESCRIPTORS = {
    "D03": ({"query": None, "reference_ids": None}, {}, 2),
    "D04": ({"train": vectors(3, 4), "train_ids": np.arange(3)}, {}, 2),
    "D05": ({"query": vectors(30, 0)[:, :, None], "reference_ids": REFERENCES.astype("S7")[:, None]}, {}, 2),
    "D06": ({"query": vectors(29, 0)}, {}, 1),
    "D07": ({"query": vectors(30, 0, 257), "reference": vectors(2000, 1, 257)}, {}, 1),
    "D08": ({"query": vectors(30, 0, 9)}, {}, 1),
    "D09": ({"query": vectors(30, 0).astype(np.float64), "reference": vectors(2000, 1).astype(np.float16)}, {}, 2),
    "D10": ({"query_ids": np.arange(30)}, {}, 1),
    "D11": ({"query_ids": QUERIES.tolist()}, {}, 1),
    "D12": (
        with_id("Q00031.jpg", "images/Q00032")
        | {"query_ids": np.sort(np.array([*QUERIES, "Q00031.jpg", "images/Q00032"])).astype("S")},
        SETS,
        2,
    ),
    "D13": (with_id("T000001"), SETS, 1),
    "D14": (with_id("Q50000"), SETS | {"phase": 1}, 1),
    "D15": (with_id("Q1234567"), SETS, 1),
    "D16": (with_id("Q00031"), SETS, 1),
    "D17": (with_id("Q00029", "Q00029"), SETS, 2),
    "D18": ({"query_ids": put(LAST, [3, 4], LAST[[4, 3]])}, SETS, 1),
    "D19": ({"query_ids": LAST[:-2], "query": vectors(28, 0)}, SETS, 2),
    "D20": (
        {"query": put(vectors(30, 0), (4, 2), np.nan), "reference": put(vectors(2000, 1), ([1, 1500], 0), np.inf)},
        {},
        3,
    ),
    "D21": ({"reference": put(vectors(2000, 1), slice(100, 115), 0)}, {}, 15),
    "D22": ({"query": np.ones((30, 8), np.float32)}, {}, 30),
    "D23": ({"reference": put(vectors(2000, 1), slice(100, 122), vectors(2000, 1)[99])}, {}, 22),
    "D24": ({"query": put(vectors(30, 0), 7, 1e5)}, {}, 1),
    "D26": ({"query": vectors(0, 0), "query_ids": LAST[:0]}, {}, 1),
}


@pytest.mark.parametrize("code", BROKEN_DESCRIPTORS)
def test_broken_descriptor_file_triggers_its_code_alone(tmp_path, monkeypatch, code):
    monkeypatch.setattr(form, "_BLOCK", 700)
    datasets, options, count = BROKEN_DESCRIPTORS[code]
    faults = check_descriptors_form(save(tmp_path / "d.h5", **datasets), **options)
    assert {fault.code for fault in faults} == {code}
    assert sum(fault.count for fault in faults) == count


def test_truncated_and_foreign_files_are_unreadable(tmp_path):
    path = save(tmp_path / "d.h5")
    path.write_bytes(path.read_bytes()[:-100])
    assert [fault.code for fault in check_descriptors_form(path)] == ["D02"]
    assert [fault.code for fault in check_descriptors_form(write(tmp_path / "x.h5", "query,reference"))] == ["D02"]


@pytest.mark.parametrize("options", [{}, SETS, SETS | {"phase": 1}], ids=["bare", "sets", "both"])
def test_clean_descriptor_file_triggers_nothing(tmp_path, options):
    few_repeats = put(vectors(2000, 1), slice(0, 20), vectors(2000, 1)[50])
    write_descriptors(
        tmp_path / "d.h5",
        Embeddings.whole(Role.QUERY, QUERIES, 300 * vectors(30, 0)),
        Embeddings.whole(Role.REFERENCE, REFERENCES, 300 * few_repeats),
    )
    assert check_descriptors_form(tmp_path / "d.h5", **options) == []


def test_far_reference_and_rows_of_faults_are_named(tmp_path):
    path = save(tmp_path / "d.h5", reference=put(vectors(2000, 1), [5, 1999], 1e5), query=put(vectors(30, 0), 3, 0))
    faults = check_descriptors_form(path)
    assert [(fault.code, fault.rows) for fault in faults] == [("D21", (3,)), ("D24", (5, 1999))]


def test_phase_without_sets_expects_the_whole_of_disc21(tmp_path):
    faults = check_descriptors_form(save(tmp_path / "d.h5"), phase=2)
    assert [(fault.code, fault.count) for fault in faults] == [("D14", 30), ("D19", 50_000), ("D19", 1_000_000 - 2000)]


def test_every_code_of_the_table_is_broken_here():
    assert set(CODES) == BROKEN_MATCHES.keys() | BROKEN_DESCRIPTORS.keys() | {"D01", "D02", "D25"}


def elsewhere(folder, kind):
    """A submission whose query vectors, or whose ids, are not in its file."""
    path = save(folder / "d.h5", **({"query_ids": None} if kind == "text" else {"query": None}))
    other = save(folder / "other.h5")
    with h5py.File(path, "r+") as file:
        if kind == "external link":
            file["query"] = h5py.ExternalLink(str(other), "query")
        elif kind == "soft link":
            file["behind"] = vectors(30, 0)
            file["query"] = h5py.SoftLink("/behind")
        elif kind == "virtual":
            layout = h5py.VirtualLayout((30, 8), "f4")
            layout[:] = h5py.VirtualSource(str(other), "query", (30, 8))
            file.create_virtual_dataset("query", layout)
        elif kind == "external storage":
            (folder / "raw").write_bytes(vectors(30, 0).tobytes())
            file.create_dataset("query", (30, 8), "f4", external=[(str(folder / "raw"), 0, 30 * 8 * 4)])
        elif kind == "text":
            (folder / "secret").write_text("root:x:0:0:root\n" * 12)
            file.create_dataset("query_ids", (30,), "S6", external=[(str(folder / "secret"), 0, 180)])
        elif kind == "group":
            file.create_group("query")
        elif kind == "compound":
            file["query"] = np.zeros((30, 8), [("a", "f4"), ("b", "f4")])
        else:
            file.create_dataset("query", (1 << 40, 8), "f4", chunks=(1024, 8))
    return path


KINDS = ["external link", "soft link", "virtual", "external storage", "text", "group", "compound", "huge"]


@pytest.mark.parametrize("kind", KINDS)
def test_values_that_do_not_lie_in_the_file_are_a_fault_and_never_read(tmp_path, kind):
    path = elsewhere(tmp_path, kind)
    faults = {fault.code: str(fault) for fault in check_descriptors_form(path)}
    assert ("query_ids" if kind == "text" else "query ") in faults["D25"] and "root:" not in "".join(faults.values())
    with pytest.raises(BadInput, match="query") as told:
        read_descriptors(path)
    assert "root:" not in str(told.value)


def test_a_damaged_file_ends_in_a_message_whatever_byte_is_wrong(tmp_path):
    """Some damage ends the process that reads; each file is read in one of its own first."""
    whole = save(tmp_path / "d.h5", reference=vectors(60, 1), reference_ids=REFERENCES[:60].astype("S7")).read_bytes()
    rng = np.random.default_rng(0)
    for number in range(60):
        damaged = bytearray(whole)
        for at in rng.integers(0, 2_500, size=int(rng.integers(1, 4))):
            damaged[at] = int(rng.integers(256))
        path = tmp_path / f"{number}.h5"
        path.write_bytes(damaged)
        assert isinstance(check_descriptors_form(path), list)
        with contextlib.suppress(BadInput):
            read_descriptors(path)
