"""Parts of a run beside weights, PCA and bank: found by their place, deposited, and missed when they change."""

import pytest
from frozen_run import finished_run

from isckit.judge.freeze import freeze, read_freeze, require_frozen
from isckit.judge.rules.examine import frozen
from isckit.judge.rules.finding import Case
from isckit.judge.state import described, parts, receipt_of, receipted
from isckit.runs.artifacts import file_digest, receipt_path, write_receipt, write_text
from isckit.types import RuleViolation

SPACE = "spaces/views/projection.npz"
THRESHOLD = "thresholds/views.json"


@pytest.fixture
def workspace(tmp_path):
    """A run with a space, whose folder has the receipt, and a threshold with a receipt of its own."""
    workspace = finished_run(tmp_path)
    own = workspace.checkpoint("run")
    for file in (SPACE, THRESHOLD, "training/network/main.safetensors", "spaces/views/.hidden.npz", "notes.csv"):
        write_text(own / file, file)
    write_receipt(own / "spaces/views", made_from={}, facts={"fitted_on": "train"})
    write_receipt(own / THRESHOLD, made_from={}, facts={"fitted_on": "train"})
    return workspace


def test_parts_are_all_files_but_training_receipts_recipe_freeze_and_hidden_ones(workspace):
    freeze(workspace, "run")
    own = workspace.checkpoint("run")
    assert list(parts(workspace, "run")) == ["weights", "ensemble", "bank", SPACE, THRESHOLD]
    assert parts(workspace, "run")[SPACE] == own / SPACE
    workspace.bank("run").unlink()
    assert parts(workspace, "run")["bank"] == workspace.bank("run")


def test_a_file_is_told_of_by_its_own_receipt_or_that_of_its_folder(workspace):
    own = workspace.checkpoint("run")
    assert receipt_of(own / SPACE) == own / "spaces/views/receipt.json"
    assert receipt_of(own / THRESHOLD) == receipt_path(own / THRESHOLD)
    assert receipt_of(own / "spaces/views") == own / "spaces/views/receipt.json"
    assert [path.relative_to(own).as_posix() for path in receipted(own)] == [
        *("bank.h5", "ensemble.npz", "spaces/views", THRESHOLD, "weights.safetensors")
    ]


def test_whatever_was_described_of_a_set_is_found_members_first(workspace):
    for image_set, what in (("train", "asmk.codes"), ("train", "network"), ("queries", "network"), ("train", "gist")):
        write_text(workspace.embeddings("run", image_set, what) / "shard-0.h5", "x")
        write_receipt(workspace.embeddings("run", image_set, what), made_from={}, facts={})
    write_text(workspace.embeddings("run", "train", "unfinished") / "shard-0.h5", "x")
    sample = workspace.embeddings("run", "train", "asmk.sample.npz")
    write_text(sample, "x")
    write_receipt(sample, made_from={}, facts={})
    found = described(workspace, "run", "train", first=["network", "gist", "absent"])
    assert list(found) == ["network", "gist", "asmk.codes", "asmk.sample.npz"] and found["asmk.sample.npz"] == sample


def test_all_parts_are_deposited(workspace):
    record = read_freeze(freeze(workspace, "run"))
    assert record["artifacts"][SPACE] == file_digest(workspace.checkpoint("run") / SPACE)
    assert record["artifacts"].keys() == {"weights", "ensemble", "bank", SPACE, THRESHOLD}


@pytest.mark.parametrize(
    ("file", "how"),
    [(SPACE, "changed"), (THRESHOLD, "gone"), ("spaces/late/bank.h5", "is new"), ("late.npz", "is new")],
)
def test_phase_2_is_refused_where_a_part_changed_went_or_came(workspace, file, how):
    freeze(workspace, "run")
    path = workspace.checkpoint("run") / file
    path.unlink() if how == "gone" else write_text(path, "other")
    with pytest.raises(RuleViolation, match=f"{file} {how}"):
        require_frozen(workspace, "run")
    finding = frozen(Case(workspace, 2, "run"))
    assert finding.status == "failed" and f"{file} {how}" in finding.detail


def test_more_training_is_no_other_run_and_the_finding_counts_the_parts(workspace):
    freeze(workspace, "run")
    write_text(workspace.training("run", "detector") / "last.pt", "state")
    assert require_frozen(workspace, "run") == []
    assert "weights, PCA, bank, 2 more fitted files, recipe" in frozen(Case(workspace, 2, "run")).examined
