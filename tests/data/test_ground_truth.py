"""Ground truth in every form that circulates, and nothing that only looks like one."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isckit.data.ground_truth import disc_numbers, id_codes, phases_of, read_ground_truth, read_query_list
from isckit.types import BadInput, MissingInput

PAIRS = "Q00001,R000007\nQ00003,R000002\n"
WITH_DISTRACTORS = "Q00000,\nQ00001,R000007\nQ00002,\nQ00003,R000002\n"


def save(folder: Path, text: str | bytes) -> Path:
    path = folder / "truth.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def pairs(truth) -> list[tuple[str, str]]:
    return list(zip(truth.query_ids.tolist(), truth.reference_ids.tolist(), strict=True))


@pytest.mark.parametrize("header", ["", "query_id,reference_id\n", "query,reference\n", "Query_ID,Reference_ID\n"])
@pytest.mark.parametrize("form", ["{}", "﻿{}", "crlf", "no final end"])
def test_header_byte_order_mark_and_line_ends_do_not_change_what_is_read(tmp_path, header, form):
    text = header + WITH_DISTRACTORS
    text = {"crlf": text.replace("\n", "\r\n"), "no final end": text.rstrip("\n")}.get(form, form.format(text))
    truth = read_ground_truth(save(tmp_path, text))
    assert pairs(truth) == [("Q00001", "R000007"), ("Q00003", "R000002")]
    assert truth.listed_queries.tolist() == ["Q00000", "Q00001", "Q00002", "Q00003"]


def test_headerless_file_keeps_its_first_row(tmp_path):
    assert pairs(read_ground_truth(save(tmp_path, PAIRS)))[0] == ("Q00001", "R000007")


def test_positives_only_file_takes_its_distractors_from_the_query_list(tmp_path):
    queries = np.array(["Q00003", "Q00001", "Q00009"])
    truth = read_ground_truth(save(tmp_path, PAIRS), queries=queries)
    assert truth.listed_queries.tolist() == ["Q00001", "Q00003", "Q00009"]
    assert len(truth.query_ids) == 2


def test_query_missing_from_the_query_list_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"1 faults: line 2: query Q00003 is not in the query list"):
        read_ground_truth(save(tmp_path, PAIRS), queries=np.array(["Q00001"]))


def test_several_references_of_a_query_are_kept(tmp_path):
    truth = read_ground_truth(save(tmp_path, "Q00001,R000007\nQ00001,R000008\n"))
    assert pairs(truth) == [("Q00001", "R000007"), ("Q00001", "R000008")]
    assert truth.listed_queries.tolist() == ["Q00001"]


def test_folder_with_names_of_its_own_is_accepted(tmp_path):
    truth = read_ground_truth(save(tmp_path, "query_id,reference_id\nholiday_1,beach.v2\ncat,\n"))
    assert pairs(truth) == [("holiday_1", "beach.v2")]
    assert truth.listed_queries.tolist() == ["cat", "holiday_1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Q00001,R000007\nQ00001,R000007\n", "line 2: Q00001,R000007 repeats line 1"),
        ("Q00001,\nQ00001,\n", "line 2: Q00001, repeats line 1"),
        ("Q00001,R000007\nQ00001,\n", "line 2: Q00001 is a distractor here and has a reference in line 1"),
        ("Q00001,\nQ00001,R000007\n", "line 1: Q00001 is a distractor here and has a reference in line 2"),
        ("query_id,reference_id\nQ1,R000007\nQ00002,\n", "line 2: 'Q1' where Q00000 is expected"),
        ("Q00001,T000007\nQ00002,\n", "line 1: 'T000007' where R000000 is expected"),
        ("Q00001,R000007.jpg\nQ00002,\n", "line 1: 'R000007.jpg' where R000000 is expected"),
        ("Q000011,R000007\n", "line 1: 'Q000011' where Q00000 is expected"),
        ("Qoooo1,R000007\nQ00002,\n", "line 1: 'Qoooo1' where Q00000 is expected"),
        ("Q00001,R000007\n\nQ00002,\n", "line 2: 1 columns"),
        ("Q00001,R000007,1.0\nQ00002,\n", "line 1: 3 columns"),
        (",c\n", "line 1: '' where an id is expected"),
    ],
)
def test_malformed_line_is_named(tmp_path, text, message):
    with pytest.raises(BadInput, match=r"1 faults: ") as caught:
        read_ground_truth(save(tmp_path, text))
    assert message in caught.value.seen


def test_names_of_peoples_files_are_read_quoted_or_not(tmp_path):
    truth = read_ground_truth(save(tmp_path, 'query,reference\n"a, b/c d",x [1]\n"say ""hi""",\nplain,"u,v"\n'))
    assert truth.query_ids.tolist() == ["a, b/c d", "plain"] and truth.reference_ids.tolist() == ["x [1]", "u,v"]
    assert truth.listed_queries.tolist() == ["a, b/c d", "plain", 'say "hi"']
    assert read_query_list(save(tmp_path, '"a,b"\nc d\n')).tolist() == ["a,b", "c d"]


@pytest.mark.parametrize("read", [read_ground_truth, read_query_list])
@pytest.mark.parametrize("text", ["Q00020\0,R000001\n", "Q00020,R000001\0\n", "\x07a\n", "a\x0bb\n"])
def test_control_characters_are_refused_by_their_line(tmp_path, read, text):
    with pytest.raises(BadInput, match="line 2 holds the control character"):
        read(save(tmp_path, f"Q00001\n{text}"))


