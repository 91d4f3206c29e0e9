import pytest

from isckit import config
from isckit.cli import tools as verb
from isckit.recipes import baselines as published
from isckit.runs.run import resume
from isckit.runs.workspace import Workspace
from isckit.studies import baselines as track
from isckit.studies.baselines import BASELINES, SystemRow, baselines, figures, run_name, table
from isckit.types import StaleArtifact


def small(recipe, **changed):
    return config.replace(recipe, extract=config.Extract(shard_images=16), **changed)


RECIPES = [
    small(published.phash()),
    small(published.gist(), ensemble=config.Ensemble(dim=32, whiten=0.0)),
]


@pytest.fixture(scope="module")
def made(mini, tmp_path_factory):
    root = tmp_path_factory.mktemp("baselines")
    return root, list(baselines(mini, RECIPES, root=root))


def test_every_baseline_is_an_ordinary_scored_run_of_both_tracks(made):
    root, rows = made
    workspace = Workspace(root)
    for recipe, row in zip(RECIPES, rows, strict=True):
        run = resume(workspace, run_name(recipe))
        assert run.recipe == recipe and row.system == recipe.name
        assert workspace.matches(1, run.name).is_file() and workspace.descriptors(1, run.name).is_file()
        for value in (*row.descriptor, *row.matching):
            assert 0 <= value <= 1
        assert row.descriptor[0] > 0 and row.query_seconds > 0 and row.reference_seconds > 0
        assert row.peak_bytes > 50 * 2**20


def test_hashes_have_the_same_order_in_both_tracks(made):
    phash = made[1][0]
    assert phash.descriptor[0] == pytest.approx(phash.matching[0], abs=0.02)


def test_figures_are_those_of_the_receipts(made):
    root, rows = made
    run = resume(Workspace(root), run_name(RECIPES[0]))
    queries = track._described(run, "queries")
    assert len(queries) == 1 and queries[0]["images"] == 16
    matched = track._cost(run.workspace.matches(1, run.name))["seconds"]
    assert rows[0].query_seconds == pytest.approx((queries[0]["seconds"] + matched) / 16)
    (references,) = track._described(run, "references")
    assert rows[0].reference_seconds == pytest.approx(references["seconds"] / 24)
    assert figures(run, phase=1) == rows[0]


def test_finished_runs_are_not_repeated(made, mini, monkeypatch):
    root, rows = made
    monkeypatch.setattr(track, "ProcessPoolExecutor", None)  # nothing may be started
    assert list(baselines(mini, RECIPES, root=root)) == rows


def test_a_run_of_another_recipe_is_not_taken_over(made, mini):
    other = config.replace(RECIPES[0], seed=2)
    with pytest.raises(StaleArtifact, match="another recipe"):
        list(baselines(mini, [other], root=made[0]))


def test_the_table_has_a_line_a_system_and_dashes_where_nothing_was_scored():
    rows = [
        SystemRow("one", (0.25, 0.125), (0.5, 0.0), 0.01, 0.002, 3 * 2**30),
        SystemRow("two", None, None, 1.0, 2.0, 2**20),
    ]
    lines = table(rows).splitlines()
    assert len(lines) == 4 and len({line.count("|") for line in lines}) == 1
    assert lines[2] == "| one | 0.2500 | 0.1250 | 0.5000 | 0.0000 | 0.0100 | 0.0020 | 3,072 MiB |"
    assert lines[3] == "| two | - | - | - | - | 1.0000 | 2.0000 | 1 MiB |"


def test_the_verb_prints_the_table_and_writes_it(made, mini, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("isckit.recipes.catalogue.recipe", lambda name, settings: RECIPES[int(name)])
    verb.baselines(data=mini, recipes=["0", "1"], out=tmp_path / "table.md", root=made[0], workers=0)
    text = capsys.readouterr().out
    assert text == table(made[1]) + "\n" == (tmp_path / "table.md").read_text()


def test_the_baselines_have_no_weights_from_outside():
    assert "pdq" in BASELINES and not {"multigrain", "triplet", "deeprank"} & set(BASELINES)
