import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from frozen_run import RECIPE, describe, finished_run, reseal

from isckit import config
from isckit.judge.freeze import freeze, read_freeze, refuse_other_references, require_frozen, seal
from isckit.judge.state import code_digest, code_files, compare, reference_rows, state
from isckit.runs.artifacts import environment, file_digest, read_receipt, rows_digest, write_receipt, write_text
from isckit.types import BadInput, MissingInput, RuleViolation


@pytest.fixture
def workspace(tmp_path):
    return finished_run(tmp_path)


@pytest.fixture
def now(workspace):
    return state(workspace, "run", descriptors=workspace.descriptors(1, "run"))


def plain(value):
    return json.loads(json.dumps(value))


# --- what is deposited


def test_a_freeze_deposits_code_parts_recipe_environment_and_reference_rows(workspace):
    record = read_freeze(freeze(workspace, "run"))
    assert record["code"] == code_files() and record["code_digest"] == code_digest()
    assert record["artifacts"] == {
        "weights": file_digest(workspace.weights("run")),
        "ensemble": file_digest(workspace.ensemble("run")),
        "bank": file_digest(workspace.bank("run")),
    }
    assert record["recipe"] == plain(config.to_dict(RECIPE))
    assert record["recipe_digest"] == file_digest(workspace.recipe("run"))
    assert record["environment"] == environment()
    assert record["reference_rows"] == read_receipt(workspace.descriptors(1, "run"))["facts"]["reference_rows"]
    assert record["time"].endswith("+00:00") and "third party" in record["notice"]


def test_the_seal_fits_and_notices_every_edit(workspace):
    record = read_freeze(freeze(workspace, "run"))
    assert record["seal"] == seal(record)
    for key in record.keys() - {"seal"}:
        assert seal({k: v for k, v in record.items() if k != key}) != record["seal"], key
    record["environment"]["numpy"] += "1"
    assert seal(record) != record["seal"]


def test_the_seal_is_told_for_depositing(workspace, caplog):
    caplog.set_level("INFO")
    assert read_freeze(freeze(workspace, "run"))["seal"] in caplog.text


def test_other_reference_vectors_than_the_receipt_says_are_refused(workspace):
    with h5py.File(workspace.descriptors(1, "run"), "r+") as file:
        file["reference"][3, 2] += 1
    with pytest.raises(BadInput, match=r"other reference vectors than those that its receipt"):
        freeze(workspace, "run")
    assert not workspace.freeze("run").exists()


@pytest.mark.parametrize("part", ["weights", "ensemble", "bank", "recipe"])
def test_a_run_without_a_part_is_not_frozen(workspace, part):
    getattr(workspace, part)("run").unlink()
    with pytest.raises(MissingInput, match=f"no {part}"):
        freeze(workspace, "run")


def test_a_run_of_the_matching_track_alone_is_frozen_without_references(workspace):
    workspace.descriptors(1, "run").unlink()
    with pytest.raises(MissingInput, match="phase-1 submission"):
        freeze(workspace, "run")
    write_text(workspace.matches(1, "run"), "query_id,reference_id,score\n")
    assert read_freeze(freeze(workspace, "run"))["reference_rows"] is None


# --- the digest of the reference matrix


@pytest.mark.parametrize("layout", [{}, {"chunks": (16, 8)}, {"chunks": (16, 8), "compression": "gzip"}])
@pytest.mark.parametrize("shuffled", [False, True])
def test_reference_rows_do_not_depend_on_order_and_layout(tmp_path, layout, shuffled):
    rng = np.random.default_rng(1)
    vectors, ids = rng.normal(size=(70, 8)).astype(np.float32), np.array([f"R{k:06d}" for k in range(70)])
    order = rng.permutation(70) if shuffled else np.arange(70)
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["query"], file["query_ids"] = vectors[:2], np.array([b"Q00000", b"Q00001"])
        file["reference_ids"] = np.char.encode(ids[order])
        file.create_dataset("reference", data=vectors[order], **layout)
    assert reference_rows(tmp_path / "d.h5") == rows_digest(ids, vectors)


def test_reference_rows_see_one_bit_and_not_the_queries(workspace, tmp_path):
    one, two = describe(workspace, 1), describe(workspace, 2)
    assert reference_rows(one) == reference_rows(two)
    with h5py.File(two, "r+") as file:
        file["reference"][69, 7] = np.nextafter(file["reference"][69, 7], np.float32(9))
    assert reference_rows(one) != reference_rows(two)


# --- freezing again


def test_freezing_an_equal_state_again_keeps_the_file_byte_for_byte(workspace):
    path = freeze(workspace, "run")
    reseal(path, time="2021-06-30T00:00:00+00:00")
    before = path.read_bytes()
    assert freeze(workspace, "run") == path and path.read_bytes() == before


def test_another_state_before_phase_2_replaces_the_freeze_with_a_warning(workspace, caplog):
    freeze(workspace, "run")
    workspace.bank("run").write_bytes(b"other")
    freeze(workspace, "run")
    assert "bank changed" in caplog.text
    assert read_freeze(workspace.freeze("run"))["artifacts"]["bank"] == file_digest(workspace.bank("run"))


@pytest.mark.parametrize("track", ["descriptors", "matches"])
def test_another_state_after_a_phase_2_submission_is_refused_and_named(workspace, track):
    path = freeze(workspace, "run")
    before = path.read_bytes()
    write_text(getattr(workspace, track)(2, "run"), "a file")
    assert freeze(workspace, "run") == path
    workspace.ensemble("run").write_bytes(b"other")
    with pytest.raises(RuleViolation, match="PCA changed"):
        freeze(workspace, "run")
    assert path.read_bytes() == before


