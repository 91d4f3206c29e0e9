"""What is written in the official formats reads back bit by bit, and nothing unfit is ever written."""

import csv
import functools
import itertools
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isckit import submission
from isckit.data import columns
from isckit.submission import (
    best_rows,
    open_descriptors,
    parse_matches,
    read_descriptors,
    read_matches,
    repeated_pairs,
    write_descriptors,
    write_matches,
)
from isckit.types import BadInput, Embeddings, Matches, MissingInput, Role


def matches(*rows: tuple[str, str, float]) -> Matches:
    queries, references, scores = zip(*rows, strict=True)
    return Matches(np.array(queries), np.array(references), np.array(scores))


def rows(found: Matches) -> list[tuple]:
    return list(zip(found.query_ids.tolist(), found.reference_ids.tolist(), found.scores.tolist(), strict=True))


def test_file_is_what_the_platform_parses(tmp_path):
    path = tmp_path / "m.csv"
    write_matches(
        path,
        matches(
            ("Q00002", "R000001", 0.5),
            ("Q00001", "R000002", 0.5),
            ("Q00001", "R000001", 0.5),
            ("Q00009", "R000009", -1e-7),
            ("Q00000", "R000000", 2.0),
        ),
    )
    assert path.read_bytes() == (
        b"query_id,reference_id,score\nQ00000,R000000,2.0\nQ00001,R000001,0.5\nQ00001,R000002,0.5\n"
        b"Q00002,R000001,0.5\nQ00009,R000009,-1e-07\n"
    )


@given(scores=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_scores_survive_the_file_exactly(tmp_path_factory, scores):
    path = tmp_path_factory.mktemp("m") / "m.csv"
    ids = np.array([f"Q{k:05d}" for k in range(len(scores))])
    write_matches(path, Matches(ids, np.full(len(ids), "R000000"), np.array(scores)))
    back = read_matches(path)
    assert dict(zip(back.query_ids.tolist(), back.scores.tolist(), strict=True)) == dict(zip(ids, scores, strict=True))
    assert (np.diff(back.scores) <= 0).all()


def test_neighbouring_float32_scores_stay_distinct(tmp_path):
    base = np.float32(0.9)
    scores = np.array([base, np.nextafter(base, np.float32(1))])
    write_matches(tmp_path / "m.csv", Matches(np.array(["Q00000", "Q00001"]), np.array(["R000000"] * 2), scores))
    assert read_matches(tmp_path / "m.csv").scores.tolist() == sorted(map(float, scores), reverse=True)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (matches(("Q00000", "R000000", np.nan), ("Q00001", "R000000", 1)), "1 scores that are not finite: row 1"),
        (matches(("Q00000", "R000000", 1), ("Q00001", "R000000", -np.inf)), "1 scores that are not finite: row 2"),
        (
            matches(("Q00000", "R000000", 1), ("Q00001", "R000000", 3), ("Q00000", "R000000", 2)),
            "1 pairs that occur in an earlier row: row 3: Q00000,R000000",
        ),
        (matches(("Q00000", "", 1)), "1 empty ids"),
    ],
)
def test_unfit_rows_are_named_and_nothing_is_written(tmp_path, bad, message):
    with pytest.raises(BadInput) as caught:
        write_matches(tmp_path / "m.csv", bad)
    assert message in caught.value.seen
    assert list(tmp_path.iterdir()) == []


def test_names_of_peoples_files_are_quoted_and_come_back(tmp_path):
    names = ["a,b", 'say "hi"', "Ferien 2019/IMG (1)", " blank", '"', "plain"]
    rows = [(query, reference, k) for k, (query, reference) in enumerate(itertools.product(names, names))]
    write_matches(tmp_path / "m.csv", matches(*rows))
    read = read_matches(tmp_path / "m.csv")
    assert {*zip(read.query_ids, read.reference_ids, read.scores.tolist(), strict=True)} == set(rows)
    with (tmp_path / "m.csv").open(newline="") as handle:
        assert {(q, r, float(s)) for q, r, s in [*csv.reader(handle)][1:]} == set(rows)


def test_quotes_are_no_part_of_a_contest_file(tmp_path):
    (tmp_path / "m.csv").write_text(f'{submission.HEADER}\n"Q00001","R000001",0.5\n')
    assert read_matches(tmp_path / "m.csv").query_ids.tolist() == ["Q00001"]
    assert parse_matches(tmp_path / "m.csv").query_ids.tolist() == ['"Q00001"']


