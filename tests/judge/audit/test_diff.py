import shutil

import h5py
import numpy as np
import pytest
from spoiled import fit_further

from isckit.cli.main import main
from isckit.judge.audit import manifest
from isckit.judge.audit.diff import _of_weights, descriptor_distance, explain, match_distance
from isckit.judge.audit.manifest import write_manifest
from isckit.judge.freeze import seal
from isckit.runs.artifacts import file_digest, write_json, write_text
from isckit.runs.records import read_json
from isckit.submission import write_descriptors, write_matches
from isckit.types import Embeddings, Matches, Role, StaleArtifact

FOLDER = "submissions/phase1/run"


def blocks(text):
    """Words by part: {"recipe": [...], ...}."""
    found, part = {}, ""
    for line in text.splitlines():
        if line.startswith("  "):
            part = line[2:16].strip() or part
            found.setdefault(part, []).append(line[17:])
    return found


def edited(root, change):
    path = root / FOLDER / "manifest.json"
    values = read_json(path)
    change(values)
    write_json(path, values | {"seal": seal(values)})


def test_a_copy_is_byte_identical_and_the_same_in_every_cause(done, copy):
    text = explain(done / FOLDER, copy / FOLDER)
    found = blocks(text)
    assert "both files are byte-identical" in text
    causes = ("data", "recipe", "code, packages", "machine", "weights", "PCA", "bank")
    assert {part: found[part] for part in causes} == {part: ["the same"] for part in causes}
    assert found["descriptors"] == found["matches"] == ["byte-identical"]
    score = read_json(done / FOLDER / "score.json")["matching"]["average_precision"]
    assert f"matching uAP {score:.5f} there, {score:.5f} now" in found["scores"]


def test_recipe_values_alone_explain_another_run_and_the_effect_is_measured(done, mini, tmp_path):
    """Another run on the same images and weights, with another dimension and factor."""
    root = tmp_path / "root"
    weights = done / "checkpoints/run/weights.safetensors"
    settings = ["--set", "ensemble.dim=30", "--set", "matching.branches.views.norm_factor=0"]
    recipe = ["--recipe", str(done / "checkpoints/run/recipe.json")]
    at, data = ["--root", str(root), "--name", "run"], ["--data", str(mini), "--workers", "0"]
    sets = [word for name in ("train", "references", "queries") for word in ("--sets", name)]
    chain = [["train", *recipe, *settings, *data, "--checkpoint", str(weights)], ["extract", *data, *sets], ["fit"]]
    for verb in [*chain, ["descriptor"], ["matching"], ["manifest", "--data", str(mini)]]:
        assert main([*verb, *at]) == 0, verb
    found = blocks(explain(done / FOLDER, root / FOLDER))
    assert found["recipe"] == ["ensemble.dim: 40 there, 30 now", "matching.branches.0.norm_factor: 1.5 there, 0.0 now"]
    assert found["data"] == found["code, packages"] == ["the same"]
    # The header of the weights holds the recipe; every tensor is the same.
    assert file_digest(root / "checkpoints/run/weights.safetensors") != file_digest(weights)
    assert found["weights"] == ["the same"]
    assert "recipe (ensemble.dim: 40 there, 30 now)" in found["PCA"][0]
    assert all(words.endswith("of 40 floats there, 30 now") for words in found["descriptors"])
    assert "rows in common" in found["matches"][0] and "largest score difference" in found["matches"][0]
    assert found["scores"][1].endswith("there, not scored now")


def test_what_branches_fitted_is_a_cause_of_its_own(copy, tmp_path):
    fit_further(copy)
    write_manifest(copy / FOLDER)
    other = shutil.copytree(copy, tmp_path / "other")
    assert blocks(explain(copy / FOLDER, other / FOLDER))["fitted parts"] == ["the same"]
    write_text(other / "checkpoints/run/thresholds/views.json", "{}")
    (other / "checkpoints/run/spaces/views/bank.h5").unlink()
    write_manifest(other / FOLDER)
    found = blocks(explain(copy / FOLDER, other / FOLDER))
    told = "same data, recipe, code, packages and machine: not explained"
    assert found["fitted parts"] == [
        f"{part}: others: {told}" for part in ("spaces/views/bank.h5", "thresholds/views.json")
    ]
    assert found["bank"] == ["the same"]


