"""Whatever was fitted, wherever it lies in the checkpoint folder, was fitted on train, and comes out of it again."""

import h5py
import numpy as np
import pytest
from spoiled import case_of, fit_further
from starting import kit_command

from isckit.judge.rules.experiments import trials
from isckit.judge.rules.experiments.contestant import INFER
from isckit.judge.rules.finding import Probe
from isckit.judge.rules.fitting import fitted_on_train
from isckit.runs.artifacts import file_digest, read_receipt, receipt_path, write_json, write_text
from isckit.runs.records import read_json

SPACE = "spaces/views"
THRESHOLD = "thresholds/views.json"


@pytest.fixture
def own(copy):
    """Checkpoint folder of a run with a space and a threshold of its own."""
    fit_further(copy)
    return copy / "checkpoints/run"


def declared(root):
    return fitted_on_train(case_of(root))


def test_further_parts_are_counted_and_pass(copy, own):
    finding = declared(copy)
    assert (finding.status, finding.level) == ("passed", "declared")
    assert finding.examined.startswith("PCA, bank, 3 more fitted files and their receipts")


@pytest.mark.parametrize("part", [SPACE, THRESHOLD])
def test_a_part_fitted_on_references_is_named(copy, own, part):
    path = receipt_path(own / part)
    values = read_json(path)
    values["facts"]["fitted_on"] = "reference"
    write_json(path, values)
    assert (declared(copy).status, declared(copy).detail) == ("failed", f"{part} receipt fitted on reference")


@pytest.mark.parametrize(
    ("part", "files"), [(SPACE, [f"{SPACE}/bank.h5", f"{SPACE}/projection.npz"]), (THRESHOLD, [THRESHOLD])]
)
def test_a_part_without_a_receipt_is_named(copy, own, part, files):
    receipt_path(own / part).unlink()
    assert declared(copy).detail == "; ".join(f"{file}: no receipt says what it was fitted on" for file in files)


def test_a_stray_file_of_numbers_needs_a_receipt_and_a_note_does_not(copy):
    write_text(copy / "checkpoints/run/notes.md", "remember")
    assert declared(copy).status == "passed"
    np.savez(copy / "checkpoints/run/centre.npz", mean=np.zeros(3))
    assert declared(copy).detail == "centre.npz: no receipt says what it was fitted on"


def test_a_submission_made_with_another_part_than_it_says_is_named(copy, own):
    path = receipt_path(copy / "submissions/phase1/run/matching.csv")
    values = read_json(path)
    values["made_from"][THRESHOLD] = file_digest(own / THRESHOLD)
    write_json(path, values)
    assert declared(copy).status == "passed"
    values["made_from"][THRESHOLD] = "0" * 64
    write_json(path, values)
    assert declared(copy).detail == f"matching.csv was made with another {THRESHOLD}"


def test_further_parts_that_train_images_do_not_give_are_named(copy, own, zygote, monkeypatch):
    monkeypatch.setattr(trials, "KIT", kit_command())
    case = case_of(copy, probe=Probe(INFER, None, sample=2))
    finding = fitted_on_train(case)
    assert finding.status == "passed" and ", same bytes" in finding.examined
    with h5py.File(own / SPACE / "bank.h5", "r+") as file:
        name = next(key for key in file if file[key].dtype.kind == "f")
        file[name][3, 2] += 0.5
    threshold = read_json(own / THRESHOLD)
    write_json(
        own / THRESHOLD, {key: value + 1 if isinstance(value, float) else value for key, value in threshold.items()}
    )
    np.savez(own / "centre.npz", mean=np.zeros(3))
    write_json(receipt_path(own / "centre.npz"), read_receipt(own / THRESHOLD))
    finding = fitted_on_train(case)
    assert finding.status == "failed" and "same bytes" not in finding.examined
    told = "is not the one that train images give: "
    assert [words.split(told)[0].strip() for words in finding.detail.split("; ")] == [
        "centre.npz",
        f"{SPACE}/bank.h5",
        THRESHOLD,
    ]
    assert f"centre.npz {told}there is none" in finding.detail
