"""Every kind of tampering is found, named, and nothing else is."""

import json
import os
import shutil

import h5py
import pytest
from spoiled import fit_further

from isckit.cli.main import main
from isckit.judge.audit.manifest import write_manifest
from isckit.judge.audit.records import inconsistencies
from isckit.judge.audit.verify import verify
from isckit.judge.freeze import seal
from isckit.judge.rules.finding import Case
from isckit.runs.artifacts import write_json
from isckit.runs.records import read_json
from isckit.runs.workspace import Workspace
from isckit.types import BadInput, MissingInput, StaleArtifact

FOLDER = "submissions/phase1/run"


@pytest.fixture
def place(done, mini, tmp_path):
    """A copy of a run through both phases, and of its images, to spoil."""
    shutil.copytree(done, tmp_path / "place/root")
    shutil.copytree(mini, tmp_path / "place/data")
    return tmp_path / "place"


def changes(place, *, phase=1, data=True):
    folder = place / f"root/submissions/phase{phase}/run"
    return verify(folder, data=place / "data" if data else None).changes


@pytest.mark.parametrize("phase", [1, 2])
def test_an_untouched_submission_is_verified_and_nothing_is_written(place, phase):
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    done = verify(place / f"root/submissions/phase{phase}/run", data=place / "data")
    assert done.passed and done.changes == [] and not any("images" in note for note in done.notes), str(done)
    assert "88 images" in done.examined and str(done).endswith("VERIFIED")
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before


@pytest.fixture
def further(copy):
    """Root of a run with a space and a threshold of its own, and its manifest."""
    fit_further(copy)
    write_manifest(copy / FOLDER)
    return copy


def test_tampering_with_what_branches_fitted_is_named(further):
    before = verify(further / FOLDER).changes  # the recipe is another one than the submission was made with
    own = further / "checkpoints/run"
    with h5py.File(own / "spaces/views/bank.h5", "r+") as bank:
        bank["vectors"][0, 0] += 1
    threshold = own / "thresholds/views.json"
    threshold.unlink()
    values = read_json(own / "spaces/views/receipt.json")
    values["facts"]["images"] += 1
    write_json(own / "spaces/views/receipt.json", values)
    images = values["facts"]["images"]
    told = f"receipt value facts.images: {images - 1} there, {images} now"
    assert [words for words in verify(further / FOLDER).changes if words not in before] == [
        "spaces/views/bank.h5: 1 changed: vectors rows 0-47",
        f"spaces/views/bank.h5: {told}",
        f"spaces/views/projection.npz: {told}",
        "thresholds/views.json: is gone",
    ]


@pytest.mark.parametrize("key", ["space", "train"])
def test_a_space_that_was_made_from_something_else_is_named(further, key):
    own = further / "checkpoints/run/spaces/views/receipt.json"
    values = read_json(own)
    values["made_from"][key] = "other"
    write_json(own, values)
    write_manifest(further / FOLDER)
    told = f"spaces/views/projection.npz: by its receipt made from another {key} than the one recorded"
    assert told in verify(further / FOLDER).changes
    assert sum("spaces" in words for words in verify(further / FOLDER).changes) == 2


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("file", "position", "told"),
    [
        ("checkpoints/run/weights.safetensors", -1, "1 changed: network."),
        ("checkpoints/run/weights.safetensors", 12, "changed"),
        ("checkpoints/run/ensemble.npz", 300, "Bad CRC-32"),
        ("checkpoints/run/freeze.json", 40, "changed: sha256 "),
        ("checkpoints/run/training/network/metrics.jsonl", 20, "1 changed: line 1"),
        ("checkpoints/run/training/network/last.pt", 999, "changed: sha256 "),
    ],
)
def test_a_changed_byte_of_a_file_is_named_by_file_and_part(place, file, position, told):
    path = place / "root" / file
    flip(path, position)
    (found,) = changes(place)
    assert found.startswith((path.name, f"training/network/{path.name}")) and told in found


def column_of(path, name):
    with h5py.File(path) as file:
        return file[name].id.get_offset(), file[name].shape[1] * 4