@pytest.mark.parametrize(
    ("value", "of_weights"),
    [
        ("members.0.dim: 32 there, 64 now", True),
        ("members.0.weight: 1 there, 2 now", False),
        ("detector.epochs: 2 there, 3 now", True),
        ("matching.branches.1.networks.0.grey: True there, False now", True),
        ("matching.branches.0.norm_factor: 1 there, 2 now", False),
        ("ensemble.dim: 1 there, 2 now", False),
    ],
)
def test_weights_depend_on_what_is_trained(value, of_weights):
    assert _of_weights(value) is of_weights


def test_images_machine_code_and_weights_are_told_with_what_explains_them(done, mini, copy, tmp_path, monkeypatch):
    data = shutil.copytree(mini, tmp_path / "data")
    paths = [next((data / "images/train").glob(f"{name}.*")) for name in ("T000003", "T000004")]
    for path in paths:
        content = bytearray(path.read_bytes())
        content[-20] ^= 1
        path.write_bytes(content)
    with pytest.raises(StaleArtifact, match="other ids or contents"):
        write_manifest(copy / FOLDER, data=data)
    # As if these had been the images when they were described.
    monkeypatch.setattr(manifest, "_embeddings", lambda case: {})
    write_manifest(copy / FOLDER, data=data)

    def change(values):
        values["machine"]["cpu"], values["code"]["files"]["types.py"] = "abacus", "0"
        values["checkpoint"]["weights.safetensors"]["sha256"] = "0"
        parts = values["checkpoint"]["weights.safetensors"]["parts"]
        parts[max(parts)] = "0"

    edited(copy, change)
    found = blocks(explain(done / FOLDER, copy / FOLDER))
    assert found["data"] == ["train: 2 changed: T000003, T000004"]
    assert found["code, packages"] == ["code file types.py changed"]
    assert found["machine"][0].startswith("machine.cpu: ") and found["machine"][0].endswith("'abacus' now")
    (weights,) = found["weights"]
    assert weights.startswith("others, 1 of ")
    for cause in ("data (train: 2 changed", "code, packages (code file types.py changed)", "machine (machine.cpu"):
        assert cause in weights
    assert found["PCA"] == found["bank"] == ["the same"]
    for kept in copy.glob("submissions/*/run/images"):
        shutil.rmtree(kept)
    words = blocks(explain(done / FOLDER, copy / FOLDER))["data"]
    assert words == ["train: other images; no digests were kept that tell which"]


def test_weights_that_nothing_explains_are_said_to_be_unexplained(done, copy):
    def change(values):
        for name in ("weights.safetensors", "ensemble.npz"):
            parts = values["checkpoint"][name]["parts"]
            values["checkpoint"][name]["sha256"] = parts[max(parts)] = "0"
        values["recipe"]["matching"]["norm_factor"] = 9.0

    edited(copy, change)
    found = blocks(explain(done / FOLDER, copy / FOLDER))
    (weights,), (pca,) = found["weights"], found["PCA"]
    assert weights.startswith("others, 1 of ")
    assert weights.endswith(" parts differ: same data, recipe, code, packages and machine: not explained")
    assert pca.startswith("others, 1 of ") and pca.endswith(" parts differ: explained by weights (others)")


def test_a_file_that_its_manifest_does_not_tell_of_is_pointed_out(done, copy):
    assert "is not the file" not in explain(done / FOLDER, copy / FOLDER)
    path = copy / FOLDER / "matching.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    text = explain(done / FOLDER, copy / FOLDER)
    assert f"{copy / FOLDER}: matching.csv is not the file that its manifest tells of" in text
    assert text.count("is not the file") == 1 and "1 only there, 0 only now" in text