def test_an_edited_freeze_is_not_written_over_after_phase_2(workspace):
    path = freeze(workspace, "run")
    path.write_text(path.read_text().replace('"time": "2', '"time": "1'))
    write_text(workspace.matches(2, "run"), "a file")
    with pytest.raises(RuleViolation, match="was edited"):
        freeze(workspace, "run")


@pytest.mark.parametrize("content", ["[]", "{}", '{"code": "x"}', "no JSON"])
def test_a_foreign_file_is_no_freeze(tmp_path, content):
    (tmp_path / "freeze.json").write_text(content)
    with pytest.raises(BadInput):
        read_freeze(tmp_path / "freeze.json")


# --- what changed, in words


def test_nothing_changed_is_nothing_to_say(now):
    assert compare(plain(now), now) == []


CHANGES = {
    "code file matching/cut.py changed": lambda s: s["code"].update({"matching/cut.py": "0"}),
    "code file x.py is gone": lambda s: s["code"].update({"x.py": "0"}),
    "code file types.py is new": lambda s: s["code"].pop("types.py"),
    "recipe value ensemble.dim: 300 there, 256 now": lambda s: s["recipe"]["ensemble"].update(dim=300),
    "recipe file changed, its values did not": lambda s: s.update(recipe_digest="0"),
    "weights changed": lambda s: s["artifacts"].update(weights="0"),
    "PCA changed": lambda s: s["artifacts"].update(ensemble="0"),
    "bank changed": lambda s: s["artifacts"].update(bank="0"),
    "reference descriptors differ": lambda s: s.update(reference_rows="0"),
    "package gone-package 1 there, none now": lambda s: s["environment"].update({"gone-package": "1"}),
    "python 2.7 there, " + environment()["python"] + " now": lambda s: s["environment"].update(python="2.7"),
    "package numpy 1.0 there, " + environment()["numpy"] + " now": lambda s: s["environment"].update(numpy="1.0"),
}


@pytest.mark.parametrize("words", CHANGES)
def test_each_kind_of_change_alone_is_named_alone(now, words):
    frozen = plain(now)
    CHANGES[words](frozen)
    assert compare(frozen, now) == [words]


def test_several_changes_are_all_named(now):
    frozen = plain(now)
    for change in CHANGES.values():
        change(frozen)
    assert set(compare(frozen, now)) == CHANGES.keys() - {"recipe file changed, its values did not"}


def test_references_that_nobody_froze_differ_and_absent_ones_are_not_compared(now):
    frozen = plain(now)
    assert compare(frozen, now | {"reference_rows": None}) == []
    assert compare(frozen | {"reference_rows": None}, now) == ["reference descriptors differ"]


# --- before phase 2


def test_an_unchanged_run_may_go_on(workspace):
    freeze(workspace, "run")
    assert require_frozen(workspace, "run", recipe=RECIPE, checkpoint=workspace.weights("run")) == []


@pytest.mark.parametrize(("part", "word"), [("weights", "weights"), ("ensemble", "PCA"), ("bank", "bank")])
@pytest.mark.parametrize("how", ["changed", "gone"])
def test_phase_2_is_refused_with_other_parts(workspace, part, word, how):
    freeze(workspace, "run")
    path = getattr(workspace, part)("run")
    path.write_bytes(b"other") if how == "changed" else path.unlink()
    with pytest.raises(RuleViolation, match=f"{word} {how}"):
        require_frozen(workspace, "run")


def test_phase_2_is_refused_with_another_recipe_than_frozen_or_asked_for(workspace):
    freeze(workspace, "run")
    other = replace(RECIPE, seed=2)
    with pytest.raises(RuleViolation, match=r"recipe asked for, seed: 1 there, 2 now"):
        require_frozen(workspace, "run", recipe=other)
    write_text(workspace.recipe("run"), config.to_json(other))
    with pytest.raises(RuleViolation, match=r"recipe value seed: 1 there, 2 now"):
        require_frozen(workspace, "run")


def test_phase_2_is_refused_with_another_checkpoint_but_not_with_the_source_of_the_weights(workspace, tmp_path):
    freeze(workspace, "run")
    given = tmp_path / "given.pth"
    given.write_bytes(b"given")
    with pytest.raises(RuleViolation, match="checkpoint asked for"):
        require_frozen(workspace, "run", checkpoint=given)
    write_receipt(workspace.weights("run"), made_from={"checkpoint": file_digest(given)}, facts={})
    assert require_frozen(workspace, "run", checkpoint=given) == []
    with pytest.raises(MissingInput):
        require_frozen(workspace, "run", checkpoint=tmp_path / "nowhere.pth")


def test_other_code_and_packages_are_warned_of_before_phase_2(workspace, caplog):
    reseal(freeze(workspace, "run"), code={"types.py": "0"}, environment={"numpy": "1.0"})
    warnings = require_frozen(workspace, "run")
    assert warnings == ["code file types.py changed", f"package numpy 1.0 there, {environment()['numpy']} now"]
    assert all(warning in caplog.text for warning in warnings) and "isckit check will fail" in caplog.text


def test_an_edited_or_missing_freeze_stops_phase_2(workspace):
    path = workspace.freeze("run")
    with pytest.raises(MissingInput, match=r"no .*freeze.json"):
        require_frozen(workspace, "run")
    freeze(workspace, "run")
    path.write_text(path.read_text().replace('"time": "2', '"time": "1'))
    for look in (lambda: require_frozen(workspace, "run"), lambda: refuse_other_references(path, "0")):
        with pytest.raises(RuleViolation, match="was edited"):
            look()


def test_other_reference_vectors_are_refused(workspace):
    path = freeze(workspace, "run")
    refuse_other_references(path, read_freeze(path)["reference_rows"])
    with pytest.raises(RuleViolation, match="reference descriptors differ"):
        refuse_other_references(path, "0" * 64)
