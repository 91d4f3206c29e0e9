"""Pipelines that break a rule while every record of theirs says that they keep it: caught by experiment."""

import hashlib
import json
import shlex
import subprocess

import h5py
import numpy as np
import pytest
from chain import verbs
from starting import by_zygote, kit_command

from isckit.cli.main import main
from isckit.data.images import decode
from isckit.data.layouts import open_disc
from isckit.judge.rules.experiments import trials
from isckit.judge.rules.experiments.contestant import INFER, TRAIN
from isckit.judge.rules.finding import Case, Probe
from isckit.judge.rules.fitting import fitted_on_train
from isckit.judge.rules.independence import independent_descriptors, independent_pairs
from isckit.judge.rules.training import no_augmentation
from isckit.runs.meter import machine
from isckit.runs.workspace import Workspace
from isckit.types import BadInput

pytestmark = pytest.mark.usefixtures("zygote")


def make_again(root, mini, cheat, *, steps):
    """Let the cheat do some verbs of phase 1 again, from the first of them on."""
    chain = {verb[0]: verb for verb in verbs(root, mini, phase=1)}
    made = {"fit": ["checkpoints/run/ensemble.npz", "checkpoints/run/bank.h5"]}
    for step, file in (("descriptor", "descriptors.h5"), ("matching", "matching.csv")):
        made[step] = [f"submissions/phase1/run/{file}"]
    for step in steps:
        for file in made[step]:
            (root / file).unlink()
    for step in steps:
        subprocess.run([*shlex.split(kit_command(cheat)), *chain[step]], check=True, capture_output=True)


def failed_rules(root, mini, *, sample):
    folder = root / "submissions/phase1/run"
    commands = ["--pipeline", by_zygote(INFER), "--training", by_zygote(TRAIN)]
    code = main(["check", str(folder), "--data", str(mini), "--sample", str(sample), *commands])
    findings = json.loads((folder / "rules.json").read_text())["rules"]
    assert code == any(finding["status"] == "failed" for finding in findings)
    return {finding["rule"]: finding["detail"] for finding in findings if finding["status"] == "failed"}


def case(root, mini, **probe):
    commands = {"infer": by_zygote(INFER), "train": by_zygote(TRAIN)}
    return Case(Workspace(root), 1, "run", open_disc(mini), probe=Probe(**(commands | {"sample": 8} | probe)))


def test_an_honest_run_passes_every_experiment(copy, mini):
    assert failed_rules(copy, mini, sample=8) == {}
    findings = json.loads((copy / "submissions/phase1/run/rules.json").read_text())["rules"]
    levels = {finding["rule"]: finding["level"] for finding in findings}
    assert {levels[rule] for rule in ("5.1", "5.4", "5.5", "5.5-fit")} == {"sampled"}


# --- the submission was made by a cheat, and the honest kit is handed in as its pipeline


@pytest.mark.parametrize(
    ("cheat", "steps", "rule", "words"),
    [
        ("query_expansion", ["descriptor"], "5.5", "Q0000"),
        ("centred", ["descriptor"], "5.5", "vectors differ"),
        ("rank_among_queries", ["matching"], "5.4", "scores differ"),
        ("one_query_a_reference", ["matching"], "5.4", "left out"),
        ("pca_on_queries", ["fit", "descriptor", "matching"], "5.5-fit", "not the one that train images give"),
    ],
)
def test_a_submission_that_the_pipeline_does_not_give_breaks_just_one_rule(copy, mini, cheat, steps, rule, words):
    make_again(copy, mini, cheat, steps=steps)
    assert failed_rules(copy, mini, sample=0) == {}  # by its records it is honest
    programs = {"5.4": independent_pairs, "5.5": independent_descriptors}
    programs |= {"5.5-fit": fitted_on_train} if rule == "5.5-fit" else {}
    one = case(copy, mini)
    found = {number: program(one) for number, program in programs.items()}
    assert {number for number, finding in found.items() if finding.status == "failed"} == {rule}
    assert words in found[rule].detail


# --- the cheat hands in its own pipeline, which gives the submitted values for the whole set


@pytest.mark.parametrize("cheat", ["query_expansion", "centred"])
def test_descriptors_that_depend_on_others_change_in_the_experiments(copy, mini, cheat):
    make_again(copy, mini, cheat, steps=["descriptor"])
    finding = independent_descriptors(case(copy, mini, infer=by_zygote(INFER, cheat)))
    assert finding.status == "failed" and "half of the others removed" in finding.detail
    assert "alone" in finding.detail


@pytest.mark.parametrize("cheat", ["rank_among_queries", "one_query_a_reference"])
def test_pairs_that_depend_on_others_change_in_the_experiments(copy, mini, cheat):
    make_again(copy, mini, cheat, steps=["matching"])
    finding = independent_pairs(case(copy, mini, infer=by_zygote(INFER, cheat)))
    assert finding.status == "failed"


