import json
import shutil

import pytest
from spoiled import fit_further

from isckit.cli.main import main
from isckit.judge.audit.manifest import costs, read_manifest, table, write_manifest
from isckit.judge.freeze import seal
from isckit.judge.rules.finding import Case
from isckit.judge.state import code_files
from isckit.runs.artifacts import file_digest, write_json, write_receipt, write_text
from isckit.runs.records import read_json
from isckit.runs.workspace import Workspace
from isckit.types import BadInput

FOLDER = "submissions/phase1/run"


def test_every_file_of_checkpoint_and_submission_is_in_it_with_digest_and_receipt(done):
    manifest = read_manifest(done / FOLDER)
    assert set(manifest["artifacts"]) == {"matching.csv", "descriptors.h5"}
    assert set(manifest["checkpoint"]) == {
        *("recipe.json", "weights.safetensors", "ensemble.npz", "bank.h5", "freeze.json"),
        *("training/network/last.pt", "training/network/metrics.jsonl", "training/network/main.safetensors"),
    }
    for section, folder in (("artifacts", done / FOLDER), ("checkpoint", done / "checkpoints/run")):
        for name, record in manifest[section].items():
            assert record["sha256"] == file_digest(folder / name) and record["bytes"] == (folder / name).stat().st_size
    assert manifest["checkpoint"]["bank.h5"]["receipt"]["facts"]["fitted_on"] == "train"
    assert any(name.startswith("network.") for name in manifest["checkpoint"]["weights.safetensors"]["parts"])
    assert set(manifest["embeddings"]) == {
        f"{s}/{m}" for s in ("train", "references", "queries") for m in ("network", "gist")
    }
    assert manifest["code"]["files"] == code_files() and manifest["devices"]["train/gist"]["device"] == "cpu"
    assert manifest["machine"]["cores"] >= 1 and manifest["packages"]["numpy"] and manifest["seeds"] == {"recipe": 1}


def test_what_branches_fitted_and_what_else_was_described_is_in_it_too(copy):
    fit_further(copy)
    codes = copy / "cache/run/queries/asmk.codes"
    codes.mkdir()
    write_receipt(codes, made_from={"images": "x"}, facts={"device": "cpu", "cost": {"seconds": 7.0}})
    manifest = read_manifest(write_manifest(copy / FOLDER).parent)
    own, receipt = copy / "checkpoints/run", read_json(copy / "checkpoints/run/spaces/views/receipt.json")
    for file in ("spaces/views/projection.npz", "spaces/views/bank.h5"):
        record = manifest["checkpoint"][file]
        assert record["sha256"] == file_digest(own / file) and record["receipt"]["made_from"] == receipt["made_from"]
        assert record["receipt"]["facts"]["fitted_on"] == "train" and "cost" not in record["receipt"]["facts"]
    assert manifest["checkpoint"]["thresholds/views.json"]["receipt"]["facts"]["fitted_on"] == "train"
    assert not [name for name in manifest["checkpoint"] if name.endswith("receipt.json")]
    assert manifest["embeddings"]["queries/asmk.codes"]["made_from"] == {"images": "x"}
    steps = {step["step"]: step for step in manifest["costs"]["steps"]}
    assert steps["extract queries (asmk.codes)"]["seconds"] == 7.0
    assert steps["fit spaces/views"]["seconds"] == receipt["facts"]["cost"]["seconds"]
    assert list(steps)[-5:] == ["fit bank", "fit spaces/views", "fit thresholds/views.json", "descriptor", "matching"]


def test_the_seal_is_over_all_the_rest(done):
    manifest = read_manifest(done / FOLDER)
    assert manifest["seal"] == seal(manifest)
    for key in manifest.keys() - {"seal"}:
        assert seal(manifest | {key: "other"}) != manifest["seal"], key


def test_clocks_stand_in_costs_alone(done):
    manifest = read_manifest(done / FOLDER)
    rest = {key: value for key, value in manifest.items() if key not in ("costs", "results")}
    assert '"seconds"' not in json.dumps(rest) and '"seconds"' in json.dumps(manifest["costs"])


def test_written_again_it_is_the_same_bytes_and_takes_image_digests_over(done, mini, tmp_path):
    root = shutil.copytree(done, tmp_path / "root")
    (root / "submissions/phase2/run/manifest.json").unlink()
    names = [root / FOLDER / name for name in ("manifest.json",)]
    before = [path.read_bytes() for path in names]
    write_manifest(root / FOLDER, data=mini)
    assert [path.read_bytes() for path in names] == before
    write_manifest(root / FOLDER)
    assert [path.read_bytes() for path in names] == before
    write_manifest(root / "submissions/phase2/run")
    later = read_manifest(root / "submissions/phase2/run")["images"]
    assert later["train"] == read_manifest(root / FOLDER)["images"]["train"]
    assert later["final_queries"] == {"absent": "no such images were at hand"}


