"""The chain of verbs on a small set, as the run scripts call it, and its interruptions."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from chain import files, run_phase, verbs
from textbook import average_precision_textbook

from isckit.cli.main import main
from isckit.recipes.catalogue import recipe
from isckit.submission import read_descriptors, read_matches


@pytest.mark.parametrize("phase", [1, 2])
def test_both_tracks_stand_and_are_scored_in_both_phases(done, phase):
    folder = done / "submissions" / f"phase{phase}" / "run"
    queries, references = read_descriptors(folder / "descriptors.h5")
    assert queries.vectors.shape == (16, 40) and references.vectors.shape == (24, 40)
    assert queries.ids[0] == ("Q00000" if phase == 1 else "Q50000")
    assert (folder / "matching.csv").read_text().startswith("query_id,reference_id,score\n")
    assert set(json.loads((folder / "score.json").read_text())) == {"descriptor", "matching"}
    assert json.loads((folder / "rules.json").read_text())["passed"]
    assert (folder / "matching.png").stat().st_size > 5_000 and (folder / "descriptors.png").stat().st_size > 5_000


def test_the_reported_score_is_that_of_the_file(done, mini):
    folder = done / "submissions/phase1/run"
    lines = (mini / "list_files/dev_ground_truth.csv").read_text().split()[1:]
    truth = dict(line.split(",") for line in lines)
    matches = read_matches(folder / "matching.csv")
    correct = [truth[q] == r for q, r in zip(matches.query_ids, matches.reference_ids, strict=True)]
    n_pos = sum(bool(reference) for reference in truth.values())
    expected = average_precision_textbook(matches.scores.tolist(), correct, n_pos=n_pos)
    assert json.loads((folder / "score.json").read_text())["matching"]["average_precision"] == pytest.approx(expected)


def test_the_manifest_tells_what_decided_the_bytes(done):
    manifest = json.loads((done / "submissions/phase1/run/manifest.json").read_text())
    assert manifest["recipe"]["members"][0]["backbone"]["name"] == "test_resnet"
    assert set(manifest["artifacts"]) == {"matching.csv", "descriptors.h5"}
    assert {"weights.safetensors", "ensemble.npz", "bank.h5", "recipe.json"} <= set(manifest["checkpoint"])
    assert manifest["checkpoint"]["bank.h5"]["receipt"]["facts"]["fitted_on"] == "train"
    assert manifest["images"]["references"]["images"] == 24
    assert {"train/gist", "queries/network"} <= set(manifest["embeddings"])
    assert manifest["results"]["score"]["matching"]["n_pos"] > 0


def test_the_same_commands_again_change_nothing(copy, mini):
    before = files(copy)
    run_phase(copy, mini, phase=1)
    run_phase(copy, mini, phase=2)
    assert files(copy) == before


def test_zips_in_another_folder_give_the_same_bytes(done, mini, tmp_path):
    packed = tmp_path / "packed"
    packed.mkdir()
    for name, archive in {"train": "train_0", "references": "references_0", "queries": "dev_queries"}.items():
        shutil.make_archive(str(packed / archive), "zip", mini / "images", name)
    run_phase(tmp_path / "root", packed, phase=1)
    assert files(tmp_path / "root") == files(done, phase_1_only=True)


@pytest.mark.parametrize("moment", ["train", "extract"])
def test_a_killed_run_goes_on_to_the_same_bytes(done, mini, tmp_path, moment):
    chain = verbs(tmp_path, mini, phase=1)
    begun = {"train": "checkpoints/run/training/network/last.pt", "extract": "cache/run/train/gist/shard-00000.h5"}
    number = ["train", "extract"].index(moment)
    for verb in chain[:number]:
        assert main(verb) == 0
    victim = subprocess.Popen([sys.executable, "-m", "isckit", *chain[number]], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (tmp_path / begun[moment]).is_file() and time.monotonic() < deadline and victim.poll() is None:
        time.sleep(0.005)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert (tmp_path / begun[moment]).is_file()
    run_phase(tmp_path, mini, phase=1)
    assert files(tmp_path) == files(done, phase_1_only=True)


def test_scores_do_not_depend_on_other_queries_or_references(done, mini, tmp_path):
    half, root = tmp_path / "half", tmp_path / "root"
    shutil.copytree(mini, half, ignore=shutil.ignore_patterns("list_files"))
    for path in [
        *sorted((half / "images/queries").iterdir())[::2],
        *sorted((half / "images/references").iterdir())[::2],
    ]:
        path.unlink()
    run_phase(root, half, phase=1)
    for side in (0, 1):
        whole, part = (read_descriptors(p / "submissions/phase1/run/descriptors.h5")[side] for p in (done, root))
        assert np.allclose(whole.vectors[np.isin(whole.ids, part.ids)], part.vectors, atol=2e-6)
    tables = []
    for folder in (done, root):
        m = read_matches(folder / "submissions/phase1/run/matching.csv")
        tables.append({(q, r): s for q, r, s in zip(m.query_ids, m.reference_ids, m.scores, strict=True)})
    common = tables[0].keys() & tables[1].keys()
    assert len(common) > 10
    assert max(abs(tables[0][pair] - tables[1][pair]) for pair in common) < 1e-5


def test_a_given_checkpoint_is_used_instead_of_training(done, mini, tmp_path):
    weights = done / "checkpoints/run/weights.safetensors"
    assert main([*verbs(tmp_path, mini, phase=1)[0], "--checkpoint", str(weights)]) == 0
    assert (tmp_path / "checkpoints/run/weights.safetensors").read_bytes() == weights.read_bytes()
    # Its training logs come along, and nothing that a training could be resumed from.
    logs, there = (root / "checkpoints/run/training" for root in (tmp_path, done))
    assert [path.name for path in logs.rglob("*") if path.is_file()] == ["metrics.jsonl"]
    assert (logs / "network/metrics.jsonl").read_text() == (there / "network/metrics.jsonl").read_text()


def test_a_truth_of_positives_with_its_query_list_scores_like_the_full_one(done, mini, tmp_path, capsys):
    full = mini / "list_files/dev_ground_truth.csv"
    lines = full.read_text().split()[1:]
    positives, listed = tmp_path / "positives.csv", tmp_path / "queries"
    positives.write_text("".join(f"{line}\n" for line in lines if not line.endswith(",")))
    listed.write_text("".join(f"{line.split(',')[0]}\n" for line in lines))
    for track in ("matching.csv", "descriptors.h5"):
        target = str(done / "submissions/phase1/run" / track)
        figures = []
        for truth in ([str(full)], [str(positives), "--listed", str(listed)], [str(positives)]):
            out = tmp_path / "score.json"
            assert main(["score", target, "--ground-truth", *truth, "--json", str(out), "--bootstrap", "0"]) == 0
            figures.append({k: v for k, v in json.loads(out.read_text()).items() if k != "inputs"})
        assert figures[0] == figures[1]
        assert figures[2]["n_distractors"] == 0 and "no distractor" in capsys.readouterr().out


def test_a_checkpoint_names_its_own_recipe(done):
    weights = done / "checkpoints/run/weights.safetensors"
    assert recipe(str(weights)) == recipe(str(done / "checkpoints/run/recipe.json"))
