import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from isckit.judge.ledger import entries, hand_ins, record, report, table, verify
from isckit.runs.artifacts import file_digest, write_json, write_text
from isckit.runs.workspace import SCORE, Workspace
from isckit.types import BadInput, MissingInput, RuleViolation


@pytest.fixture
def workspace(tmp_path):
    workspace = Workspace(tmp_path)
    for phase in (1, 2):
        write_text(workspace.descriptors(phase, "run"), f"descriptors of {phase}")
        write_text(workspace.matches(phase, "run"), f"matches of {phase}")
    return workspace


def fill(workspace, n):
    for k in range(n):
        record(workspace, phase=1, name="run", track="matching", note=str(k))
    return workspace.ledger.read_text().splitlines()


def rewrite(workspace, lines):
    workspace.ledger.write_text("".join(line + "\n" for line in lines))


# --- what is written


def test_a_hand_in_records_the_file_as_it_stands(workspace):
    path = workspace.descriptors(2, "run")
    record(workspace, phase=2, name="run", track="descriptor", reported=0.6354, recall=0.55, note="first")
    entry = entries(workspace.ledger)[0]
    assert (entry.number, entry.phase, entry.track, entry.name) == (1, 2, "descriptor", "run")
    assert (entry.sha256, entry.bytes) == (file_digest(path), path.stat().st_size)
    assert (entry.reported, entry.recall, entry.note, entry.of) == (0.6354, 0.55, "first", None)
    assert entry.time.endswith("+00:00")


def test_a_score_may_come_later_and_the_hand_in_stays_as_it_was_written(workspace):
    first = fill(workspace, 2)
    report(workspace, 1, reported=0.5)
    report(workspace, 1, recall=0.25, note="corrected")
    lines = entries(workspace.ledger)
    assert workspace.ledger.read_text().splitlines()[:2] == first
    assert [(e.number, e.of) for e in lines] == [(1, None), (2, None), (3, 1), (4, 1)]
    handed = hand_ins(lines)
    assert [(e.number, e.reported, e.recall, e.note) for e in handed] == [
        (1, 0.5, 0.25, "corrected"),
        (2, None, None, "1"),
    ]
    assert verify(workspace.ledger) == []


def test_a_report_on_no_hand_in_is_refused(workspace):
    with pytest.raises(MissingInput, match=r"no .*ledger\.jsonl"):
        report(workspace, 1, reported=0.5)
    fill(workspace, 1)
    report(workspace, 1, reported=0.5)
    with pytest.raises(BadInput, match="hand-in 2"):
        report(workspace, 2, reported=0.5)


def test_no_file_no_track_and_no_such_score_are_refused_and_nothing_is_written(workspace):
    for arguments, error in [
        ({"phase": 1, "name": "nobody", "track": "matching"}, MissingInput),
        ({"phase": 1, "name": "run", "track": "both"}, BadInput),
        ({"phase": 3, "name": "run", "track": "matching"}, BadInput),
        ({"phase": 1, "name": "run", "track": "matching", "reported": 63.54}, BadInput),
        ({"phase": 1, "name": "run", "track": "matching", "recall": float("nan")}, BadInput),
    ]:
        with pytest.raises(error):
            record(workspace, **arguments)
    assert not workspace.ledger.exists() and entries(workspace.ledger) == [] and verify(workspace.ledger) == []


# --- the limit


def test_the_fourth_phase_2_hand_in_of_a_track_is_refused_and_no_other(workspace):
    write_text(workspace.descriptors(2, "other"), "x")
    for name in ("run", "other", "run"):
        record(workspace, phase=2, name=name, track="descriptor")
        report(workspace, 1, reported=0.5)
    before = workspace.ledger.read_bytes()
    with pytest.raises(RuleViolation, match=r"descriptor track in phase 2, after entries 1, 3, 5"):
        record(workspace, phase=2, name="other", track="descriptor")
    assert workspace.ledger.read_bytes() == before
    record(workspace, phase=2, name="run", track="matching")
    for _ in range(5):
        record(workspace, phase=1, name="run", track="descriptor")
    assert verify(workspace.ledger) == []


def test_hand_ins_at_the_same_time_lose_no_line_and_keep_the_limit(workspace):
    def attempt(k):
        try:
            return record(workspace, phase=2, name="run", track="descriptor" if k % 2 else "matching").number
        except RuleViolation:
            return None

    with ThreadPoolExecutor(8) as pool:
        numbers = [number for number in pool.map(attempt, range(16)) if number]
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6] and verify(workspace.ledger) == []


# --- what tampering shows


@pytest.mark.parametrize("gone", [(1,), (2,), (2, 3)])
def test_removed_entries_leave_a_gap(workspace, gone):
    lines = fill(workspace, 4)
    rewrite(workspace, [line for number, line in enumerate(lines, 1) if number not in gone])
    left = [number for number in range(1, 5) if number not in gone]
    assert verify(workspace.ledger) == [f"entries are numbered {', '.join(map(str, left))}, not from 1 to {len(left)}"]