def test_digests_of_an_edited_manifest_or_of_other_images_are_not_taken_over(done, tmp_path):
    root = shutil.copytree(done, tmp_path / "root")
    (root / "submissions/phase2/run/manifest.json").unlink()
    path = root / FOLDER / "manifest.json"
    values = read_json(path)
    values["images"]["train"]["digest"] = "0" * 64
    write_json(path, values)
    write_manifest(root / FOLDER)
    assert "absent" in read_manifest(root / FOLDER)["images"]["train"]
    shutil.copy(done / FOLDER / "manifest.json", path)
    for receipt in root.glob("cache/run/train/*/receipt.json"):
        values = read_json(receipt)
        values["made_from"]["images"] = "0" * 64
        write_json(receipt, values)
    write_manifest(root / FOLDER)
    assert "absent" in read_manifest(root / FOLDER)["images"]["train"]
    assert "digest" in read_manifest(root / FOLDER)["images"]["references"]


def test_costs_have_a_row_a_step_and_add_up(done):
    case = Case(*Workspace.locate(done / FOLDER))
    found = costs(case)
    steps = {step["step"]: step for step in found["steps"]}
    both = "(network, gist)" if case.recipe.members[0].name == "network" else "(gist, network)"
    assert list(steps) == [
        *("train", "train network", f"extract train {both}", f"extract references {both}", f"extract queries {both}"),
        *("fit PCA", "fit bank", "descriptor", "matching"),
    ]
    log = [json.loads(x) for x in (done / "checkpoints/run/training/network/metrics.jsonl").read_text().splitlines()]
    assert steps["train network"]["seconds"] == pytest.approx(sum(epoch["seconds"] for epoch in log))
    assert steps["train network"]["epochs"] == 2 and steps["train"]["seconds"] >= steps["train network"]["seconds"]
    assert steps[f"extract train {both}"]["images"] == 48
    whole = sum(step["seconds"] for name, step in steps.items() if name != "train network")
    assert found["total"]["seconds"] == pytest.approx(whole)
    assert found["total"]["peak_memory_bytes"] == max(step.get("peak_memory_bytes", 0) for step in steps.values())
    lines = table(found).splitlines()
    assert len(lines) == 10 and lines[-1].split()[0] == "total" and "img/s" in lines[2]


def test_networks_that_see_pairs_are_told_by_pairs(copy):
    log = copy / "checkpoints/run/training/network/metrics.jsonl"
    epochs = [json.loads(line) for line in log.read_text().splitlines()]
    for epoch, (seconds, speed) in zip(epochs, [(2.0, 10.0), (6.0, 30.0)], strict=True):
        epoch.pop("images_per_second")
        epoch |= {"seconds": seconds, "pairs_per_second": speed}
    (copy / "checkpoints/run/training/pairs").mkdir()
    write_text(copy / "checkpoints/run/training/pairs/metrics.jsonl", "".join(json.dumps(e) + "\n" for e in epochs))
    found = costs(Case(*Workspace.locate(copy / FOLDER)))
    (pairs,) = [step for step in found["steps"] if step["step"] == "train pairs"]
    assert pairs == {"step": "train pairs", "part_of": "train", "epochs": 2, "seconds": 8.0, "pairs_per_second": 25.0}
    assert "25.0 pairs/s" in table(found) and "img/s" in table(found)


def test_a_resumed_training_counts_all_its_epochs(done, tmp_path):
    root = shutil.copytree(done, tmp_path / "root")
    path = root / "checkpoints/run/weights.safetensors.receipt.json"
    values = read_json(path)
    values["facts"]["cost"]["seconds"] = 1e-6
    write_json(path, values)
    steps = {step["step"]: step for step in costs(Case(*Workspace.locate(root / FOLDER)))["steps"]}
    assert steps["train"]["seconds"] == steps["train network"]["seconds"]


def test_the_training_of_installed_weights_is_told_and_does_not_count(copy):
    before = costs(Case(*Workspace.locate(copy / FOLDER)))
    path = copy / "checkpoints/run/weights.safetensors"
    write_receipt(path, made_from={"checkpoint": "0" * 64}, facts={"source": "w.safetensors"})
    found = costs(Case(*Workspace.locate(copy / FOLDER)))
    train, *rest = before["steps"]
    assert train["step"] == "train" and found["steps"] == rest
    assert found["total"]["seconds"] == pytest.approx(before["total"]["seconds"] - train["seconds"])


def test_the_verb_prints_costs_and_the_seal_to_deposit(copy, mini, capsys):
    for phase in (1, 2):
        (copy / f"submissions/phase{phase}/run/manifest.json").unlink()
    write_it = ["manifest", "--name", "run", "--root", str(copy)]
    assert main(write_it) == 0
    assert "no digests of the images of queries, references, train: pass --data" in capsys.readouterr().out
    assert main([*write_it, "--data", str(mini)]) == 0
    out = capsys.readouterr().out
    assert f"seal {read_manifest(copy / FOLDER)['seal']}" in out and "extract train" in out and "pass --data" not in out


def test_a_submission_that_cannot_be_read_gets_no_manifest(copy, capsys):
    path = copy / FOLDER / "matching.csv"
    before = (copy / FOLDER / "manifest.json").read_bytes()
    path.write_text(path.read_text() + "x,y\n")
    with pytest.raises(BadInput, match="malformed"):
        write_manifest(copy / FOLDER)
    assert main(["manifest", "--name", "run", "--root", str(copy)]) == 2 and "malformed" in capsys.readouterr().err
    assert (copy / FOLDER / "manifest.json").read_bytes() == before
