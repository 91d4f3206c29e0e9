"""Mini sets: whole, true, the same each time, and never half-written."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from isckit.data.image_sets import open_folder
from isckit.data.layouts import open_disc
from isckit.synthetic.procedural import picture
from isckit.synthetic.write import STAMP, Summary, write_mini
from isckit.types import BadInput, Role, StorageFull

TINY = {"train": 6, "references": 4, "queries": 2, "size": 40, "seed": 96}
"""A set whose edits happen to need no slow import."""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "mini"
    summary = write_mini(folder, train=20, references=36, queries=30, size=64, seed=2)
    assert summary.made and str(folder) in str(summary) and "36 references" in str(summary)
    return folder


def test_the_folder_reads_as_disc21(made: Path) -> None:
    disc = open_disc(made)
    assert not disc.problems and not disc.refused
    counts = {"train": 20, "references": 36, "queries": 30, "final_queries": 30}
    for (name, count), first in zip(counts.items(), ("T000000", "R000000", "Q00000", "Q50000"), strict=True):
        images = getattr(disc, name)
        assert len(images) == count and images.ids[0] == first
    assert {phase: path.name for phase, path in disc.ground_truth.items()} == {
        1: "dev_ground_truth.csv",
        2: "final_ground_truth.csv",
    }
    assert {path.name for path in made.iterdir()} == {"images", "list_files", STAMP}


def test_every_image_is_a_jpeg_of_the_asked_size(made: Path) -> None:
    longest = {"train": 64, "references": 64, "queries": 96, "final_queries": 96}
    for name, limit in longest.items():
        for path in (made / "images" / name).iterdir():
            with Image.open(path) as image:
                image.load()
                assert image.format == "JPEG" and max(image.size) <= limit
    qualities = {tuple(Image.open(p).quantization[0][:4]) for p in (made / "images" / "train").iterdir()}  # type: ignore[attr-defined]
    assert len(qualities) > 5


def test_no_two_set_images_are_equal(made: Path) -> None:
    files = [path.read_bytes() for name in ("train", "references") for path in (made / "images" / name).iterdir()]
    assert len(set(files)) == len(files) == 56


def test_ground_truths_agree_with_the_log_of_edits(made: Path) -> None:
    lists = made / "list_files"
    dev, final = table(lists / "dev_ground_truth.csv"), table(lists / "final_ground_truth.csv")
    steps = table(lists / "edits.csv")
    for phase, rows in ((1, dev), (2, final)):
        log = {step["query_id"]: step["reference_id"] for step in steps if step["phase"] == str(phase)}
        assert {row["query_id"]: row["reference_id"] for row in rows} == log
        assert sum(row["reference_id"] != "" for row in rows) == 12 and len(rows) == 30
    used = [row["reference_id"] for row in dev + final if row["reference_id"]]
    assert len(set(used)) == len(used) == 24
    assert all((made / "images" / "references" / f"{reference}.jpg").is_file() for reference in used)
    numbers: dict[str, list[int]] = {}
    for step in steps:
        numbers.setdefault(step["query_id"], []).append(int(step["step"]))
    assert all(steps == list(range(1, len(steps) + 1)) for steps in numbers.values())


def test_the_public_ground_truth_is_the_first_half_of_phase_1(made: Path) -> None:
    public = (made / "list_files" / "public_ground_truth.csv").read_bytes()
    dev = (made / "list_files" / "dev_ground_truth.csv").read_bytes()
    assert b"\r" not in dev and dev.startswith(b"query_id,reference_id\nQ00000,")
    assert public == b"".join(dev.splitlines(keepends=True)[:16])
    assert sum(not line.endswith(b",") for line in public.splitlines()[1:]) == 6


def test_lightly_edited_copies_look_like_their_reference_and_no_other(made: Path) -> None:
    light = {"noise", "jpeg", "grayscale", "aspect", "downscale", "pixelate", "blur", "posterize", "hflip", "vflip"}
    chains: dict[tuple[str, str], set[str]] = {}
    for step in table(made / "list_files" / "edits.csv"):
        chains.setdefault((step["query_id"], step["reference_id"]), set()).add(step["op"])
    references = {path.stem: thumbnail(path) for path in (made / "images" / "references").iterdir()}
    checked = 0
    for (query, reference), ops in chains.items():
        if not ops <= light:
            continue
        folder = made / "images" / ("queries" if query < "Q5" else "final_queries")
        seen = thumbnail(folder / f"{query}.jpg").reshape(8, 8)
        turned = np.stack([seen, seen[::-1], seen[:, ::-1], seen[::-1, ::-1]]).reshape(4, 64)
        alike = {name: float((turned @ other).max()) for name, other in references.items()}
        if reference:
            assert max(alike, key=lambda name: alike[name]) == reference and alike[reference] > 0.9
            checked += 1
        else:
            assert max(alike.values()) < 0.97
    assert checked >= 2


def thumbnail(path: Path) -> np.ndarray:
    """Unit vector of an 8 x 8 grey thumbnail without its mean."""
    grey = cv2.cvtColor(pixels(path.read_bytes()), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (8, 8), interpolation=cv2.INTER_AREA).astype(float).ravel()
    small -= small.mean()
    return small / np.linalg.norm(small)


def test_bytes_are_the_same_for_one_and_two_processes(tmp_path: Path) -> None:
    write_mini(tmp_path / "one", **TINY)
    write_mini(tmp_path / "two", **TINY, workers=2)
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert one == two and len(one) == 6 + 4 + 4 + 4 + 1


def test_another_seed_gives_other_pictures(tmp_path: Path) -> None:
    write_mini(tmp_path / "a", **TINY)
    write_mini(tmp_path / "b", **{**TINY, "seed": 97})
    a, b = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert a.keys() == b.keys()
    assert not any(a[name] == b[name] for name in a if name.startswith("images/final"))


def test_the_same_set_is_left_as_it_stands_and_another_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "mini"
    write_mini(out, **TINY)
    marked = out / "images" / "train" / "T000000.jpg"
    marked.write_bytes(b"touched")
    again = write_mini(out, **TINY)
    assert not again.made and "nothing to do" in str(again) and marked.read_bytes() == b"touched"
    with pytest.raises(BadInput, match="other arguments"):
        write_mini(out, **{**TINY, "seed": 97})
    assert marked.read_bytes() == b"touched"


def test_a_folder_of_something_else_is_refused_and_an_empty_one_is_filled(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    with pytest.raises(BadInput, match="no set"):
        write_mini(mine, **TINY)
    assert contents(mine) == {"letter.txt": b"dear"}
    with pytest.raises(BadInput, match="no set"):
        write_mini(mine / "letter.txt", **TINY)
    (tmp_path / "empty").mkdir()
    assert write_mini(tmp_path / "empty", **TINY).made
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """40 photos of many kinds, and a second copy of one."""
    folder = tmp_path / "album"
    (folder / "sub folder").mkdir(parents=True)
    for k in range(40):
        image = Image.fromarray(picture(900 + k, size=(48 + k, 90)))
        path = folder / ("sub folder" if k % 3 == 0 else "") / f"photo {k} é"
        if k % 8 == 0:
            image.convert("L").save(f"{path}.png")
        elif k % 8 == 1:
            image.convert("RGBA").save(f"{path}.PNG")
        elif k % 8 == 2:
            image.convert("P").save(f"{path}.gif")
        elif k % 8 == 3:
            image.convert("CMYK").save(f"{path}.jpg")
        elif k % 8 == 4:
            exif = Image.Exif()
            exif[0x0112] = 6
            image.save(f"{path}.jpeg", exif=exif)
        else:
            image.save(f"{path}.jpg")
    shutil.copy(folder / "photo 5 é.jpg", folder / "copy.jpg")
    return folder


def write_from(album: Path, out: Path, **options: int) -> Summary:
    return write_mini(out, source=open_folder(album, Role.EXTERNAL), size=64, **options)


def test_photos_of_many_kinds_become_a_set_that_uses_each_once(album: Path, tmp_path: Path) -> None:
    summary = write_from(album, tmp_path / "mini")
    assert summary.plan.pictures == 40  # the second copy is left out
    assert (summary.plan.train, summary.plan.references, summary.plan.queries) == (25, 9, 3)
    disc = open_disc(tmp_path / "mini")
    assert not disc.problems and len(disc.train or ()) == 25
    tall = [p for p in (tmp_path / "mini" / "images" / "train").iterdir() if (s := Image.open(p).size)[0] < s[1]]
    assert tall  # EXIF orientation was applied


def test_set_images_are_the_photos_themselves_each_another(album: Path, tmp_path: Path) -> None:
    write_from(album, tmp_path / "mini")
    photos = {path.name: thumbnail(path) for path in album.rglob("photo*.jpg")}
    nearest = []
    for name in ("train", "references"):
        for path in (tmp_path / "mini" / "images" / name).iterdir():
            seen = thumbnail(path)
            best = max(photos, key=lambda photo: float(photos[photo] @ seen))
            if photos[best] @ seen > 0.995:
                nearest.append(best)
    assert len(nearest) >= 5 and len(set(nearest)) == len(nearest)


def test_a_photo_more_or_changed_makes_another_set(album: Path, tmp_path: Path) -> None:
    write_from(album, tmp_path / "mini")
    assert not write_from(album, tmp_path / "mini").made
    Image.fromarray(picture(5000, size=(60, 60))).save(album / "photo 5 é.jpg")
    with pytest.raises(BadInput, match="other arguments"):
        write_from(album, tmp_path / "mini")


def test_photos_that_cannot_be_used_are_named_together_and_nothing_is_left(album: Path, tmp_path: Path) -> None:
    (album / "broken.jpg").write_bytes((album / "photo 5 é.jpg").read_bytes()[:200])
    (album / "a text.png").write_text("not a picture")
    Image.new("RGB", (300, 3)).save(album / "a sliver.png")
    with pytest.raises(BadInput, match="3 photos that cannot be used") as caught:
        write_from(album, tmp_path / "mini", train=27, references=9, queries=3)
    assert all(name in caught.value.seen for name in ("broken", "a text", "sliver"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["album"]


def test_too_few_photos_is_refused_before_anything_is_written(album: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="40 different photos"):
        write_from(album, tmp_path / "mini", train=100)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["album"]


CALL = "import pathlib, isckit.synthetic.write as s; s.write_mini(pathlib.Path({out!r}), **{args!r})"
BIGGER = {"train": 90, "references": 4, "queries": 2, "size": 128, "seed": 3}


def test_a_killed_run_leaves_no_set_and_is_taken_up_again(tmp_path: Path) -> None:
    out, part = tmp_path / "mini", tmp_path / ".mini.part"
    run = subprocess.Popen([sys.executable, "-c", CALL.format(out=str(out), args=BIGGER)], stderr=subprocess.DEVNULL)
    while len(list(part.rglob("*.jpg"))) < 5:
        assert run.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not out.exists()
    (part / "images" / "train" / ".T000089.jpg.1.part").write_bytes(b"half")
    early = {path.name: path.stat().st_mtime_ns for path in part.rglob("*.jpg")}

    assert write_mini(out, **BIGGER).made
    late = {path.name: path.stat().st_mtime_ns for path in out.rglob("*.jpg")}
    assert early.items() <= late.items() and len(late) == 98
    write_mini(tmp_path / "at once", **BIGGER)
    assert contents(out) == contents(tmp_path / "at once")
    assert not part.exists()


def test_what_a_killed_run_of_other_arguments_left_is_thrown_away(tmp_path: Path) -> None:
    stale = tmp_path / ".mini.part" / "images" / "train"
    stale.mkdir(parents=True)
    (stale / "T000000.jpg").write_bytes(b"stale")
    (tmp_path / ".mini.part" / STAMP).write_text(json.dumps({"seed": 77}))
    write_mini(tmp_path / "mini", **TINY)
    assert (tmp_path / "mini" / "images" / "train" / "T000000.jpg").read_bytes() != b"stale"


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    # A limit on file sizes stands in for the disk; it needs a process of its own.
    if (child := os.fork()) == 0:
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
            write_mini(tmp_path / "mini", **{**TINY, "size": 200})
        except StorageFull as error:
            code = 0 if "no space left" in error.seen else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert list(tmp_path.iterdir()) == []