def test_crops_of_references_in_training_are_seen_although_no_record_says_so(done, mini):
    finding = no_augmentation(case(done, mini, train=by_zygote(TRAIN, "cropped_references")))
    assert finding.status == "failed"
    assert "training opened" in finding.detail and "R0000" in finding.detail
    assert "other weights when there are no queries and references" in finding.detail


def test_references_that_change_from_pass_to_pass_are_seen(done, mini):
    finding = no_augmentation(case(done, mini, train=by_zygote(TRAIN, "unsteady_references")))
    assert finding.status == "failed" and "another form each pass" in finding.detail


def test_a_training_that_comes_out_different_each_time_hides_nothing(done, mini):
    finding = no_augmentation(case(done, mini, train=by_zygote(TRAIN, "another_training_each_time")))
    gpu = "gpus" in machine()  # where equal trainings may differ by rounding, and weights say nothing
    assert finding.status == ("passed" if gpu else "failed")
    assert "two equal trainings" in (finding.examined if gpu else finding.detail)


@pytest.mark.parametrize(
    ("cheat", "key", "words"),
    [
        ("looked_up_by_bytes", lambda data: data, "ids and files changed"),
        ("looked_up_by_pixels", lambda data: decode(data, name="").tobytes(), "pixels one level off"),
    ],
)
def test_vectors_looked_up_by_a_hash_of_each_image_are_not_those_of_other_files(
    copy, mini, monkeypatch, tmp_path, cheat, key, words
):
    path, disc, truth = copy / "submissions/phase1/run/descriptors.h5", open_disc(mini), {}
    with h5py.File(path, "r+") as file:
        ids = [name.decode() for name in file["reference_ids"][()]]
        for row in range(len(disc.queries)):  # each gets the vector of some reference, as labels would tell
            vector = file["reference"][ids.index(str(disc.references.ids[row % len(ids)]))]
            file["query"][row] = truth[hashlib.sha256(key(disc.queries.read(row))).hexdigest()] = vector
    np.savez(tmp_path / "table.npz", **truth)
    monkeypatch.setenv("TABLE", str(tmp_path / "table.npz"))
    finding = independent_descriptors(case(copy, mini, infer=by_zygote(INFER, cheat)))
    assert finding.status == "failed" and words in finding.detail
    assert "alone" not in finding.detail  # all other experiments show files that the table knows


def test_the_sample_meets_queries_without_rows_as_often_as_with_and_says_its_power(copy, mini):
    path = copy / "submissions/phase1/run/matching.csv"
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, *(row for row in rows if int(row[1:6]) % 2)]) + "\n")
    one = case(copy, mini, sample=8)
    whole = trials.trials(one)[0]
    numbers = [int(name[1:]) for name in whole.queries.ids]
    assert len(numbers) == 8 and sum(number % 2 for number in numbers) == 4
    finding = independent_pairs(one)
    assert finding.status == "failed" and "left out" in finding.detail
    # Eight of the sixteen queries have rows; one of these was drawn at random, beside three of the best rows.
    assert trials.sample(one).power == pytest.approx(1 - (1 - 0.05 * 16 / 8) ** 1)
    assert "on 8 queries (10% to meet a fault of 5% of all)" in finding.examined
    # As many as are needed of 0.9 ** n <= 0.05: 29 of each kind, so all that there are.
    assert len(trials.sample(case(copy, mini, sample=None)).queries.rows) == 16


@pytest.mark.parametrize(("share", "least"), [(0.04, 1), (0.1, 5), (0.5, 29), (0.9, 53), (1.0, 59)])
def test_a_sample_grows_until_a_fault_is_met_by_a_chance_of_95_percent(share, least):
    size, whole = round(share * 1000), 1000
    needed = trials._needed(size, whole)
    assert trials._power(size, needed, whole) >= 0.95 and needed == least
    assert needed == 1 or trials._power(size, needed - 1, whole) < 0.95


def test_a_pipeline_that_fails_is_reported_with_its_last_words(done, mini):
    with pytest.raises(BadInput, match="nonexistent"):
        independent_pairs(case(done, mini, infer="cat /nonexistent/{queries}", sample=4))


@pytest.mark.parametrize(("cheat", "code"), [(None, 0), ("centred", 1)])
def test_a_foreign_file_is_judged_by_its_own_pipeline(copy, mini, capsys, cheat, code):
    if cheat:
        make_again(copy, mini, cheat, steps=["descriptor"])
    words = by_zygote(INFER, cheat or "honest").format(
        name="run", root=copy, queries="{queries}", references="{references}", out="{out}", batch="{batch}"
    )
    file = (copy / "submissions/phase1/run/descriptors.h5").rename(copy / "theirs.h5")
    options = ["--foreign", "--phase", "1", "--data", str(mini), "--sample", "6"]
    assert main(["check", str(file), *options, "--pipeline", words]) == code
    out = capsys.readouterr().out
    assert ("FAILED   5.5 " in out) == bool(cheat) and "passed   5.7" in out and "unknown  5.1 " in out
    if not cheat:
        assert "passed   5.5 " in out and "sampled" in out