@pytest.mark.parametrize(
    ("file", "dataset", "row", "place_in_row", "told"),
    [
        (f"{FOLDER}/descriptors.h5", "reference", 5, 17, "1 changed: reference rows 0-23"),
        (f"{FOLDER}/descriptors.h5", "query", 0, 0, "1 changed: query rows 0-15"),
        ("checkpoints/run/bank.h5", "vectors", 2, 39, "1 changed: vectors rows 0-47"),
    ],
)
def test_a_changed_byte_of_a_vector_is_named_by_dataset_and_rows(place, file, dataset, row, place_in_row, told):
    path = place / "root" / file
    offset, width = column_of(path, dataset)
    flip(path, offset + row * width + 4 * place_in_row)
    assert changes(place) == [f"{path.name}: {told}"]


def test_another_role_of_the_bank_and_a_lost_dataset_are_named(place):
    with h5py.File(place / "root/checkpoints/run/bank.h5", "r+") as file:
        file.attrs["role"] = "query"
    with h5py.File(place / "root" / FOLDER / "descriptors.h5", "r+") as file:
        del file["query"]
    told = ["bank.h5: 1 changed: (attributes)", "descriptors.h5: 1 gone: query rows 0-15"]
    assert changes(place) == told


def crash_hdf5(path):
    data = bytearray(path.read_bytes())
    data[data.index(b"view_names") + 17] ^= 0xFF  # inside the header of an attribute
    path.write_bytes(data)


def test_a_byte_that_crashes_hdf5_is_survived_and_the_file_named(place):
    crash_hdf5(place / "root/checkpoints/run/bank.h5")
    (found,) = changes(place)
    assert found.startswith("bank.h5: changed, and cannot be read")


def test_a_byte_that_crashes_hdf5_is_survived_beside_an_edited_manifest(place):
    crash_hdf5(place / "root/checkpoints/run/bank.h5")
    edited(place, lambda values: values.update(name="other"))
    found = changes(place, data=False)
    assert found[0] == "manifest.json: was edited: name: 'other' there, 'run' now" and len(found) == 2
    edited(place, lambda values: values.update(seal="0" * 64))
    assert changes(place, data=False)[0] == "manifest.json: was edited: its seal does not fit its content"


def test_two_swapped_ids_of_the_descriptors_are_named(place):
    with h5py.File(place / "root" / FOLDER / "descriptors.h5", "r+") as file:
        file["query_ids"][1], file["query_ids"][2] = file["query_ids"][2], file["query_ids"][1]
    assert changes(place) == ["descriptors.h5: 1 changed: query_ids rows 0-15"]


def test_descriptors_cut_short_cannot_be_read_and_a_missing_file_is_gone(place):
    path = place / "root" / FOLDER / "descriptors.h5"
    path.write_bytes(path.read_bytes()[:-100])
    (place / "root/checkpoints/run/bank.h5").unlink()
    gone, damaged = changes(place)
    assert gone == "bank.h5: is gone" and damaged.startswith("descriptors.h5: changed, and cannot be read")


def csv(place, change):
    path = place / "root" / FOLDER / "matching.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(change(lines)) + "\n")
    return lines


def test_a_changed_score_and_a_lost_row_are_named_by_the_rows_they_stand_among(place):
    lines = csv(place, lambda lines: [*lines[:7], lines[7].rsplit(",", 1)[0] + ",0.125", *lines[8:]])
    rows = f"rows 0-{len(lines) - 2}"
    assert changes(place) == [f"matching.csv: 1 changed: score {rows}"]
    csv(place, lambda lines: lines[:-1])
    gone, new = (
        ", ".join(f"{column} rows 0-{last}" for column in ("query_id", "reference_id", "score"))
        for last in (len(lines) - 2, len(lines) - 3)
    )
    assert changes(place) == [f"matching.csv: 3 gone: {gone}; 3 new: {new}"]


