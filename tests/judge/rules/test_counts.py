import json

import pytest

from isckit.judge.ledger import record, report
from isckit.judge.rules.examine import submission_count
from isckit.judge.rules.finding import Case
from isckit.runs.artifacts import write_text
from isckit.runs.workspace import Workspace
from isckit.types import BadInput


@pytest.fixture
def case(tmp_path):
    workspace = Workspace(tmp_path)
    for phase in (1, 2):
        write_text(workspace.descriptors(phase, "run"), f"descriptors of {phase}")
        write_text(workspace.matches(phase, "run"), f"matches of {phase}")
    return Case(workspace, 2, "run")


def hand_in(case, track="descriptor", *, phase=2, name="run"):
    return record(case.workspace, phase=phase, name=name, track=track)


def judge(case):
    finding = submission_count(case)
    assert finding.level == "declared"
    return finding.status, finding.detail


def test_no_ledger_is_no_hand_in(case):
    assert judge(case) == ("passed", "")
    assert submission_count(case).examined == "no hand-in recorded"


def test_three_hand_ins_a_track_pass_and_any_number_in_phase_1(case):
    for _ in range(3):
        hand_in(case, "descriptor")
        hand_in(case, "matching")
        hand_in(case, phase=1)
    report(case.workspace, 1, reported=0.5)
    hand_in(case, phase=1)
    assert judge(case) == ("passed", "")
    examined = submission_count(case).examined
    assert "4 hand-ins in phase 1, where no limit is documented, 6 in phase 2" in examined


def test_a_fourth_phase_2_hand_in_written_past_the_kit_fails(case):
    for _ in range(3):
        entry = hand_in(case, "descriptor")
        hand_in(case, "matching")
    lines = case.workspace.ledger.read_text().splitlines()
    fourth = json.loads(lines[0]) | {"number": 7, "time": entry.time}
    case.workspace.ledger.write_text("\n".join([*lines, json.dumps(fourth)]) + "\n")
    assert judge(case) == (
        "failed", "4 phase-2 hand-ins of the descriptor track (entries 1, 3, 5, 7), 3 are allowed"
    )  # fmt: skip


def test_a_removed_hand_in_fails(case):
    hand_in(case)
    hand_in(case)
    case.workspace.ledger.write_text(case.workspace.ledger.read_text().splitlines()[1] + "\n")
    assert judge(case) == ("failed", "entries are numbered 2, not from 1 to 1")


def test_an_unreadable_ledger_is_refused(case):
    case.workspace.ledger.write_text("no JSON\n")
    with pytest.raises(BadInput, match="line 1"):
        submission_count(case)


@pytest.mark.parametrize(("track", "file"), [("descriptor", "descriptors.h5"), ("matching", "matching.csv")])
def test_a_submission_changed_or_removed_after_it_was_handed_in_fails(case, track, file):
    hand_in(case, track)
    path = case.folder / file
    path.write_text("better")
    status, detail = judge(case)
    assert status == "failed" and detail.startswith(f"{file} was changed after entry 1: ")
    path.unlink()
    assert judge(case) == ("failed", f"{file} is gone, handed in as entry 1")


def test_only_the_last_hand_in_of_the_very_submission_must_be_what_lies_there(case):
    write_text(case.workspace.descriptors(2, "other"), "other")
    hand_in(case)
    hand_in(case, name="other")
    hand_in(case, phase=1)
    case.workspace.descriptors(2, "other").write_text("changed")
    case.workspace.descriptors(1, "run").write_text("changed")
    assert judge(case)[0] == "passed"
    case.workspace.descriptors(2, "run").write_text("second")
    hand_in(case)
    assert judge(case)[0] == "passed"
