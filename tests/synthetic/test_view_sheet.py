import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from isckit.augment.pipelines import find, view_rng
from isckit.cli.material import augment_show
from isckit.synthetic.sheets import write_view_sheet
from isckit.types import BadInput, MissingInput

GRID = {"rows": 2, "columns": 2, "size": 24, "seed": 4}


@pytest.fixture
def files(photo, tmp_path):
    for name, seed in (("photo", 0), ("other", 3)):
        Image.fromarray(photo(40, 50, seed)).save(tmp_path / f"{name}.png")
    return tmp_path


@pytest.fixture
def show():
    app = typer.Typer()
    app.command()(augment_show)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_a_sheet_holds_the_views_of_the_file_joined_with_the_other_file(files, photo):
    out = files / "sheet.png"
    for other, second in ((files / "other.png", photo(40, 50, 3)), (None, photo(40, 50)[::-1, ::-1])):
        write_view_sheet("mild", files / "photo.png", out, **GRID, other=other)
        sheet = np.asarray(Image.open(out))
        assert sheet.shape == (2 * 26 + 2, 2 * 26 + 2, 3)
        for k, (top, left) in enumerate([(2, 28), (28, 2), (28, 28)], start=1):
            view = find("mild")(photo(40, 50), view_rng(4, 0, k, 0), lambda second=second: second, 24)
            np.testing.assert_array_equal(sheet[top : top + 24, left : left + 24], view)


def test_faults_are_told_and_nothing_is_written(files):
    (files / "letter.png").write_text("dear")
    with pytest.raises(BadInput, match="no image"):
        write_view_sheet("weak", files / "letter.png", files / "a.png", **GRID, other=None)
    with pytest.raises(MissingInput, match=r"none\.png"):
        write_view_sheet("weak", files / "photo.png", files / "a.png", **GRID, other=files / "none.png")
    assert not (files / "a.png").exists()


def test_the_verb_writes_the_sheet_and_lists_the_steps(files, show):
    done = show("s_square@0.5", "--image", files / "photo.png", "--out", files / "a.png", "--size", 16)
    assert done.exit_code == 0, done.output
    assert "unless perspective, overlay" in done.output and "a.png" in done.output
    assert Image.open(files / "a.png").size == (6 * 18 + 2, 4 * 18 + 2)


def test_the_verb_refuses_an_unknown_name_before_it_reads_the_photo(files, show):
    done = show("lyakaap.stronk", "--image", files / "none.png", "--out", files / "a.png")
    assert done.exit_code == 2 and "did you mean lyakaap.strong?" in done.output
    assert not (files / "a.png").exists()