def test_a_last_digit_of_a_score_and_another_header_are_named(place):
    path = place / "root" / FOLDER / "matching.csv"
    data = path.read_bytes()
    end = data.index(b"\n", 200)
    digit = b"8" if data[end - 1 : end] != b"8" else b"3"
    path.write_bytes(data[: end - 1] + digit + data[end:])
    assert changes(place)[0].startswith("matching.csv: 1 changed: score rows 0-")
    path.write_bytes(data.replace(b"query_id", b"query", 1))
    assert changes(place) == ["matching.csv: changed, and cannot be read: 1 malformed lines: 1"]


def test_the_same_rows_in_other_bytes_are_told_as_that(place):
    path = place / "root" / FOLDER / "matching.csv"
    path.write_text(path.read_text().removesuffix("\n"))
    assert changes(place) == ["matching.csv: other bytes, the same content"]


def test_a_changed_recipe_value_is_named_with_both_values(place):
    path = place / "root/checkpoints/run/recipe.json"
    values = read_json(path)
    values["ensemble"]["dim"], values["members"][0]["stages"][0]["optim"]["lr"] = 30, 0.5
    write_json(path, values)
    found = changes(place)
    assert found[0] == "recipe.json: recipe value ensemble.dim: 40 there, 30 now" and len(found) == 2
    assert found[1].startswith("recipe.json: recipe value members.0.stages.0.optim.lr: ") and found[1].endswith(
        "0.5 now"
    )
    path.write_text("{")
    (found,) = changes(place)
    assert found.startswith("recipe.json: changed, and cannot be read")


def image(place, image_set, name):
    return next((place / "data/images" / image_set).glob(f"{name}.*"))


def test_a_changed_image_of_the_same_size_two_swapped_ones_and_a_lost_one_are_named(place):
    path = image(place, "references", "R000007")
    times = path.stat()
    flip(path, -30)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    first, second = (image(place, "queries", name) for name in ("Q00003", "Q00009"))
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)
    image(place, "train", "T000004").unlink()
    assert changes(place) == [
        "images: T000004 is gone",
        "images: R000007 changed",
        "images: Q00003 and Q00009 are swapped",
    ]
    assert changes(place, data=False) == []


def test_without_kept_digests_the_set_is_named(place):
    shutil.rmtree(place / "root" / FOLDER / "images")
    shutil.rmtree(place / "root/submissions/phase2/run/images")
    flip(image(place, "references", "R000007"), -30)
    assert changes(place) == ["images: references changed; no digests were kept that tell which"]


def edited(place, change):
    path = place / "root" / FOLDER / "manifest.json"
    values = read_json(path)
    change(values)
    write_json(path, values)


@pytest.mark.parametrize(
    ("keys", "value", "told"),
    [
        (["results", "score", "matching", "average_precision"], 0.99, "score.matching.average_precision: 0.99 there"),
        (["artifacts", "matching.csv", "sha256"], "0" * 64, "artifacts.matching.csv.sha256: '000"),
        (["recipe", "seed"], 9, "recipe.seed: 9 there, 1 now"),
        (["name"], "other", "name: 'other' there, 'run' now"),
        (["embeddings", "train/gist", "made_from", "weights"], "x", "train/gist.made_from.weights: 'x' there"),
        (["packages", "numpy"], "0.1", "packages.numpy: '0.1' there"),
        (["images", "train", "digest"], "0" * 64, "its seal does not fit its content"),
        (["seal"], "0" * 64, "its seal does not fit its content"),
    ],
)
def test_an_edited_value_of_the_manifest_is_named(place, keys, value, told):
    def change(values):
        for key in keys[:-1]:
            values = values[key]
        assert values[keys[-1]] != value
        values[keys[-1]] = value

    edited(place, change)
    found = changes(place, data=False)
    assert len(found) == 1 and found[0].startswith("manifest.json: was edited: ") and told in found[0]


