"""docs/fidelity.md is what the docstrings say, and leaves out no recipe that claims a publication."""

from pathlib import Path

import pytest

from isckit.cli.main import main
from isckit.recipes.catalogue import RECIPES
from isckit.recipes.fidelity import claiming, page, parts

DOCS = Path(__file__).parents[2] / "docs" / "fidelity.md"
SYSTEMS = {
    "d2lv", "separate", "imgfp", "lyakaap", "s_square", "vision_force_descriptor", "titanshield", "orb", "triplet",
    "deeprank", "gist", "multigrain", "how", "sscd",
    "pretrain.barlow_twins", "pretrain.byol", "pretrain.momentum_teacher",
}  # fmt: skip


def test_the_page_in_docs_is_made_from_todays_docstrings(capsys):
    assert main(["recipes", "fidelity"]) == 0
    assert capsys.readouterr().out == page() == DOCS.read_text(encoding="utf-8")


def test_every_system_of_the_contest_has_a_section():
    assert set(claiming()) >= SYSTEMS
    assert [line[4:-1] for line in page().splitlines() if line.startswith("## ")] == claiming()


@pytest.mark.parametrize("name", claiming())
def test_nothing_of_a_docstring_is_lost(name):
    whole = " ".join((RECIPES[name].__doc__ or "").split())
    own = parts(name)
    assert " ".join([own.pop(""), *(f"{field}: {words}" for field, words in own.items())]) == whole
    assert {"Cost", "Source"} <= own.keys()