def test_moved_repeated_and_invented_entries_are_noticed(workspace):
    one, two, three = fill(workspace, 3)
    rewrite(workspace, [one, three, two])
    assert verify(workspace.ledger) == ["entries are numbered 1, 3, 2, not from 1 to 3"]
    rewrite(workspace, [one, two, two, three])
    assert verify(workspace.ledger) == ["entries are numbered 1, 2, 2, 3, not from 1 to 4"]
    rewrite(workspace, [one, json.dumps(json.loads(two) | {"number": 10**12})])
    assert verify(workspace.ledger) == [f"entries are numbered 1, {10**12}, not from 1 to 2"]


@given(st.lists(st.integers(0, 3), max_size=6))
@settings(max_examples=60, deadline=None)
def test_any_other_order_or_choice_of_lines_but_a_shorter_ledger_is_noticed(tmp_path_factory, chosen):
    workspace = Workspace(tmp_path_factory.mktemp("ledger"))
    write_text(workspace.matches(1, "run"), "x")
    lines = fill(workspace, 4)
    rewrite(workspace, [lines[k] for k in chosen])
    assert (verify(workspace.ledger) == []) == (chosen == list(range(len(chosen))))


@pytest.mark.parametrize("line", ["", "no JSON", "[]", '{"number": 2}', '{"number": "2"}'])
def test_lines_that_are_no_entries_are_named(workspace, line):
    one, _, three = fill(workspace, 3)
    rewrite(workspace, [one, line, three])
    for look in (verify, entries):
        with pytest.raises(BadInput, match=r"line 2|entry 2"):
            look(workspace.ledger)


def test_a_line_of_another_form_is_named(workspace):
    (one,) = fill(workspace, 1)
    rewrite(workspace, [json.dumps(json.loads(one) | {"track": "both"})])
    for look in (verify, entries):
        with pytest.raises(BadInput, match="entry 1: track = 'both'"):
            look(workspace.ledger)


def test_nothing_is_added_to_a_broken_ledger(workspace):
    lines = fill(workspace, 2)
    rewrite(workspace, lines[1:])
    for act in (
        lambda: record(workspace, phase=1, name="run", track="matching"),
        lambda: report(workspace, 2, reported=0.5),
    ):
        with pytest.raises(BadInput, match="numbered 2, not from 1 to 1"):
            act()
    assert workspace.ledger.read_text().splitlines() == lines[1:]


# --- the table and the verbs


def test_the_table_sets_local_scores_beside_reported_ones_of_the_same_file_only(workspace):
    def scored(digest):
        figures = {"average_precision": 0.61234, "recall_at_p90": 0.51, "inputs": {"descriptors.h5": digest}}
        write_json(workspace.submission(2, "run") / SCORE, {"descriptor": figures})
        return [line.split() for line in table(workspace).splitlines()]

    record(workspace, phase=2, name="run", track="descriptor", reported=0.6354, recall=0.55)
    digest = file_digest(workspace.descriptors(2, "run"))
    head, row, *last = scored(digest)
    assert row[2:5] == ["2", "descriptor", "run"] and row[5] == digest[:12]
    assert head[-5:] == ["uAP", "reported", "R@P90", "reported", "note"]
    assert row[6:] == ["0.6123", "0.6354", "0.5100", "0.5500"]
    assert scored("0" * 64)[1][6:] == ["-", "0.6354", "-", "0.5500"]
    assert " ".join(last[0]) == "phase 2: descriptor 1 of 3, matching 0 of 3; phase 1: no limit is documented"


@pytest.fixture
def app():
    from isckit.cli.judging import ledger_add, ledger_report, ledger_show

    app = typer.Typer()
    for verb in (ledger_add, ledger_report, ledger_show):
        app.command(verb.__name__)(verb)
    return app


def test_the_verbs_add_report_and_show(workspace, app):
    from typer.testing import CliRunner

    def call(*arguments):
        return CliRunner().invoke(app, [str(a) for a in arguments])

    root = ["--root", workspace.root]
    folder = workspace.submission(2, "run")
    for _ in range(3):
        assert call("ledger_add", folder, "--track", "matching", "--note", "a b").exit_code == 0
    refused = call("ledger_add", folder, "--track", "matching")
    assert refused.exit_code == 2 and "hand-in 4" in refused.output
    assert call("ledger_report", 2, "--reported", 0.6354, *root).exit_code == 0
    shown = call("ledger_show", *root)
    assert shown.exit_code == 0 and "0.6354" in shown.output.splitlines()[2] and "a b" in shown.output
    rewrite(workspace, workspace.ledger.read_text().splitlines()[1:])
    broken = call("ledger_show", *root)
    assert broken.exit_code == 1 and "FAULT: entries are numbered" in broken.output
