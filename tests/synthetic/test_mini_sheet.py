"""The sheet that shows a mini set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isckit.synthetic.sheets import write_sheet
from isckit.synthetic.write import write_mini
from isckit.types import MissingInput


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mini(tmp_path_factory.mktemp("sheet") / "mini", train=1, references=6, queries=6, size=48).folder


def test_the_sheet_shows_each_reference_left_of_its_copy(made: Path, tmp_path: Path) -> None:
    sheet = np.asarray(Image.open(write_sheet(made, tmp_path / "sheet.png", columns=2, rows=1)))
    assert sheet.ndim == 3 and sheet.shape[1] == 2 * (2 * 168 + 16) + 12
    lines = (made / "list_files" / "dev_ground_truth.csv").read_text().split()[1:]
    query, reference = next(line.split(",") for line in lines if not line.endswith(","))
    for left, path in ((12, f"references/{reference}.jpg"), (12 + 168 + 4, f"queries/{query}.jpg")):
        image = Image.open(made / "images" / path)
        scale = 168 / max(image.size)
        wide, high = round(image.width * scale), round(image.height * scale)
        x, y = left + (168 - wide) // 2, 40 + (168 - high) // 2
        shown = Image.fromarray(sheet[y : y + high, x : x + wide]).resize(image.size, Image.Resampling.BOX)
        assert np.abs(np.asarray(shown, float) - np.asarray(image.convert("RGB"), float)).mean() < 8


def test_it_has_room_for_more_than_there_is(made: Path, tmp_path: Path) -> None:
    assert Image.open(write_sheet(made, tmp_path / "sheet.png", columns=5, rows=4)).format == "PNG"


def test_sets_without_copies_or_without_distractors_are_shown_too(tmp_path: Path) -> None:
    for positives in (0.0, 1.0):
        made = write_mini(tmp_path / str(positives), train=1, references=4, queries=2, size=40, positives=positives)
        assert write_sheet(made.folder, tmp_path / f"{positives}.png").is_file()


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"edits\.csv"):
        write_sheet(tmp_path, tmp_path / "sheet.png")