def test_a_nul_byte_behind_an_id_is_no_other_spelling_of_it(tmp_path):
    (tmp_path / "m.csv").write_bytes(f"{submission.HEADER}\nQ00020\0,R000001,0.5\n".encode())
    for read in (read_matches, parse_matches):
        with pytest.raises(BadInput, match="line 2 holds the control character"):
            read(tmp_path / "m.csv")


def test_rows_beyond_the_limit_are_refused(tmp_path):
    three = matches(*[(f"Q0000{k}", "R000000", k) for k in range(3)])
    with pytest.raises(BadInput, match="3 rows"):
        write_matches(tmp_path / "m.csv", three, max_rows=2)
    write_matches(tmp_path / "m.csv", three, max_rows=3)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([0.0, 1.0, 2.0])),
        max_size=16,
        unique_by=lambda row: row[:2],
    ),
    st.integers(0, 18),
    st.booleans(),
)
def test_best_rows_is_the_head_of_the_full_order(cells, n, disc):
    name = ("Q0000{}", "R00000{}") if disc else ("q{}", "r{}")
    table = [(name[0].format(q), name[1].format(r), s) for q, r, s in cells]
    columns = [np.array(column) for column in zip(*table, strict=True)] or [np.array([], str)] * 2 + [np.zeros(0)]
    expected = sorted(table, key=lambda row: (-row[2], row[0], row[1]))[:n]
    assert rows(best_rows(Matches(*columns), n)) == expected


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("cde")), max_size=12))
def test_repeated_pairs_marks_all_but_the_first(pairs):
    columns = [np.array(column, str) for column in zip(*pairs, strict=True)] or [np.array([], str)] * 2
    expected = [pair in pairs[:k] for k, pair in enumerate(pairs)]
    assert repeated_pairs(Matches(*columns, np.zeros(len(pairs)))).tolist() == expected


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("query_id,reference_id,score\nQ00000,R000000,x\n", "2"),
        ("query_id,reference_id,score\nQ00000,R000000,\n", "2"),
        ("query_id,reference_id,score\nQ00000,R000000,nan\n", "2"),
        ("query_id,reference_id,score\nQ00000,R000000,1_0\n", "2"),
        ("query_id,reference_id,score\nQ00000,R000000,-inf\n", "2"),
        ("query_id,reference_id,score\nQ00000,R000000,1\n\nQ00000,R000001,1\n", "3"),
        ("query_id,reference_id,score\nQ00000,R000000\n", "2"),
        ("query_id,reference_id,score\nQ00000,R000000,1,2\n", "2"),
        ("query_id,reference_id,score\n,R000000,1\n", "2"),
        ("Q00000,R000000,1\nQ00000,,1\n", "1, 2"),
        ("q,r,s\nQ00000,R000000,1\n", "1"),
        ("", "1"),
    ],
)
def test_malformed_file_is_refused_by_line(tmp_path, text, lines):
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        read_matches(path)
    assert caught.value.seen.endswith(f"malformed lines: {lines}")