def test_one_cell_that_would_widen_all_rows_beyond_memory_is_refused(tmp_path):
    text = "".join(f"Q{k:05d},R000001\n" for k in range(20_000)) + f"Q99999,{'R' * 20_000}\n"
    with pytest.raises(BadInput, match="a cell of 20,000 characters"):
        read_ground_truth(save(tmp_path, text))


def test_all_faults_are_counted_and_the_first_ten_shown(tmp_path):
    text = "Q00000,R000000\n" + "".join(f"Q{k},R000001\n" for k in range(12)) + "Q00000,R000000\n"
    with pytest.raises(BadInput) as caught:
        read_ground_truth(save(tmp_path, text))
    assert "13 faults" in caught.value.seen
    assert caught.value.seen.count("line ") == 10
    assert "line 11:" in caught.value.seen and "line 12:" not in caught.value.seen


@pytest.mark.parametrize("text", ["", "\n", "query_id,reference_id\n"])
def test_file_without_rows_is_refused(tmp_path, text):
    with pytest.raises(BadInput, match="has no rows"):
        read_ground_truth(save(tmp_path, text))


def test_absent_and_binary_files_are_told_apart(tmp_path):
    with pytest.raises(MissingInput):
        read_ground_truth(tmp_path / "none.csv")
    with pytest.raises(BadInput, match="not UTF-8"):
        read_ground_truth(save(tmp_path, b"\xff\xfe\x00Q"))


def test_query_list_keeps_file_order(tmp_path):
    assert read_query_list(save(tmp_path, "Q00002\r\nQ00001\r\n")).tolist() == ["Q00002", "Q00001"]
    assert read_query_list(save(tmp_path, "query_id\nQ00002\n")).tolist() == ["Q00002"]


@pytest.mark.parametrize("text", ["Q00001\nQ00001\n", "Q00001\nQ2\n", "Q00001,R000001\n", "Q00001\n\nQ00002\n"])
def test_query_list_refuses_repeats_and_other_text(tmp_path, text):
    with pytest.raises(BadInput, match="1 faults"):
        read_query_list(save(tmp_path, text))


@given(
    st.lists(
        st.one_of(st.from_regex(r"[QRT][0-9]{4,7}", fullmatch=True), st.text("QR0123456789/:٣", max_size=8)),
        max_size=20,
    )
)
def test_disc_numbers_agrees_with_the_regular_expression(texts):
    import re

    ids = np.array(texts, str)
    for letter, digits in (("Q", 5), ("R", 6), ("T", 6)):
        grammar = re.compile(rf"{letter}[0-9]{{{digits}}}")
        # Numpy text drops trailing NULs only, which the alphabet above does not hold.
        expected = [int(text[1:]) if grammar.fullmatch(text) else -1 for text in texts]
        assert disc_numbers(ids, letter).tolist() == expected


def test_disc_numbers_across_blocks():
    numbers = np.arange(0, 100_000, 3)
    ids = np.char.mod("Q%05d", numbers)
    ids[20_000] = "Q1"
    assert np.array_equal(np.delete(disc_numbers(ids, "Q"), 20_000), np.delete(numbers, 20_000))
    assert disc_numbers(ids, "Q")[20_000] == -1


def test_phases_of_splits_at_fifty_thousand():
    ids = np.array(["Q00000", "Q49999", "Q50000", "Q99999", "R000001", "cat"])
    assert phases_of(ids).tolist() == [1, 1, 2, 2, 0, 0]


@given(
    st.lists(st.text(min_size=1, max_size=3).filter(lambda t: "\0" not in t), min_size=1),
    st.lists(st.from_regex(r"Q[0-9]{5}", fullmatch=True), min_size=1),
)
def test_codes_are_equal_and_ordered_exactly_as_ids_are(names, disc):
    for columns in ((names, disc), (disc, disc[::-1])):
        arrays = [np.array(column, str) for column in columns]
        ids = np.concatenate(arrays)
        codes = np.concatenate(id_codes("Q", *arrays))
        assert np.array_equal(codes[:, None] < codes[None], ids[:, None] < ids[None])


@pytest.mark.parametrize(
    "header",
    [
        "query_id,ref_id",
        "q,r",
        "query,ref",
        "Query Image ID,Reference Image ID",
        "query_image,db_image",
        '"query","db"',
    ],
)
@pytest.mark.parametrize("rows", ["Q00001,R000002\nQ00003,\n", "a1,b2\nc3,\n"])
def test_a_known_header_is_no_pair(tmp_path, header, rows):
    path = tmp_path / "t.csv"
    path.write_text(f"{header}\n{rows}")
    truth = read_ground_truth(path)
    assert len(truth.query_ids) == 1 and len(truth.listed_queries) == 2


@pytest.mark.parametrize("header", ["image,original", "suspect,match", "left image,right image"])
def test_a_header_that_is_not_known_is_refused(tmp_path, header):
    path = tmp_path / "t.csv"
    path.write_text(f"{header}\nphoto 1.jpg,original 7.jpg\n".replace(" 1", "1").replace(" 7", "7"))
    with pytest.raises(BadInput, match="reads like a header"):
        read_ground_truth(path)


def test_ids_that_are_words_are_no_header(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("apple,pear\nplum,cherry\n")
    assert read_ground_truth(path).query_ids.tolist() == ["apple", "plum"]
