import json
import shutil

import h5py
import numpy as np
import pytest
from frozen_run import finished_run
from starting import by_zygote, kit_command

from isckit.cli.main import main
from isckit.data.layouts import open_disc
from isckit.judge.audit import replay as replays
from isckit.judge.audit.replay import Replay, _further_parts, _whole_batches
from isckit.judge.rules.experiments import trials
from isckit.runs.artifacts import write_json
from isckit.types import Role


@pytest.fixture(autouse=True)
def _processes_that_start_fast(zygote, monkeypatch):
    monkeypatch.setattr(trials, "KIT", kit_command())
    monkeypatch.setattr(replays, "INFER", by_zygote(replays.INFER))


def replay(root, mini, *options, phase=1):
    folder = root / f"submissions/phase{phase}/run"
    return main(["audit", "replay", str(folder), "--data", str(mini), "--workers", "0", *options])


@pytest.mark.parametrize("phase", [1, 2])
def test_without_any_cache_or_fitted_part_everything_comes_out_the_same(copy, mini, capsys, phase):
    shutil.rmtree(copy / "cache")
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert replay(copy, mini, "--full", *(["--retrain"] if phase == 1 else []), phase=phase) == 0
    out = capsys.readouterr().out
    assert "REPRODUCED" in out and "identical bits expected" in out and "differ" not in out
    assert ("weights.safetensors" in out) == (phase == 1)
    assert "uAP of descriptors.h5" in out and "uAP of matching.csv" in out
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_what_branches_fitted_is_compared_file_by_file(tmp_path):
    here, there = (finished_run(tmp_path / name) for name in ("here", "there"))
    for workspace, score in ((here, 1.0), (there, 1.25)):
        own = workspace.checkpoint("run")
        write_json(own / "thresholds/views.json", {"score": score})
        write_json(own / "thresholds/same.json", {"score": 2.0})
    write_json(here.checkpoint("run") / "thresholds/gone.json", {"score": 2.0})
    write_json(there.checkpoint("run") / "thresholds/new.json", {"score": 2.0})
    found = {each.what.removeprefix("thresholds/"): each for each in _further_parts(here, there, "run")}
    assert list(found) == ["gone.json", "new.json", "same.json", "views.json"]
    assert found["same.json"].identical and found["views.json"].largest == 0.25
    assert found["gone.json"].missing and found["new.json"].missing
    assert [Replay([each], [], 0.1, "").passed for each in found.values()] == [False, False, True, False]


def test_a_sample_in_the_same_batches_comes_out_bit_for_bit(copy, mini, capsys):
    assert replay(copy, mini, "--sample", "8") == 0
    out = capsys.readouterr().out
    assert "16 query vectors: identical" in out and "16 reference vectors: identical" in out
    assert "scored pairs: identical" in out


def test_a_vector_and_a_score_that_do_not_come_from_the_images_are_named(copy, mini, capsys):
    folder = copy / "submissions/phase1/run"
    with h5py.File(folder / "descriptors.h5", "r+") as file:
        file["query"][3, 5] += 0.25
    lines = (folder / "matching.csv").read_text().splitlines()
    row = next(k for k, line in enumerate(lines) if line.split(",")[1] < "R000016" and k)  # the batch described again
    query, reference, score = lines[row].split(",")
    lines[row] = f"{query},{reference},{float(score) + 0.5}"
    (folder / "matching.csv").write_text("\n".join(lines) + "\n")
    assert replay(copy, mini, "--sample", "100") == 1
    out = capsys.readouterr().out
    assert "NOT REPRODUCED" in out and "Q00003" in out
    assert f"({query},{reference})" in out
    assert "reference vectors: identical" in out


def test_elsewhere_rounding_is_allowed_and_said(copy, mini, capsys):
    manifest = copy / "submissions/phase1/run/manifest.json"
    values = json.loads(manifest.read_text())
    values["machine"]["cpu"] = "another processor"
    manifest.write_text(json.dumps(values))
    with h5py.File(copy / "submissions/phase1/run/descriptors.h5", "r+") as file:
        file["query"][3, 5] += 1e-6
    assert replay(copy, mini) == 0
    out = capsys.readouterr().out
    assert "another place (cpu another processor there" in out and "differ by at most" in out


def test_batches_are_those_of_extraction(disc):
    rng = np.random.default_rng(0)
    for shard, batch in ((10, 4), (16, 16), (7, 7), (48, 5)):
        drawn = _whole_batches(disc.train, 12, batch, shard, rng)
        groups = drawn.rows.reshape(-1, batch)
        assert disc.train.role is Role.TRAIN and len(drawn.rows) >= 12
        assert all((group[0] % shard) % batch == 0 and (np.diff(group) == 1).all() for group in groups)
        assert all(group[0] // shard == group[-1] // shard for group in groups)
    assert len(_whole_batches(open_disc(disc.root).queries, 5, 32, 64, rng).rows) == 16


def test_a_score_that_was_not_reached_is_found(copy, mini, capsys):
    path = copy / "submissions/phase1/run/score.json"
    values = json.loads(path.read_text())
    values["matching"]["average_precision"] += 0.125
    path.write_text(json.dumps(values))
    assert replay(copy, mini, "--full") == 1
    wrong = [line for line in capsys.readouterr().out.splitlines() if "differ" in line]
    assert len(wrong) == 1 and "uAP of matching.csv" in wrong[0] and "1.2e-01" in wrong[0]
