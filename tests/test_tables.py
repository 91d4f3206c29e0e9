"""Records as tables of pandas, and tables of studies as Markdown."""

import dataclasses
import io
import math

import numpy as np
import pandas as pd

from isckit.data.ground_truth import read_ground_truth
from isckit.judge.score.score import score_halves, score_matches
from isckit.studies.tables import markdown
from isckit.submission import read_matches
from isckit.types import Embeddings, GroundTruth, Matches, Role

MATCHES = Matches(
    np.array(["Q00001", "Q00000", "Q30000"]), np.array(["R000002", "R000001", "R000003"]), np.array([0.1, -1e-7, 3.0])
)
TRUTH = GroundTruth(
    np.array(["Q30000", "Q00001", "Q00001"]),
    np.array(["R000003", "R000002", "R000005"]),
    np.array(["Q00000", "Q00001", "Q30000"]),
)


def test_embeddings_are_found_by_id_and_view_and_are_a_copy():
    vectors = np.arange(8, dtype=np.float32).reshape(4, 2)
    views = np.array([1, 0, 0, 1], np.int16)
    table = Embeddings(Role.QUERY, np.array(["a", "a", "b", "b"]), vectors, ("whole", "flip"), views).to_pandas()
    assert table.index.names == ["id", "view"] and set(table.dtypes) == {np.dtype("float32")}
    assert table.loc[("a", "whole")].tolist() == [2, 3] and table.loc[("b", "flip")].tolist() == [6, 7]
    assert np.array_equal(table.to_numpy(), vectors)
    table.iloc[0, 0] = 9
    assert vectors[0, 0] == 0


def test_matches_written_by_pandas_are_the_official_format(tmp_path):
    table = MATCHES.to_pandas()
    assert table["score"].dtype == np.float64 and len(table) == 3
    table.to_csv(tmp_path / "m.csv", index=False)
    back = read_matches(tmp_path / "m.csv")
    assert back.query_ids.tolist() == MATCHES.query_ids.tolist()
    assert back.reference_ids.tolist() == MATCHES.reference_ids.tolist()
    assert back.scores.tobytes() == MATCHES.scores.tobytes()


def test_ground_truth_has_its_pairs_and_then_its_distractors(tmp_path):
    table = TRUTH.to_pandas()
    assert table["query_id"].tolist() == ["Q30000", "Q00001", "Q00001", "Q00000"]
    assert table["reference_id"].isna().tolist() == [False, False, False, True]
    table.to_csv(tmp_path / "t.csv", index=False)
    back = read_ground_truth(tmp_path / "t.csv")
    for name in ("query_ids", "reference_ids", "listed_queries"):
        assert getattr(back, name).tolist() == getattr(TRUTH, name).tolist()


def test_empty_records_keep_their_columns():
    none = np.array([], str)
    assert list(Matches(none, none, np.zeros(0)).to_pandas()) == ["query_id", "reference_id", "score"]
    assert list(GroundTruth(none, none, none).to_pandas()) == ["query_id", "reference_id"]
    assert Embeddings.whole(Role.TRAIN, none, np.zeros((0, 3), np.float32)).to_pandas().shape == (0, 3)


def test_a_report_has_a_row_for_the_whole_and_one_for_each_slice():
    report = score_matches(MATCHES, TRUTH)
    (row,) = report.to_pandas().to_dict("records")
    assert row["average_precision"] == report.average_precision and row["n_pos"] == 3
    assert row["protocol.candidates"] == report.protocol.candidates
    sliced = dataclasses.replace(report, slices=score_halves(MATCHES, TRUTH), inputs={"m.csv": "0"}, interval=(0.1, 1))
    table = sliced.to_pandas()
    assert list(table.index) == ["whole", *sliced.slices] and len(table) > 1
    for name, part in sliced.slices.items():
        assert table.loc[name, "average_precision"] == part.average_precision
    assert {"recall_at_p90", "threshold_at_p90", "rows_kept", "tied_rows", "queries"} <= set(table)
    assert not [name for name in table if name.split(".")[0] in ("slices", "inputs", "curve", "warnings")]


def test_markdown_aligns_numbers_right_and_reads_back():
    table = pd.DataFrame({"system": ["one", "two"], "uAP": [0.25, math.nan], "pairs": [1234, 5]})
    text = markdown(table, {"uAP": "{:.4f}", "pairs": "{:,}"})
    assert text == "| system | uAP | pairs |\n| --- | ---: | ---: |\n| one | 0.2500 | 1,234 |\n| two | - | 5 |\n"
    assert "never" in markdown(table, {}, missing="never")
    back = pd.read_csv(io.StringIO(text), sep=r"\s*\|\s*", engine="python", skiprows=[1]).iloc[:, 1:-1]
    assert back["system"].tolist() == ["one", "two"]
