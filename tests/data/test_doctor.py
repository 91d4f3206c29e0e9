"""Claims about the doctor: it finds what is broken, missing or mixed up, tells what can be run, and never raises."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isckit.data.doctor import broken_images, examine, render
from isckit.data.layouts import open_disc
from isckit.types import BadInput


def jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def fill(folder: Path, ids: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(ids):
        (folder / f"{name}.jpg").write_bytes(jpeg(seed))
    return folder


def diagnose(root: Path, *, decode: str = "all", sample: int = 10, workers: int = 0):
    return examine(open_disc(root), decode=decode, sample=sample, workers=workers)


def abilities(diagnosis) -> dict[str, bool]:
    return {ability.name: ability.possible for ability in diagnosis.abilities}


@pytest.fixture
def disc(tmp_path):
    root = tmp_path / "disc"
    fill(root / "train", [f"T{i:06d}" for i in range(6)])
    fill(root / "references", [f"R{i:06d}" for i in (2, 3, 7, 8, 12)])
    fill(root / "queries", [f"Q{i:05d}" for i in range(4)])
    (root / "public_ground_truth.csv").write_text("query_id,reference_id\nQ00000,R000002\nQ00001,\nQ00002,R000007\n")
    return root


def test_a_sound_part_of_disc21_has_no_problems(disc):
    diagnosis = diagnose(disc)
    assert [(s.name, s.count, s.first, s.last, s.decoded, s.broken) for s in diagnosis.sets] == [
        ("train", 6, "T000000", "T000005", 6, ()),
        ("references", 5, "R000002", "R000012", 5, ()),
        ("queries", 4, "Q00000", "Q00003", 4, ()),
    ]
    assert diagnosis.problems == ()
    assert abilities(diagnosis) == {
        "train": True,
        "phase 1": True,
        "score phase 1": True,
        "phase 2": False,
        "score phase 2": False,
    }


def test_ids_missing_between_the_first_and_the_last_are_listed_as_ranges(disc):
    by_name = {s.name: s for s in diagnose(disc, decode="none").sets}
    assert by_name["references"].gaps == ("R000004..R000006", "R000009..R000011")
    assert by_name["references"].missing == 6
    assert by_name["train"].gaps == ()
    (disc / "queries" / "Q00001.jpg").unlink()
    assert diagnose(disc, decode="none").sets[2].gaps == ("Q00001",)


@pytest.mark.parametrize("workers", [0, 2])
def test_every_broken_image_is_found_with_its_reason(tmp_path, workers):
    folder = fill(tmp_path / "references", [f"R{i:06d}" for i in range(200)])
    (folder / "R000003.jpg").write_bytes(b"")
    (folder / "R000070.jpg").write_bytes(jpeg(1)[:-50])
    (folder / "R000199.jpg").write_bytes(b"<html>404</html>")
    (references,) = diagnose(tmp_path, workers=workers).sets
    assert references.decoded == 200
    assert [name for name, _ in references.broken] == ["R000003", "R000070", "R000199"]
    for (_, reason), expected in zip(references.broken, ("empty", "truncated", "404"), strict=True):
        assert expected in reason


def test_a_sample_is_spread_over_the_ids_and_none_decodes_nothing(tmp_path):
    folder = fill(tmp_path / "queries", [f"Q{i:05d}" for i in range(101)])
    for i in (0, 50, 100, 17):
        (folder / f"Q{i:05d}.jpg").write_bytes(b"x")
    (sampled,) = diagnose(tmp_path, decode="sample", sample=3).sets
    assert sampled.decoded == 3
    assert [name for name, _ in sampled.broken] == ["Q00000", "Q00050", "Q00100"]
    (unseen,) = diagnose(tmp_path, decode="none").sets
    assert (unseen.decoded, unseen.broken) == (0, ())
    (whole,) = diagnose(tmp_path, decode="sample", sample=1000).sets
    assert (whole.decoded, len(whole.broken)) == (101, 4)


def test_folders_and_archives_are_counted(tmp_path):
    fill(tmp_path / "references", ["R000000"])
    for shard in (1, 2):
        with zipfile.ZipFile(tmp_path / f"references_{shard}.zip", "w") as opened:
            opened.writestr(f"R{shard:06d}.jpg", jpeg(shard))
            opened.writestr(f"R{shard + 2:06d}.png", jpeg(shard))
    (references,) = diagnose(tmp_path).sets
    assert (references.count, references.folders, references.archives, references.broken) == (5, 1, 2, ())


def test_a_damaged_archive_is_reported_and_the_rest_examined(disc):
    with zipfile.ZipFile(disc / "references_0.zip", "w") as opened:
        opened.writestr("R000020.jpg", jpeg(0))
    data = (disc / "references_0.zip").read_bytes()
    (disc / "references_1.zip").write_bytes(data[:-20])
    diagnosis = diagnose(disc)
    assert any("references_1.zip is broken" in problem for problem in diagnosis.problems)
    assert diagnosis.sets[1].count == 6
    assert abilities(diagnosis)["phase 1"] is False
    assert abilities(diagnosis)["train"] is True
    damaged = bytearray(data)
    damaged[120] ^= 0xFF
    (disc / "references_0.zip").write_bytes(damaged)
    (disc / "references_1.zip").unlink()
    (broken,) = diagnose(disc).sets[1].broken
    assert broken[0] == "R000020"
    assert "CRC" in broken[1]


def test_labels_without_images_are_counted_on_both_sides(disc):
    (disc / "public_ground_truth.csv").write_text("Q00000,R000002\nQ00001,R000009\nQ00007,\nQ00008,R000011\n")
    diagnosis = diagnose(disc, decode="none")
    (label,) = diagnosis.labels
    assert (label.phase, label.labelled, label.pairs) == (1, 4, 3)
    assert label.absent_queries == ("Q00007", "Q00008")
    assert label.absent_references == ("R000009", "R000011")
    score = next(a for a in diagnosis.abilities if a.name == "score phase 1")
    assert score.possible
    assert "2 of 4 labelled queries" in score.reason


def test_scoring_needs_a_labelled_query_at_hand(disc):
    (disc / "public_ground_truth.csv").write_text("Q00010,R000002\n")
    assert abilities(diagnose(disc, decode="none"))["score phase 1"] is False


@pytest.mark.parametrize("text", [b"", b"\xff\xfe\x00", b"Q00000,R000002,1\n", b"Q00000,R000002\nQ00000,R000002\n"])
def test_a_faulty_ground_truth_is_reported(disc, text):
    (disc / "public_ground_truth.csv").write_bytes(text)
    diagnosis = diagnose(disc, decode="none")
    assert diagnosis.labels[0].fault
    assert abilities(diagnosis)["score phase 1"] is False
    assert "ground truth of phase 1" in render(diagnosis)


def test_mixed_up_ids_forbid_the_phase_that_needs_them(disc):
    fill(disc / "queries", ["R000099"])
    diagnosis = diagnose(disc, decode="none")
    assert abilities(diagnosis)["phase 1"] is False
    assert any("R000099" in problem for problem in diagnosis.problems)


def test_phase_2_without_train_images_needs_a_checkpoint(tmp_path):
    fill(tmp_path / "references", ["R000000"])
    fill(tmp_path / "final_queries", ["Q50000"])
    diagnosis = diagnose(tmp_path)
    assert abilities(diagnosis) == {
        "train": False,
        "phase 1": False,
        "score phase 1": False,
        "phase 2": True,
        "score phase 2": False,
    }
    phase_2 = next(a for a in diagnosis.abilities if a.name == "phase 2")
    assert "checkpoint" in phase_2.reason


def test_an_empty_folder_is_a_diagnosis_too(tmp_path):
    diagnosis = diagnose(tmp_path)
    assert diagnosis.sets == ()
    assert not any(abilities(diagnosis).values())
    assert "which is empty" in render(diagnosis)


def test_a_choice_that_does_not_exist_is_refused(tmp_path):
    for decode, sample in (("some", 10), ("sample", 0)):
        with pytest.raises(BadInput):
            diagnose(tmp_path, decode=decode, sample=sample)


def test_the_text_shows_every_finding_in_aligned_columns(disc):
    (disc / "references" / "R000003.jpg").write_bytes(b"")
    (disc / "references" / "extra.txt").write_text("x")
    (disc / "public_ground_truth.csv").write_text("Q00000,R000002\nQ00009,\n")
    text = render(diagnose(disc))
    for finding in (
        "layout isc2021",
        "R000004..R000006",
        "references broken R000003: the file is empty",
        "Q00009",
        "extra.txt",
        "phase 2",
        "1,000,000",
    ):
        assert finding in text
    lines = text.splitlines()
    header = next(i for i, line in enumerate(lines) if "in DISC21" in line)
    ends = {lines[header + k].index("1,000,000") for k in (1, 2)}
    assert len(ends) == 1
    assert ends.pop() + len("1,000,000") == lines[header].index("in DISC21") + len("in DISC21")


def test_the_number_of_workers_changes_nothing(tmp_path):
    folder = fill(tmp_path / "queries", [f"Q{i:05d}" for i in range(150)])
    for i in range(0, 150, 11):
        (folder / f"Q{i:05d}.jpg").write_bytes(jpeg(i)[: 30 * (1 + i // 11)])
    images = open_disc(tmp_path).queries
    alone = broken_images(images, workers=0)
    assert alone == broken_images(images, workers=2)
    assert len(alone) == 14