def test_phases_of_one_run_share_all_but_the_queries(done, capsys):
    assert main(["audit", "diff", str(done / FOLDER), str(done / "submissions/phase2/run")]) == 0
    found = blocks(capsys.readouterr().out)
    assert found["data"] == ["queries there, final_queries now: the phases differ"]
    assert found["weights"] == found["PCA"] == found["recipe"] == found["machine"] == ["the same"]
    assert found["descriptors"] == [
        "0 query vectors in common, 16 only there, 16 only now",
        "24 reference vectors in common, 0 only there, 0 only now; they are the same",
    ]
    assert found["matches"][0].startswith("0 rows in common")


def test_a_missing_manifest_is_refused(copy, assert_refused):
    (copy / FOLDER / "manifest.json").unlink()
    other = copy / "submissions/phase2/run"
    assert_refused("audit", "diff", copy / FOLDER, other, saying="isckit manifest --name run --phase 1")


@pytest.fixture
def two(tmp_path):
    """Two descriptor files, the second with a row less, a row more, one float and one direction changed."""
    rng = np.random.default_rng(0)
    ids, vectors = np.char.mod("R%06d", np.arange(20)), rng.standard_normal((20, 8)).astype(np.float32)
    queries = Embeddings.whole(Role.QUERY, np.array(["Q00000", "Q00001"]), vectors[:2])
    write_descriptors(tmp_path / "a.h5", queries, Embeddings.whole(Role.REFERENCE, ids[:19], vectors[:19]))
    changed = vectors.copy()
    changed[4, 3] += 0.5
    changed[7] = -changed[7] * 0.001
    write_descriptors(tmp_path / "b.h5", queries, Embeddings.whole(Role.REFERENCE, ids[1:], changed[1:]))
    return tmp_path / "a.h5", tmp_path / "b.h5", vectors[1:19].astype(float), changed[1:19].astype(float)


def test_distances_of_vectors_are_those_of_the_plain_formulas(two):
    there, now, old, new = two
    same, words = descriptor_distance(there, now)
    assert same == "2 query vectors in common, 0 only there, 0 only now; they are the same"
    gaps = np.abs(old - new).max(axis=1)
    cosines = [a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in zip(old, new, strict=True)]
    assert words == (
        f"18 reference vectors in common, 1 only there, 1 only now; "
        f"floats differ by at most {gaps.max():.3g} (R000007), "
        f"cosine at least {min(cosines):.6f} (R000007), {np.mean(cosines):.6f} on average"
    )
    assert descriptor_distance(there, there) == ["byte-identical"]
    assert descriptor_distance(there, there.with_name("none.h5")) == ["only there"]


def test_the_order_of_rows_in_a_file_does_not_matter(two, tmp_path):
    there, now, *_ = two
    shuffled = shutil.copy(now, tmp_path / "c.h5")
    order = np.random.default_rng(1).permutation(19)
    with h5py.File(shuffled, "r+") as file:
        for name in ("reference", "reference_ids"):
            file[name][...] = file[name][...][order]
    assert descriptor_distance(there, shuffled) == descriptor_distance(there, now)


def test_distances_of_scores_are_named_by_pair(tmp_path):
    def write(name, rows):
        columns = (np.array(column) for column in zip(*rows, strict=True))
        write_matches(tmp_path / name, Matches(*columns))
        return tmp_path / name

    there = write("a.csv", [("Q00001", "R000001", 0.5), ("Q00001", "R000002", 0.25), ("Q00002", "R000001", 0.125)])
    now = write("b.csv", [("Q00001", "R000001", 0.75), ("Q00001", "R000002", 0.375), ("Q00003", "R000001", 0.125)])
    assert match_distance(there, now) == [
        "2 rows in common, 1 only there, 1 only now; "
        "largest score difference 0.25 (Q00001,R000001: 0.5 there, 0.75 now)"
    ]
    other = write("c.csv", [("Q00001", "R000001", 0.5)])
    assert match_distance(there, other) == ["1 rows in common, 2 only there, 0 only now; their scores are the same"]
    assert match_distance(other, tmp_path / "none.csv") == ["only there"]