def test_header_alone_reads_as_no_rows_and_windows_line_ends_are_understood(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("query_id,reference_id,score\n")
    assert len(read_matches(path)) == 0
    path.write_bytes(b"query_id,reference_id,score\r\nQ00000,R000000,1e-3\r\n")
    assert rows(read_matches(path)) == [("Q00000", "R000000", 0.001)]
    with pytest.raises(MissingInput):
        read_matches(tmp_path / "none.csv")


def fields(parsed: submission.MatchLines) -> dict:
    """All that was parsed as plain values, scores bit by bit."""
    values = {name: getattr(parsed, name) for name in parsed.__dataclass_fields__}
    arrays = {name: (v.dtype.str, v.tobytes()) for name, v in values.items() if isinstance(v, np.ndarray)}
    return values | arrays


# fmt: off
IDS = st.sampled_from([
    "Q00001", "R000001", "", '"Q1"', "#Q", "NA", "a" * 31, "b" * 32, "q 1", "é", "\0", "\r", "\ufeff", "\t",
])
NUMBERS = st.floats().map(repr) | st.sampled_from([
    "0.5", "-1e-3", ".5", "5.", "+7", "1E5", "1e999", "1e-400", "0." + "1" * 25, "nan", "inf", "-Infinity", "NA", "",
    "True", "FALSE", "1_0", "0x1p3", "1e", ".", "-", "e5", "1d5", '"1"', "'", " 1", "1 ", "\u0663", "1\0", "1\r",
])
# fmt: on


def read_or_refused(read):
    try:
        return fields(read())
    except BadInput as error:
        return str(error)


@settings(deadline=None)  # the first example imports pandas
@given(
    rows=st.lists(st.tuples(IDS, IDS, NUMBERS).map(",".join), min_size=1, max_size=6),
    other=st.none() | st.lists(IDS | NUMBERS, max_size=5).map(",".join),
    end=st.sampled_from(["", "\n", "\n\n", "\r\n"]),
)
@example(rows=["Q00001,R000001,True"], other=None, end="\n")
@example(rows=["Q00001,R000001,inf"], other=None, end="\n")
@example(rows=["Q00001,R000001,1,2"], other=None, end="\n")
@example(rows=["Q00001,R000001,0.5"] * 2, other="Q00001,R000001,0.5,0.5", end="\n")
@example(rows=["Q00001,R000001,0.5", "Q00001,0.5"], other="Q00001,R000001,0.5,0.5", end="\n")
@example(rows=[f"{'Q' * 40},R000001,0.5"], other=None, end="")
@example(rows=["Q00001,R000001,0.5", "Q00001,R000001, 0.5"], other=None, end="\n")
def test_pandas_and_the_strict_reading_agree_on_every_file(tmp_path_factory, rows, other, end):
    path = tmp_path_factory.mktemp("m") / "m.csv"
    lines = rows if other is None else [*rows[: len(rows) // 2], other, *rows[len(rows) // 2 :]]
    path.write_bytes(("\n".join([submission.HEADER, *lines]) + end).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "LARGE", 0)
        strictly = functools.partial(submission._parse_lines, path, path.read_bytes(), quoted=False)
        assert read_or_refused(functools.partial(parse_matches, path)) == read_or_refused(strictly)


@settings(deadline=None)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.floats(-1, 1, width=32), min_size=1),
    st.sampled_from(["{!r}", "{:.30e}", "{:+.17g}", "{:.3f}"]),
)
def test_pandas_reads_a_clean_file_by_itself_to_the_same_scores(scores, form):
    texts = [form.format(score) for score in scores]
    body = "".join(f"Q{k:05d},R000001,{text}\n" for k, text in enumerate(texts)).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "LARGE", 0)
        read = columns.plain_columns(body, (str, str, float))
    assert read is not None
    queries, references, found = read
    assert found.tobytes() == np.array([float(text) for text in texts]).tobytes()
    assert queries.tolist() == [f"Q{k:05d}" for k in range(len(texts))] and set(references) == {"R000001"}
    assert (queries.dtype, references.dtype) == ("<U6", "<U7")


def test_small_files_do_not_wait_for_pandas(tmp_path):
    code = (
        "import sys, pathlib; from isckit.submission import read_matches;"
        "print(len(read_matches(pathlib.Path(sys.argv[1]))), 'pandas' in sys.modules)"
    )
    for rows, answer in ((3, "3 False"), (200_000, "200000 True")):
        path = tmp_path / "m.csv"
        path.write_text(f"{submission.HEADER}\n" + "".join(f"Q00001,R{k:06d},{k}.5\n" for k in range(rows)))
        assert subprocess.check_output([sys.executable, "-c", code, path], text=True).strip() == answer


def side(role: Role, ids: list[str], dim: int = 4, seed: int = 0) -> Embeddings:
    vectors = np.random.default_rng(seed).normal(size=(len(ids), dim)).astype(np.float32)
    return Embeddings.whole(role, np.array(ids), vectors)


QUERIES = side(Role.QUERY, ["Q00002", "Q00000", "Q00001"])
REFERENCES = side(Role.REFERENCE, ["R000000", "R000001", "R000005", "R000003"], seed=1)


def test_descriptor_file_has_the_official_layout(tmp_path, monkeypatch):
    monkeypatch.setattr(submission, "BLOCK", 2)  # several blocks, one of them partial
    path = tmp_path / "d.h5"
    write_descriptors(path, QUERIES, REFERENCES)
    with h5py.File(path) as file:
        assert set(file) == {"query", "reference", "query_ids", "reference_ids"}
        assert (file["query_ids"].dtype, file["reference_ids"].dtype) == (np.dtype("S6"), np.dtype("S7"))
        assert file["query_ids"][:].tolist() == [b"Q00000", b"Q00001", b"Q00002"]
        assert file["reference_ids"][:].tolist() == [b"R000000", b"R000001", b"R000003", b"R000005"]
        assert all(file[name].dtype == np.float32 and file[name].chunks is None for name in ("query", "reference"))
        assert np.array_equal(file["query"][:], QUERIES.vectors[[1, 2, 0]])
        assert np.array_equal(file["reference"][:], REFERENCES.vectors[[0, 1, 3, 2]])


