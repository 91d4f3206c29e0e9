import shutil

import h5py
import numpy as np
import pytest
from frozen_run import describe, finished_run, reseal

from isckit.judge.freeze import freeze, read_freeze
from isckit.judge.rules.examine import frozen
from isckit.judge.rules.finding import Case
from isckit.runs.artifacts import environment, write_text
from isckit.runs.workspace import Workspace
from isckit.types import BadInput


@pytest.fixture
def case(tmp_path):
    workspace = finished_run(tmp_path)
    freeze(workspace, "run")
    describe(workspace, 2)
    return Case(workspace, 2, "run")


def change(case, part):
    path = getattr(case.workspace, part)("run")
    path.write_bytes(path.read_bytes() + b"\n")


def assert_fails_with(case, *problems):
    finding = frozen(case)
    assert (finding.status, finding.level) == ("failed", "proven")
    assert finding.detail.split("; ") == list(problems)


def test_phase_1_has_nothing_to_equal(case):
    finding = frozen(Case(case.workspace, 1, "run"))
    assert (finding.status, finding.level, finding.examined) == ("passed", "proven", "not asked for in phase 1")


def test_an_unchanged_phase_2_passes_and_says_what_was_compared(case):
    finding = frozen(case)
    assert (finding.status, finding.level) == ("passed", "proven"), finding
    time = read_freeze(case.workspace.freeze("run"))["time"]
    assert all(word in finding.examined for word in ("code files", "recomputed from descriptors.h5", time))
    assert "nobody else holds" in finding.detail


@pytest.mark.parametrize(("part", "word"), [("weights", "weights"), ("ensemble", "PCA"), ("bank", "bank")])
def test_a_changed_part_is_named(case, part, word):
    change(case, part)
    assert_fails_with(case, f"{word} changed")


def test_a_changed_recipe_value_is_named(case):
    path = case.workspace.recipe("run")
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 2'))
    assert_fails_with(case, "recipe value seed: 1 there, 2 now")


def test_changed_code_and_packages_are_named(case):
    reseal(case.workspace.freeze("run"), code={"types.py": "0"}, environment={"numpy": "1.0"})
    assert_fails_with(case, "code file types.py changed", f"package numpy 1.0 there, {environment()['numpy']} now")


def test_other_reference_vectors_are_found_in_the_file_itself_whatever_its_receipt_says(case):
    with h5py.File(case.workspace.descriptors(2, "run"), "r+") as file:
        file["reference"][0, 0] = np.nextafter(file["reference"][0, 0], np.float32(9))
    assert_fails_with(case, "reference descriptors differ")


def test_an_edited_freeze_is_noticed(case):
    path = case.workspace.freeze("run")
    path.write_text(path.read_text().replace('"time": "2', '"time": "1'))
    assert_fails_with(case, "freeze.json was edited: its seal does not fit its content")


def test_a_freeze_made_anew_does_not_pass_for_the_deposited_one(case, tmp_path):
    deposited = shutil.copy(case.workspace.freeze("run"), tmp_path / "deposited.json")
    change(case, "weights")
    case.workspace.descriptors(2, "run").unlink()
    freeze(case.workspace, "run")
    describe(case.workspace, 2)
    assert frozen(case).status == "passed"
    assert_fails_with(Case(case.workspace, 2, "run", against=deposited), "weights changed")


def test_a_deposited_freeze_is_named_with_its_seal(case, tmp_path):
    deposited = shutil.copy(case.workspace.freeze("run"), tmp_path / "deposited.json")
    case.workspace.freeze("run").unlink()
    finding = frozen(Case(case.workspace, 2, "run", against=deposited))
    assert finding.status == "passed" and finding.detail == f"seal {read_freeze(deposited)['seal']}"
    assert "deposited.json" in finding.examined


def test_a_missing_freeze_fails(case):
    case.workspace.freeze("run").unlink()
    finding = frozen(case)
    assert (finding.status, finding.level) == ("failed", "none") and "freeze.json" in finding.examined


def test_a_foreign_freeze_is_refused(case):
    case.workspace.freeze("run").write_text('{"weights": "0"}')
    with pytest.raises(BadInput, match="no record that this kit writes"):
        frozen(case)


def test_pairs_alone_have_no_references_to_compare_and_the_finding_says_so(case):
    case.workspace.descriptors(2, "run").unlink()
    write_text(case.workspace.matches(2, "run"), "query_id,reference_id,score\n")
    finding = frozen(case)
    assert finding.status == "passed" and "no reference descriptors" in finding.examined


def test_a_whole_run_through_both_phases_passes(done):
    assert frozen(Case(Workspace(done), 2, "run")).status == "passed"
