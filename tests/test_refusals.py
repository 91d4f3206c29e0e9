"""Bad input, broken rules, full disks, Ctrl-C: one clear message, exit code 2, and earlier results stay."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from chain import files, verbs
from frozen_run import reseal

from isckit.cli.main import main
from isckit.data.columns import cell_of
from isckit.engine import describe as extraction
from isckit.runs.checkpoints import read_weights, write_weights
from isckit.runs.embeddings import read_embeddings
from isckit.runs.workspace import Workspace
from isckit.submission import read_descriptors, read_matches

# --- phase 2 refuses what phase 1 did not record


def test_phase_2_refuses_other_weights(copy, assert_refused):
    weights = Workspace(copy).weights("run")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert_refused("frozen", "--name", "run", "--root", copy, saying="weights")


def test_phase_2_refuses_another_recipe(copy, assert_refused):
    assert_refused("frozen", "--name", "run", "--recipe", "gist", "--root", copy, saying="recipe asked for")
    path = Workspace(copy).recipe("run")
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 2'))
    assert_refused("frozen", "--name", "run", "--root", copy, saying="recipe")


def test_phase_2_refuses_another_checkpoint(copy, tmp_path, assert_refused):
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"x")
    assert_refused("frozen", "--name", "run", "--checkpoint", other, "--root", copy, saying="checkpoint asked for")


def test_phase_2_refuses_other_reference_descriptors(copy, assert_refused):
    reseal(Workspace(copy).freeze("run"), reference_rows="0" * 64)
    Workspace(copy).descriptors(2, "run").unlink()
    assert_refused("descriptor", "--name", "run", "--phase", "2", "--root", copy, saying="reference descriptors")


def test_phase_2_refuses_an_edited_freeze(copy, assert_refused):
    freeze = Workspace(copy).freeze("run")
    freeze.write_text(json.dumps(json.loads(freeze.read_text()) | {"reference_rows": "0" * 64}))
    Workspace(copy).descriptors(2, "run").unlink()
    assert_refused("frozen", "--name", "run", "--root", copy, saying="was edited")
    assert_refused("descriptor", "--name", "run", "--phase", "2", "--root", copy, saying="was edited")


def test_phase_2_warns_of_other_code_and_goes_on(copy, caplog):
    reseal(Workspace(copy).freeze("run"), code={"types.py": "0" * 64})
    assert main(["frozen", "--name", "run", "--root", str(copy)]) == 0
    assert "code file types.py changed" in caplog.text and "isckit check will fail" in caplog.text


def test_phase_2_without_phase_1_is_refused(tmp_path, assert_refused):
    assert_refused("frozen", "--name", "nobody", "--root", tmp_path, saying="run_phase1.sh")


# --- the rules


def test_the_rules_see_a_fit_on_other_images(copy, capsys):
    receipt = Workspace(copy).bank("run").with_name("bank.h5.receipt.json")
    values = json.loads(receipt.read_text())
    values["facts"]["fitted_on"] = "query"
    receipt.write_text(json.dumps(values))
    assert main(["check", str(copy / "submissions/phase1/run")]) == 1
    out = capsys.readouterr().out
    assert "FAILED   5.5-fit" in out and "passed   5.1 " in out


def test_the_rules_see_augmented_references(copy, capsys):
    log = Workspace(copy).training("run", "network") / "metrics.jsonl"
    log.write_text(log.read_text().replace('"train": {"augmented"', '"reference": {"augmented"', 1))
    assert main(["check", str(copy / "submissions/phase1/run")]) == 1
    out = capsys.readouterr().out
    assert "FAILED   5.1 " in out and "passed   5.5-fit" in out


def test_the_rules_see_a_phase_2_with_other_weights(copy, capsys):
    weights = Workspace(copy).weights("run")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert main(["check", str(copy / "submissions/phase2/run")]) == 1
    assert "FAILED   5.8 " in capsys.readouterr().out


# --- bad input


def test_another_recipe_under_the_same_name_is_refused_and_nothing_changes(copy, mini, assert_refused):
    before = files(copy)
    assert_refused(
        *verbs(copy, mini, phase=1)[0], "--set", "ensemble.dim=20", saying=["ensemble.dim", "another --name"]
    )
    assert files(copy) == before


def test_an_unknown_recipe_key_is_refused(mini, tmp_path, assert_refused):
    assert_refused(*verbs(tmp_path, mini, phase=1)[0], "--set", "ensemble.dims=3", saying="ensemble.dim")


@pytest.mark.parametrize("kind", ["missing", "empty"])
def test_a_missing_or_empty_data_folder_is_refused(tmp_path, assert_refused, kind):
    folder = tmp_path / "data"
    if kind == "empty":
        folder.mkdir()
    assert_refused(*verbs(tmp_path, folder, phase=1)[0], saying=str(folder))


@pytest.mark.parametrize(("wrong", "named"), [("R000007.jpg", "R000007"), ("T000001.png", "T000001")])
def test_mixed_up_and_double_ids_are_refused(mini, tmp_path, assert_refused, wrong, named):
    data = Path(shutil.copytree(mini, tmp_path / "data"))
    shutil.copy(data / "images/train/T000000.jpg", data / "images/train" / wrong)
    assert_refused(*verbs(tmp_path, data, phase=1)[0], saying=named)


@pytest.mark.parametrize("verb", ["train", "extract"])
def test_broken_images_stop_a_run_with_the_whole_list(mini, tmp_path, assert_refused, capsys, verb):
    data = Path(shutil.copytree(mini, tmp_path / "data"))
    names = ["T000003", "T000007"] if verb == "train" else ["R000003", "R000020"]
    folder = data / "images" / ("train" if verb == "train" else "references")
    (folder / f"{names[0]}.jpg").write_bytes(b"")
    (folder / f"{names[1]}.jpg").write_bytes((folder / f"{names[1]}.jpg").read_bytes()[:200])
    chain = verbs(tmp_path, data, phase=1)
    if verb == "extract":
        assert main(chain[0]) == 0
        capsys.readouterr()
    assert_refused(*chain[["train", "extract"].index(verb)], saying=[*names, "2 broken images", "on_broken=replace"])


def test_broken_images_match_nothing_and_every_verb_lists_them_where_they_are_accepted(mini, tmp_path, capsys):
    data = Path(shutil.copytree(mini, tmp_path / "data"))
    broken = {"queries": {"Q00002", "Q00009"}, "references": {"R000003", "R000020"}, "train": {"T000005"}}
    for image_set, names in broken.items():
        for name in names:
            (data / "images" / image_set / f"{name}.jpg").write_bytes(b"not an image")
    chain = verbs(tmp_path, data, phase=1)
    chain[0] += ["--set", "extract.on_broken=replace"]
    told = {}
    for verb in chain:
        assert main(verb) == 0 or verb[0] == "check"
        told[verb[0]] = "".join(capsys.readouterr())
    submitted = broken["queries"] | broken["references"]
    assert all(f"{name}: no image" in told["extract"] for name in submitted | broken["train"])
    for verb in ("descriptor", "matching", "score", "manifest"):
        assert all(f"{name}: no image" in told[verb] for name in submitted), verb
    assert "4 images do not decode" in told["check"]
    folder = tmp_path / "submissions/phase1/run"
    main(["check", str(folder)])  # the receipts tell without the images
    alone = "".join(capsys.readouterr())
    assert all(f"{name}: no image" in alone for name in submitted)
    matches = read_matches(folder / "matching.csv")
    assert not submitted & {*matches.query_ids.tolist(), *matches.reference_ids.tolist()}
    sides = read_descriptors(folder / "descriptors.h5")
    ids, rows = np.concatenate([s.ids for s in sides]), np.concatenate([s.vectors for s in sides]).astype(float)
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    far = np.isin(ids, sorted(submitted))
    assert far.sum() == 4 and np.isfinite(rows).all()
    nearest = (apart + np.diag(np.full(len(ids), np.inf)))[far].min()
    assert nearest > 10 * apart[~far][:, ~far].max()
    bank = read_embeddings(Workspace(tmp_path).bank("run"))
    assert len(bank.ids) == 47 and "T000005" not in bank.ids
    values = json.loads((folder / "score.json").read_text())
    assert {name for found in values["matching"]["replaced"].values() for name in found} == submitted
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["embeddings"]["references/gist"]["facts"]["replaced"].keys() == broken["references"]


def test_a_killed_extraction_does_not_forget_the_images_that_it_replaced(mini, tmp_path, monkeypatch):
    data = Path(shutil.copytree(mini, tmp_path / "data"))
    for name in ("R000001", "R000023"):  # of the first and of the last shard
        (data / f"images/references/{name}.jpg").write_bytes(b"")
    chain = verbs(tmp_path, data, phase=1)
    assert main([*chain[0], "--set", "extract.on_broken=replace"]) == 0
    describing, shards = extraction._Extraction.describe, []

    def killed(self, shard, advance):
        shards.append(int(shard[0]))
        if shards == [0, 16]:
            raise KeyboardInterrupt
        return describing(self, shard, advance)

    monkeypatch.setattr(extraction._Extraction, "describe", killed)
    extract = ["extract", "--name", "run", "--data", data, "--sets", "references", "--workers", 0, "--root", tmp_path]
    assert [main([str(word) for word in extract]) for _ in range(2)] == [2, 0]
    assert shards == [0, 16, 16]
    receipt = json.loads((tmp_path / "cache/run/references/gist/receipt.json").read_text())
    assert receipt["facts"]["replaced"].keys() == {"R000001", "R000023"}


@pytest.fixture
def photos(mini, tmp_path):
    """Two folders as people have them: odd names, the same names in subfolders, files that are no pictures."""
    names = [
        "a, b [1].jpg",
        'say "hi".jpg',
        "Ferien 2019/IMG (1).jpg",
        "2020/IMG (1).jpg",
        "Bildschirmfoto\u202f10.jpg",
    ]
    for side in ("queries", "references"):
        pictures = sorted((mini / "images" / side).iterdir())
        for name, picture in zip(names, pictures, strict=False):
            path = tmp_path / side / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(picture, path)
        (tmp_path / side / "broken.jpg").write_bytes(b"GIF89a, cut off")
    return tmp_path


def finding(root, photos, out):
    sides = ["--queries", photos / "queries", "--references", photos / "references"]
    words = ["infer", *sides, "--out", out, "--name", "run", "--root", root, "--workers", 0]
    return [str(word) for word in words]


def test_photos_of_people_are_matched_whatever_their_names_and_broken_ones_are_listed(done, photos, capsys):
    assert main(finding(done, photos, photos / "found")) == 0
    told = capsys.readouterr().out
    assert told.count("broken: ") == 2 and told.count("1 broken image:") == 2
    names = {"a, b [1]", 'say "hi"', "Ferien 2019/IMG (1)", "2020/IMG (1)", "Bildschirmfoto\u202f10"}
    matches = read_matches(photos / "found/matching.csv")
    assert set(matches.query_ids) == set(matches.reference_ids) == names
    assert [set(side.ids) for side in read_descriptors(photos / "found/descriptors.h5")] == [names, names]
    assert {path.name for path in (photos / "found").iterdir()} == {"matching.csv", "descriptors.h5"}
    truth = photos / "truth.csv"
    truth.write_text("".join(f"{cell_of(name)},{cell_of(name)}\n" for name in sorted(names)))
    assert main(["score", str(photos / "found/matching.csv"), "--ground-truth", str(truth), "--bootstrap", "0"]) == 0


def test_a_stopped_infer_goes_on_where_it_was_and_leaves_the_older_pair_until_it_has_a_new_one(
    done, photos, monkeypatch, capsys
):
    out = photos / "found"
    out.mkdir()
    for name in ("matching.csv", "descriptors.h5"):
        (out / name).write_bytes(b"older")
    describing, sides = extraction._Extraction.describe, []

    def killed(self, shard, advance):
        sides.append(self.images.name)
        if sides == ["queries", "references"]:
            raise KeyboardInterrupt
        return describing(self, shard, advance)

    monkeypatch.setattr(extraction._Extraction, "describe", killed)
    assert main(finding(done, photos, out)) == 2 and "finished work is kept" in capsys.readouterr().err
    assert {path.read_bytes() for path in out.iterdir() if path.is_file()} == {b"older"}
    assert main(finding(done, photos, out)) == 0
    assert sides == ["queries", "references", "references"]
    assert {path.name for path in out.iterdir()} == {"matching.csv", "descriptors.h5"}
    assert read_matches(out / "matching.csv").query_ids.size


def test_folders_without_one_picture_that_decodes_are_refused(done, photos, assert_refused):
    for path in (photos / "references").rglob("*.jpg"):
        path.write_bytes(b"nothing")
    assert_refused(*finding(done, photos, photos / "found"), saying=["6 broken images", "a, b [1]: no image"])


def test_ground_truth_of_another_phase_is_refused(done, mini, assert_refused):
    truth = mini / "list_files/final_ground_truth.csv"
    assert_refused(
        "score", done / "submissions/phase1/run/matching.csv", "--ground-truth", truth, saying="another phase"
    )


def test_nan_in_vectors_and_scores_is_found_and_never_scored(copy, mini, assert_refused, capsys):
    folder = copy / "submissions/phase1/run"
    with h5py.File(folder / "descriptors.h5", "r+") as file:
        file["query"][3, 5] = np.nan
    rows = (folder / "matching.csv").read_text().splitlines()
    rows[2] = rows[2].rsplit(",", 1)[0] + ",nan"
    (folder / "matching.csv").write_text("\n".join(rows) + "\n")
    assert main(["check", str(folder), "--data", str(mini), "--sample", "0"]) == 1
    assert capsys.readouterr().out.count("NaN") >= 2
    for name in ("descriptors.h5", "matching.csv"):
        assert_refused(
            "score", folder / name, "--ground-truth", mini / "list_files/dev_ground_truth.csv", saying="seen:"
        )


@pytest.mark.parametrize("damage", ["noise", "pickle", "foreign"])
def test_a_bad_checkpoint_is_refused_and_leaves_no_weights(mini, tmp_path, assert_refused, damage):
    import torch

    path = tmp_path / ("w.safetensors" if damage == "noise" else "w.pth")
    if damage == "noise":
        path.write_bytes(os.urandom(1000))
    else:
        torch.save({"a": Path("x")} if damage == "pickle" else {"a": torch.zeros(2)}, path)
    assert_refused(*verbs(tmp_path, mini, phase=1)[0], "--checkpoint", path, saying="seen:")
    assert not Workspace(tmp_path).weights("run").exists()


def test_a_verb_too_early_names_the_one_before(mini, tmp_path, assert_refused, capsys):
    chain = verbs(tmp_path, mini, phase=1)
    assert_refused(*chain[1], saying="isckit train")
    assert main(chain[0]) == 0
    capsys.readouterr()
    assert_refused(*chain[2], saying="isckit extract")


def test_a_full_disk_leaves_earlier_results_and_a_clear_message(copy, mini):
    for name in ("descriptors.h5", "matching.csv"):
        (copy / "submissions/phase1/run" / name).unlink()
    before = files(copy)
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
        "from isckit.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    run = ["--name", "run", "--root", copy]
    for words in (
        ["descriptor", *run],
        ["matching", *run],
        ["export", *run, "--format", "torchscript", "--out", copy / "model.pt"],
        ["data", "pack", "--data", mini, "--sets", "references", "--out", copy / "packed"],
    ):
        command = [sys.executable, "-c", code, *map(str, words)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 2 and "no space left" in ended.stderr, ended.stderr
        assert "Traceback" not in ended.stderr
    assert files(copy) == before
    assert not list(copy.rglob("*.part"))


def test_ctrl_c_ends_with_advice(mini, tmp_path):
    begin = [*verbs(tmp_path, mini, phase=1)[0], "--set", "members.network.stages.main.epochs=500"]
    child = subprocess.Popen([sys.executable, "-m", "isckit", *begin], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("last.pt")) and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    error = child.communicate(timeout=60)[1]
    assert child.returncode == 2 and "Ctrl-C" in error and "Traceback" not in error, error[-3000:]


@pytest.mark.parametrize("track", ["descriptor", "matching"])
def test_a_track_before_the_fit_is_told_to_fit(copy, assert_refused, track):
    for path in (copy / "checkpoints/run").glob("ensemble.npz*"):
        path.unlink()
    assert_refused(track, "--name", "run", "--phase", "1", "--root", copy, saying="isckit fit --name run")


def test_weights_that_cannot_be_downloaded_are_told_with_what_to_set(mini, tmp_path, assert_refused):
    train = ["train", "--name", "run", "--recipe", "baseline", "--data", mini, "--root", tmp_path, "--workers", 0]
    assert_refused(*train, saying=["tf_efficientnetv2_s", "connect once", "--checkpoint"])


def test_more_dimensions_than_train_images_say_what_to_set(mini, tmp_path, assert_refused, capsys):
    chain = verbs(tmp_path, mini, phase=1)
    chain[0] += ["--set", "ensemble.dim=200"]
    for verb in chain[:2]:
        assert main(verb) == 0
    capsys.readouterr()
    assert_refused(*chain[2], saying=["PCA to 200 dimensions from 48 vectors", "--set ensemble.dim"])


def test_a_manifest_of_no_submission_is_refused(copy, assert_refused):
    folder = copy / "submissions/phase1/run"
    for name in ("descriptors.h5", "matching.csv", "manifest.json"):
        (folder / name).unlink()
    assert_refused("manifest", "--name", "run", "--root", copy, saying=["no submission in", "isckit descriptor"])
    assert not (folder / "manifest.json").exists()


def test_weights_that_are_no_numbers_are_blamed_on_the_file(done, mini, tmp_path, assert_refused):
    weights = read_weights(Workspace(done).weights("run"))
    first = next(key for key, value in weights.items() if value.is_floating_point())
    weights[first] = weights[first] * float("nan")
    write_weights(tmp_path / "w.safetensors", weights, recipe=Workspace(done).recipe("run").read_text())
    folder, out = mini / "images/queries", tmp_path / "v.h5"
    assert_refused(
        "describe", folder, "--checkpoint", tmp_path / "w.safetensors", "--out", out, saying=["NaN in", first]
    )


def test_a_fault_of_the_kit_is_one_message_with_an_exit_code_of_its_own(monkeypatch, capsys, mini):
    import isckit.data.doctor

    monkeypatch.setattr(isckit.data.doctor, "render", lambda report: report.nothing_of_this_name)
    assert main(["doctor", "--data", str(mini)]) == 3
    told = capsys.readouterr().err
    assert "a fault in this program" in told and "nothing_of_this_name" in told and "Traceback" not in told


# --- scores, and what they are read from


@pytest.fixture
def truth(mini):
    return mini / "list_files/public_ground_truth.csv"


@pytest.mark.parametrize("pairs", ["Q30000,R500000\nQ30001,\n", "query_id,reference_id\nQ30000,R500000\n"])
def test_a_truth_of_which_no_id_occurs_is_refused_of_the_contests_ids_too(done, tmp_path, assert_refused, pairs):
    (tmp_path / "gt.csv").write_text(pairs)
    words = "score", Workspace(done).matches(1, "run"), "--ground-truth", tmp_path / "gt.csv"
    assert_refused(*words, saying=["'Q30000' there, 'Q0"])


@pytest.mark.parametrize("which", ["matching.csv", "truth.csv"])
def test_a_score_never_replaces_what_it_is_read_from(copy, truth, assert_refused, which):
    folder = Workspace(copy).matches(1, "run").parent
    shutil.copy(truth, folder / "truth.csv")
    before = (folder / which).read_bytes()
    words = "score", folder / "matching.csv", "--ground-truth", folder / "truth.csv", "--json", folder / which
    assert_refused(*words, saying="which is read")
    assert (folder / which).read_bytes() == before


def test_ids_that_are_one_value_are_a_fault_of_the_form(tmp_path, capsys):
    with h5py.File(tmp_path / "d.h5", "w") as file:
        for side in ("query", "reference"):
            file[side], file[f"{side}_ids"] = np.zeros((2, 4), np.float32), 1.0
    for words in ([], ["--foreign"]):
        assert main(["check", str(tmp_path / "d.h5"), *words]) == 1
        assert "D05" in capsys.readouterr().out


def test_vectors_without_values_have_no_score(tmp_path, truth, assert_refused):
    with h5py.File(tmp_path / "d.h5", "w") as file:
        for side, name in (("query", "Q00000"), ("reference", "R000000")):
            file[side], file[f"{side}_ids"] = np.zeros((1, 0), np.float32), np.array([name], "S")
    assert_refused("score", tmp_path / "d.h5", "--ground-truth", truth, saying="of shape (1, 0)")


def test_a_quote_that_is_not_closed_is_no_score(tmp_path, truth, assert_refused):
    (tmp_path / "m.csv").write_text('query_id,reference_id,score\nQ00003,R000707,"1\nQ00004,R002739,2\n')
    assert_refused("score", tmp_path / "m.csv", "--ground-truth", truth, saying="1 malformed lines: 2")


@pytest.mark.parametrize("value", ["[" * 3_000, "9" * 5_000])
def test_a_setting_beyond_all_bounds_is_refused(mini, tmp_path, assert_refused, value):
    words = "train", "--name", "q", "--data", mini, "--recipe", "phash", "--root", tmp_path
    assert_refused(*words, "--set", f"ensemble.dim={value}", saying="--set ensemble.dim=")


def test_more_workers_than_any_machine_has_are_refused(mini, tmp_path, capsys):
    words = ["describe", str(mini / "queries"), "--out", str(tmp_path / "a.h5"), "--workers", "100000"]
    assert main(words) == 2 and "1024" in capsys.readouterr().err.replace(",", "")


@pytest.mark.parametrize("part", ["weights.safetensors", "ensemble.npz", "bank.h5"])
def test_a_run_whose_files_were_changed_since_describes_and_matches_nothing(copy, mini, tmp_path, assert_refused, part):
    path = Workspace(copy).checkpoint("run") / part
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    run = "--name", "run", "--root", copy
    saying = [f"{part} is not the file that was made", "restore it"]
    assert_refused("describe", mini / "images/queries", "--out", tmp_path / "a.h5", *run, saying=saying)
    folders = "--queries", mini / "images/queries", "--references", mini / "images/references"
    assert_refused("infer", *folders, "--out", tmp_path / "found", *run, saying=saying)
    assert not (tmp_path / "a.h5").exists() and not (tmp_path / "found").exists()
