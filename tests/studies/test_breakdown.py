"""The breakdown by kind of edit against numbers counted by hand, and on a synthetic set from end to end."""

import json

import numpy as np
import pytest

from isckit.cli.tools import breakdown
from isckit.data.ground_truth import read_ground_truth
from isckit.studies.breakdown import EDITS, Cell, break_down, hardest_first, read_edits, system
from isckit.submission import write_descriptors, write_matches
from isckit.types import BadInput, Embeddings, GroundTruth, Matches, MissingInput, Role

TEXTS = range(10, 22)
"""Twelve queries with text on them, all found at the top."""
ROWS = [
    *((q, q, 3.0 - q / 100) for q in TEXTS),
    (0, 0, 0.9),
    (1, 7, 0.85),  # false, above the true row of its query
    (1, 1, 0.8),
    (2, 2, 0.7),  # precision 15/16 here, and never 0.9 again
    (3, 8, 0.6),
    (3, 3, 0.5),
    (6, 6, 0.4),
    (30, 5, 0.3),
]
EDITED = {0: ["crop"], 1: ["crop", "blur"], 2: ["blur"], 3: ["crop", "flip", "crop"], 6: ["flip"], 30: ["invert"]}
EDITED |= {q: ["text"] for q in TEXTS}
TRUE = [0, 1, 2, 3, 4, 6, *TEXTS]
"""Query 4 is an unedited copy, and is not found."""


def ids(letter, numbers):
    return np.array([f"{letter}{number:0{5 if letter == 'Q' else 6}d}" for number in numbers])


@pytest.fixture
def truth():
    return GroundTruth(ids("Q", TRUE), ids("R", TRUE), ids("Q", sorted([*TRUE, 30])))


@pytest.fixture
def matches():
    queries, references, scores = zip(*ROWS, strict=True)
    return Matches(ids("Q", queries), ids("R", references), np.array(scores))


@pytest.fixture
def edits(tmp_path):
    path = tmp_path / "edits.csv"
    lines = ["query_id,phase,step,op,reference_id"]
    for query, ops in EDITED.items():
        reference = f"R{query:06d}" if query in TRUE else ""
        lines += [f"Q{query:05d},1,{step},{op},{reference}" for step, op in enumerate(ops, start=1)]
    lines.append("Q50000,2,1,solarize,R000099")
    path.write_text("\n".join(lines) + "\n")
    return read_edits(path, phase=1)


def test_each_kind_has_the_recalls_counted_by_hand(matches, truth, edits):
    found = system("mine", matches, truth, edits)
    assert found.threshold == 0.7 and found.whole == Cell(18, 15 / 18, 15 / 18)
    assert dict(found.kinds) == {
        "crop": Cell(3, 2 / 3, 1 / 3),
        "blur": Cell(2, 1.0, 0.5),
        "flip": Cell(2, 0.0, 0.5),
        "text": Cell(12, 1.0, 1.0),
        "none": Cell(1, 0.0, 0.0),
    }


def test_each_number_of_edits_has_them_too(matches, truth, edits):
    counts = dict(system("mine", matches, truth, edits).counts)
    assert counts == {"0": Cell(1, 0, 0), "1": Cell(15, 14 / 15, 1.0), "2": Cell(1, 1.0, 0.0), "3": Cell(1, 0.0, 0.0)}


def test_where_the_precision_is_never_reached_nothing_is_found_at_it(truth, edits):
    rows = Matches(ids("Q", [0, 0]), ids("R", [0, 1]), np.array([0.5, 0.5]))
    found = system("mine", rows, truth, edits)
    assert found.threshold is None and found.whole == Cell(18, 0.0, 0.0)


def test_the_hardest_kind_for_all_systems_comes_first(matches, truth, edits):
    nothing = Matches(ids("Q", [30]), ids("R", [5]), np.array([0.3]))
    both = [system("mine", matches, truth, edits), system("none", nothing, truth, edits)]
    assert hardest_first(both) == ["none", "flip", "crop", "blur", "text"]


# --- files and folders