def test_equal_descriptors_give_equal_bytes_in_any_row_order(tmp_path):
    write_descriptors(tmp_path / "a.h5", QUERIES, REFERENCES)
    write_descriptors(tmp_path / "b.h5", QUERIES.take(np.array([2, 0, 1])), REFERENCES.take(np.array([3, 2, 1, 0])))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_descriptors_round_trip_whole_and_lazily(tmp_path):
    path, again = tmp_path / "d.h5", tmp_path / "again.h5"
    write_descriptors(path, QUERIES, REFERENCES)
    queries, references = read_descriptors(path)
    assert (queries.role, references.role) == (Role.QUERY, Role.REFERENCE)
    assert queries.ids.tolist() == ["Q00000", "Q00001", "Q00002"]
    assert np.array_equal(references.vectors, REFERENCES.vectors[[0, 1, 3, 2]])
    with open_descriptors(path) as (lazy_queries, lazy_references):
        assert isinstance(lazy_references.vectors, h5py.Dataset)
        assert np.array_equal(lazy_queries.vectors[1:2], queries.vectors[1:2])
        write_descriptors(again, lazy_queries, lazy_references)
    assert again.read_bytes() == path.read_bytes()


def test_names_of_a_users_own_folder_widen_the_ids(tmp_path):
    write_descriptors(tmp_path / "d.h5", side(Role.QUERY, ["plage-été-2019"]), side(Role.REFERENCE, ["b", "a"]))
    queries, references = read_descriptors(tmp_path / "d.h5")
    assert (queries.ids.tolist(), references.ids.tolist()) == (["plage-été-2019"], ["a", "b"])


def broken(vectors: Embeddings) -> Embeddings:
    values = vectors.vectors.copy()
    values[-1, 0] = np.inf
    return vectors.with_vectors(values)


@pytest.mark.parametrize(
    ("queries", "references", "message"),
    [
        (side(Role.QUERY, ["Q00000"], 5), REFERENCES, "query of 5 floats and reference of 4 floats"),
        (side(Role.QUERY, ["Q00000"], 257), side(Role.REFERENCE, ["R000000"], 257), "257 floats"),
        (side(Role.TRAIN, ["T000000"]), REFERENCES, "train of 4 floats"),
        (REFERENCES, QUERIES, "reference of 4 floats and query"),
        (side(Role.QUERY, ["Q00001", "Q00000", "Q00001"]), REFERENCES, "1 query ids occur twice: Q00001"),
        (QUERIES, broken(REFERENCES), "NaN or inf: R000003"),
    ],
)
def test_unfit_descriptors_are_refused_and_nothing_is_written(tmp_path, queries, references, message):
    with pytest.raises(BadInput) as caught:
        write_descriptors(tmp_path / "d.h5", queries, references)
    assert message in caught.value.seen
    assert list(tmp_path.iterdir()) == []


def spoil(path: Path, name: str, value) -> None:
    with h5py.File(path, "a") as file:
        del file[name]
        if value is not None:
            file[name] = value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("query", None),
        ("reference_ids", None),
        ("query", np.zeros(3, "f4")),
        ("query", np.zeros((3, 4), "f8")),
        ("query", np.zeros((2, 4), "f4")),
        ("query_ids", np.arange(3)),
        ("query_ids", np.array([b"\xff", b"a", b"b"])),
    ],
)
def test_descriptor_file_of_another_form_is_refused(tmp_path, name, value):
    path = tmp_path / "d.h5"
    write_descriptors(path, QUERIES, REFERENCES)
    spoil(path, name, value)
    with pytest.raises(BadInput):
        read_descriptors(path)


def test_absent_truncated_and_foreign_files_are_told_apart(tmp_path):
    path = tmp_path / "d.h5"
    with pytest.raises(MissingInput):
        read_descriptors(path)
    write_descriptors(path, QUERIES, REFERENCES)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(BadInput, match="cannot be read as HDF5"):
        read_descriptors(path)


def test_variable_length_ids_are_read_too(tmp_path):
    path = tmp_path / "d.h5"
    write_descriptors(path, QUERIES, REFERENCES)
    spoil(path, "query_ids", ["Q00000", "Q00001", "Q00002"])
    assert read_descriptors(path)[0].ids.tolist() == ["Q00000", "Q00001", "Q00002"]


def test_what_goes_wrong_beside_a_file_of_descriptors_is_not_told_of_it(tmp_path):
    sides = [
        Embeddings.whole(role, np.array([name]), np.ones((1, 4), np.float32))
        for role, name in ((Role.QUERY, "Q00000"), (Role.REFERENCE, "R000000"))
    ]
    write_descriptors(tmp_path / "d.h5", *sides)
    for fault in (KeyError("own"), BadInput(seen="own", allowed="own", remedy="own")):
        with pytest.raises(type(fault)) as told, open_descriptors(tmp_path / "d.h5"):
            raise fault
        assert told.value is fault
