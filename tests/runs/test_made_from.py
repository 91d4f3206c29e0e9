import json

import pytest

from isckit.cli.main import main
from isckit.judge.audit.manifest import read_manifest
from isckit.judge.audit.records import inconsistencies
from isckit.judge.rules.finding import Case
from isckit.runs import made_from
from isckit.runs.artifacts import read_receipt, receipt_path
from isckit.runs.workspace import Workspace

FOLDER = "submissions/phase1/run"


@pytest.fixture
def renamed(copy, mini, monkeypatch):
    """A run whose PCA and bank were fitted by a kit that calls one key of their receipts otherwise, in one place."""
    honest = made_from.ensemble
    monkeypatch.setattr(
        made_from,
        "ensemble",
        lambda **known: {("of_train" if key == "train" else key): value for key, value in honest(**known).items()},
    )
    workspace = Workspace(copy)
    for path in (workspace.ensemble("run"), workspace.bank("run")):
        receipt_path(path).unlink()
        path.unlink()
    (copy / FOLDER / "manifest.json").unlink()
    assert main(["fit", "--name", "run", "--root", str(copy)]) == 0
    assert main(["manifest", "--name", "run", "--phase", "1", "--root", str(copy), "--data", str(mini)]) == 0
    return copy


def test_steps_and_audit_agree_on_a_key_that_is_renamed_in_one_place(renamed, mini):
    receipt = read_receipt(Workspace(renamed).bank("run"))
    assert set(receipt["made_from"]) == {"recipe", "of_train"}
    assert main(["audit", "verify", str(renamed / FOLDER), "--data", str(mini)]) == 0
    case, manifest = Case(*Workspace.locate(renamed / FOLDER)), read_manifest(renamed / FOLDER)
    assert inconsistencies(case, manifest) == []
    other = json.loads(json.dumps(manifest))
    other["embeddings"]["train/network"]["made_from"]["images"] = "0" * 64
    found = inconsistencies(case, other)
    assert "bank.h5: by its receipt made from another of_train than the one recorded" in found


def test_settings_are_the_same_words_before_and_after_a_trip_through_json():
    settings = {"b": (1, 2), "a": {"x": None, "y": 0.1}}
    assert made_from.words(settings) == made_from.words(json.loads(json.dumps(settings)))
    assert made_from.words(None) == "" and made_from.digest([1]) != made_from.digest([2])
