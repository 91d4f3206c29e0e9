"""A broken twin of a clean submission for each rule, which that rule alone catches. Those of 5.4, 5.5: test_cheats."""

import json
import shutil

import pytest
from spoiled import change_recipe, consume

from isckit.cli.main import main
from isckit.judge.rules.examine import RULES
from isckit.judge.rules.finding import CHECKOUT
from isckit.runs.workspace import Workspace


def augmented_references(root):
    consume(root, "reference", ["R000003"], augmented=True)


def labels_of_the_private_half(root):
    consume(root, "query", ["Q30000"])


def a_table_of_final_queries(root):
    (root / "checkpoints/run/notes.csv").write_text("Q50003,R000001\n")


def a_source_without_licence(root):
    entry = {"name": "photos", "address": "https://example.org", "licence": "", "use": "training images"}
    change_recipe(root, lambda values: values.update(external=[entry | {"version": "", "sha256": ""}]))


def foreign_line_ends(root):
    path = root / "submissions/phase1/run/matching.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def other_weights_in_phase_2(root):
    path = Workspace(root).weights("run")
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")


def no_licence_file(root):
    project = root / "project"
    shutil.copytree(CHECKOUT / "src", project / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("README.md", "THIRD_PARTY.md", "requirements.txt", "pyproject.toml"):
        shutil.copy(CHECKOUT / name, project / name)
    return ["--project", str(project)]


def a_ledger_without_its_first_line(root):
    folder = root / "submissions/phase1/run"
    for track in ("matching", "descriptor"):
        assert main(["ledger", "add", str(folder), "--track", track]) == 0
    ledger = Workspace(root).ledger
    ledger.write_text(ledger.read_text().partition("\n")[2])


TWINS = {
    "5.1": (augmented_references, 1),
    "5.2": (labels_of_the_private_half, 1),
    "5.3": (a_table_of_final_queries, 1),
    "5.6": (a_source_without_licence, 1),
    "5.7": (foreign_line_ends, 1),
    "5.8": (other_weights_in_phase_2, 2),
    "5.9": (no_licence_file, 1),
    "5.10": (a_ledger_without_its_first_line, 1),
}
BY_EXPERIMENT = {"5.4", "5.5", "5.5-fit"}


@pytest.mark.parametrize("number", TWINS)
def test_a_broken_twin_is_caught_by_its_rule_alone(copy, mini, number, capsys):
    spoil, phase = TWINS[number]
    options = spoil(copy) or []
    folder = copy / f"submissions/phase{phase}/run"
    assert main(["check", str(folder), "--data", str(mini), "--sample", "0", *options]) == 1
    findings = json.loads((folder / "rules.json").read_text())
    assert not findings["passed"]
    assert [f["rule"] for f in findings["rules"] if f["status"] == "failed"] == [number]
    assert f"FAILED   {number} " in capsys.readouterr().out


def test_every_rule_has_a_twin_and_every_section_a_rule():
    numbers = {rule.number for rule in RULES}
    assert numbers == TWINS.keys() | BY_EXPERIMENT
    assert {number.split("-")[0] for number in numbers} == {f"5.{section}" for section in range(1, 11)}


def test_no_rule_stops_the_others(copy, mini):
    for spoil, phase in TWINS.values():
        if phase == 1:
            spoil(copy)
    (Workspace(copy).ensemble("run")).write_bytes(b"x")
    folder = copy / "submissions/phase1/run"
    assert main(["check", str(folder), "--data", str(mini), "--sample", "0"]) == 1
    findings = json.loads((folder / "rules.json").read_text())["rules"]
    assert [finding["rule"] for finding in findings] == [rule.number for rule in RULES]
    failed = {finding["rule"] for finding in findings if finding["status"] == "failed"}
    assert {"5.1", "5.2", "5.3", "5.5-fit", "5.6", "5.7", "5.10"} <= failed


def test_without_images_the_table_says_declared(copy):
    folder = copy / "submissions/phase1/run"
    assert main(["check", str(folder)]) == 1  # without images at hand, those of DISC21 are missing
    levels = {f["rule"]: f["level"] for f in json.loads((folder / "rules.json").read_text())["rules"]}
    assert {levels[number] for number in ("5.1", "5.4", "5.5", "5.5-fit")} == {"declared"}