@pytest.fixture
def folders(mini, tmp_path):
    """A submission of phase 1 whose pairs are the true ones, and one of descriptors that find nothing."""
    truth = read_ground_truth(mini / "list_files/dev_ground_truth.csv")
    good, bad = tmp_path / "submissions/phase1/good", tmp_path / "submissions/phase1/bad"
    for folder in (good, bad):
        folder.mkdir(parents=True)
    write_matches(good / "matching.csv", Matches(truth.query_ids, truth.reference_ids, np.ones(len(truth.query_ids))))
    rng = np.random.default_rng(0)
    sides = (truth.listed_queries, ids("R", range(24)))
    described = [
        Embeddings.whole(role, names, rng.normal(size=(len(names), 8)).astype(np.float32))
        for role, names in zip((Role.QUERY, Role.REFERENCE), sides, strict=True)
    ]
    write_descriptors(bad / "descriptors.h5", *described)
    return good, bad


def test_a_synthetic_set_is_broken_down_into_text_values_and_a_picture(mini, folders, tmp_path, capsys):
    out = tmp_path / "by_edit.md"
    breakdown(list(folders), data=mini, out=out)
    text, values = out.read_text(), json.loads(out.with_suffix(".json").read_text())
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG") and text in capsys.readouterr().out
    good, bad = values["systems"]
    assert (good["name"], bad["name"]) == ("good matching", "bad descriptor")
    truth = read_ground_truth(mini / "list_files/dev_ground_truth.csv")
    edits = read_edits(mini / EDITS, phase=1)
    expected = {op: sum(op in edits.kinds[q] for q in truth.query_ids.tolist()) for op in good["kinds"]}
    assert {op: cell["pairs"] for op, cell in good["kinds"].items()} == expected and min(expected.values()) > 0
    assert all(cell["recall_at_p90"] == cell["recall_at_1"] == 1 for cell in good["kinds"].values())
    assert bad["whole"]["recall_at_1"] < 1 and values["true_pairs"] == len(truth.query_ids)
    for op, pairs in expected.items():
        assert f"| {op} | {pairs} | 1.000 | " in text
    assert "by_edit.png" in text


def test_names_that_repeat_are_told_apart_by_their_folders(mini, folders, tmp_path):
    again = tmp_path / "other/good"
    again.mkdir(parents=True)
    (again / "matching.csv").write_bytes((folders[0] / "matching.csv").read_bytes())
    break_down([folders[0], again], data=mini, out=tmp_path / "out.md")
    names = [each["name"] for each in json.loads((tmp_path / "out.json").read_text())["systems"]]
    assert names == [f"{folders[0]} matching", f"{again} matching"]


def test_two_phases_or_another_sets_edits_are_refused(mini, folders, tmp_path):
    late = tmp_path / "late.csv"
    write_matches(late, Matches(ids("Q", [50_000]), ids("R", [0]), np.array([1.0])))
    with pytest.raises(BadInput, match="phases 1, 2"):
        break_down([folders[0], late], data=mini, out=tmp_path / "out.md")
    with pytest.raises(MissingInput, match="no submission"):
        break_down([tmp_path / "nothing"], data=mini, out=tmp_path / "out.md")
    with pytest.raises(BadInput, match=r"out\.txt"):
        break_down(list(folders), data=mini, out=tmp_path / "out.txt")


def test_edits_of_another_set_are_refused(mini, folders, tmp_path):
    import shutil

    data = shutil.copytree(mini, tmp_path / "data")
    truth = read_ground_truth(mini / "list_files/dev_ground_truth.csv")
    query, reference = truth.query_ids[0], truth.reference_ids[0]
    text = (data / EDITS).read_text()
    lines = [line.replace(reference, "R999999") if line.startswith(query) else line for line in text.splitlines()]
    (data / EDITS).write_text("\n".join(lines) + "\n")
    with pytest.raises(BadInput, match=f"other references than the ground truth for {query}"):
        break_down(list(folders), data=data, out=tmp_path / "out.md")
    (data / EDITS).write_text("query_id,op\nQ00000,crop\n")
    with pytest.raises(BadInput, match="header query_id,op"):
        break_down(list(folders), data=data, out=tmp_path / "out.md")
    (data / EDITS).unlink()
    with pytest.raises(MissingInput, match=r"edits\.csv"):
        break_down(list(folders), data=data, out=tmp_path / "out.md")
