"""The examples, run as they stand."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from isckit import config

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_fits_on_a_page(path):
    assert path.read_text().count("\n") <= 60


def test_the_quick_start_finds_copies(mini, capsys):
    assert example("quickstart").main(mini) > 0.3
    assert "24 references, 255 values each" in capsys.readouterr().out


def test_own_loss_tells_copies_from_others():
    before, after = example("own_loss").main()
    assert after > before + 0.2


def test_own_step_takes_away_what_all_vectors_share():
    before, after = example("own_step").main()
    assert before > 0.5 and abs(after) < 0.05


def test_own_step_is_refused_on_queries():
    from isckit.types import Embeddings, Role, RuleViolation

    module = example("own_step")
    import numpy as np

    queries = Embeddings.whole(Role.QUERY, np.array(["Q00000"]), np.ones((1, 2), np.float32))
    with pytest.raises(RuleViolation):
        module.fit_centre(queries)


def test_own_feature_finds_the_copy_and_not_the_other(monkeypatch):
    from isckit.features import kinds

    monkeypatch.setattr(kinds, "FEATURES", dict(kinds.FEATURES))
    copy, other = example("own_feature").main()
    assert copy > 10 * max(other, 0.1)


def test_own_branch_scores_pairs(mini):
    assert 0.1 < example("own_branch").main(mini) < 1


def test_own_recipe_is_what_its_page_says():
    recipe = example("own_recipe").recipe()
    assert recipe.name == "mine" and recipe.members[0].dim == 64
    assert all(isinstance(stage.loss, config.NtXent) for stage in recipe.members[0].stages)
    printed = subprocess.check_output([sys.executable, EXAMPLES / "own_recipe.py"], text=True)
    assert printed == config.to_json(recipe)