def test_a_manifest_written_anew_over_a_changed_file_has_another_seal_than_the_deposited_one(place):
    folder = place / "root" / FOLDER
    deposited = read_json(folder / "manifest.json")["seal"]
    csv(place, lambda lines: lines[:-1])
    write_manifest(folder, data=place / "data")
    assert verify(folder).passed
    (found,) = verify(folder, seal=deposited).changes
    assert deposited in found and read_json(folder / "manifest.json")["seal"] in found


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        (["artifacts", "descriptors.h5", "receipt", "made_from", "bank"], "descriptors.h5"),
        (["artifacts", "matching.csv", "receipt", "made_from", "queries"], "matching.csv"),
        (["checkpoint", "bank.h5", "receipt", "made_from", "train"], "bank.h5"),
        (["embeddings", "queries/gist", "made_from", "weights"], "embeddings queries/gist"),
        (["embeddings", "queries/gist", "made_from", "images"], "embeddings queries/gist"),
    ],
)
def test_records_that_do_not_fit_one_another_are_named(done, keys, what):
    folder = done / FOLDER
    manifest = read_json(folder / "manifest.json")
    case = Case(*Workspace.locate(folder))
    assert inconsistencies(case, manifest) == []
    node = manifest
    for key in keys[:-1]:
        node = node[key]
    assert len(node[keys[-1]]) == 64
    node[keys[-1]] = "f" * 64
    told = f"{what}: by its receipt made from another {keys[-1]} than the one recorded"
    assert told in inconsistencies(case, manifest)


def test_a_changed_receipt_is_named_by_its_value(place):
    path = place / "root" / FOLDER / "matching.csv.receipt.json"
    values = read_json(path)
    values["facts"]["rows"] += 1
    write_json(path, values)
    (found,) = changes(place)
    assert found.startswith("matching.csv: receipt value facts.rows: ")


def test_another_machine_and_version_new_files_and_scores_are_notes(place):
    def change(values):
        values["packages"]["numpy"] = "0.1"
        values["machine"]["cpu"] = "abacus"
        values["code"]["files"]["types.py"] = "0"
        values["code"]["files"]["gone.py"] = "0"
        values["seal"] = seal(values)

    edited(place, change)
    folder = place / "root" / FOLDER
    score = read_json(folder / "score.json")
    score["matching"]["average_precision"] = 0.875
    write_json(folder / "score.json", score)
    (place / "root/checkpoints/run/more.txt").write_text("x")
    shutil.rmtree(place / "root/cache/run/train")
    done = verify(folder)
    assert done.passed
    told = "\n".join(done.notes)
    for words in (
        "package numpy 0.1 there",
        "machine.cpu: 'abacus' there",
        "code file types.py changed",
        "code file gone.py is gone",
        "matching.average_precision: ",
        "not in the manifest: more.txt",
        "embeddings are gone, and were not looked at: train/gist, train/network",
        "images: train not looked at, no --data",
    ):
        assert words in told, (words, told)


def test_the_verb_ends_with_1_on_a_change_and_2_without_a_manifest(place, capsys):
    folder = place / "root" / FOLDER
    verify_it = ["audit", "verify", str(folder), "--data", str(place / "data"), "--workers", "1"]
    assert main(verify_it) == 0 and "88 images" in (out := capsys.readouterr().out) and out.endswith("\nVERIFIED\n")
    csv(place, lambda lines: lines[:-1])
    assert main(verify_it) == 1 and "NOT VERIFIED: 1 changes" in capsys.readouterr().out
    (folder / "manifest.json").unlink()
    assert main(verify_it) == 2 and "isckit manifest --name run --phase 1" in capsys.readouterr().err


def test_a_foreign_manifest_is_refused(place):
    folder = place / "root" / FOLDER
    (folder / "manifest.json").write_text(json.dumps({"name": "run"}))
    with pytest.raises(BadInput, match="no record that this kit writes: format: Field required"):
        verify(folder)
    with pytest.raises(MissingInput):
        verify(place / "root/submissions/phase1/other")


def test_other_images_than_those_described_are_refused_by_the_manifest(place):
    path = image(place, "references", "R000003")
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(StaleArtifact, match="references images"):
        write_manifest(place / "root" / FOLDER, data=place / "data")
