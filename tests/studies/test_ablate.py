"""Every row scores what a run of that recipe with those weights would; nothing is described twice."""

import json

import pytest
import torch
import typer
from typer.testing import CliRunner

from isckit import config
from isckit.cli import tools as interop
from isckit.data.layouts import require
from isckit.engine.distributed import Process, deterministic
from isckit.judge.score.report import score
from isckit.models.members import build, prefixed
from isckit.runs.checkpoints import write_weights
from isckit.runs.run import begin
from isckit.runs.workspace import Workspace
from isckit.studies import ablate as ablating
from isckit.studies.ablations import AblationRow, rows_of
from isckit.tracks.descriptor import descriptor_track
from isckit.tracks.extraction import extract_set
from isckit.tracks.matching import matching_track
from isckit.types import BadInput, MissingInput
from isckit.vectors.described import fit

PROCESS = {"process": Process(torch.device("cpu")), "workers": 0}
TRAINED = config.Network(
    name="net",
    backbone=config.Backbone(name="test_resnet"),
    dim=16,
    image_size=32,
    canvas=48,
    weight=2.0,
    stages=(config.Stage(name="a"), config.Stage(name="b")),
)
RECIPE = config.Recipe(
    name="small",
    members=(TRAINED, config.Gist(weight=0.5)),
    extract=config.Extract(shard_images=20),
    ensemble=config.Ensemble(dim=10),
    normalise=(config.Subtract(k=3), config.Stretch(n=2)),
    matching=config.Matching(branches=(config.Views(query_views=("mirror",), reference_views=("centre",)),)),
)
ROWS = (
    AblationRow("untrained", ("normalise=[]",), stages=0, published="0.1"),
    AblationRow("after a", ("normalise=[]",), stages=1),
    AblationRow("not normalised", ("normalise=[]",)),
    AblationRow("whole", published="0.5"),
    AblationRow("heavier", ("members.net.weight=4",)),
    AblationRow("mirrored", ("members.net.flip=true", "members.net.canvas=56")),
)
SETS = ("train", "references", "queries")


def state(seed):
    deterministic(seed)
    return build(TRAINED).state_dict()


def begun(root, recipe=RECIPE, weights=None):
    run = begin(Workspace(root), "run", recipe)
    write_weights(run.weights, prefixed("net", weights or state(7)), recipe="{}")
    return run


@pytest.fixture(scope="module")
def trained(disc, tmp_path_factory):
    """A run with weights (seed 7), the file of its first stage (seed 6) and embeddings of all sets."""
    run = begun(tmp_path_factory.mktemp("root"))
    write_weights(run.workspace.stage("run", "net", "a"), state(6), recipe="{}")
    for name in SETS:
        extract_set(run, require(disc, name), **PROCESS)
    return run


def figures(report):
    return report.average_precision, report.recall_at_p90, report.recall_at_1


def ablate(run, disc, rows, *, matching=False):
    return ablating.ablate(run, disc, rows, phase=1, matching=matching, **PROCESS)


def by_the_chain(disc, root, recipe, weights, track):
    """Score of a run of its own, by the verbs' functions and the files that they write."""
    run = begun(root, recipe, weights)
    for name in SETS:
        extract_set(run, require(disc, name), **PROCESS)
    fit(run)
    path = track(run, phase=1)
    known = {name: require(disc, name).ids for name in ("queries", "references")}
    return score(path, disc.ground_truth[1], **known, protocol="global", k=10, bootstrap=0)


@pytest.fixture(scope="module")
def scored(trained, disc):
    before = {p: p.read_bytes() for p in trained.workspace.checkpoint("run").rglob("*") if p.is_file()}
    done = ablate(trained, disc, ROWS)
    after = {p: p.read_bytes() for p in trained.workspace.checkpoint("run").rglob("*") if p.is_file()}
    assert before == after and not (trained.workspace.root / "submissions").exists()
    return done


@pytest.mark.parametrize("number", range(len(ROWS)), ids=[row.label for row in ROWS])
def test_a_row_scores_as_a_run_of_its_own_would(scored, disc, tmp_path, number):
    row = ROWS[number]
    weights = state({0: RECIPE.seed, 1: 6, None: 7}[row.stages])
    recipe = config.override(RECIPE, row.settings)
    twin = by_the_chain(disc, tmp_path, recipe, weights, descriptor_track)
    assert scored[number].row == row and figures(scored[number].descriptor) == figures(twin)


def test_the_rows_differ_so_that_a_row_in_anothers_place_would_show(scored):
    assert len({one.descriptor.average_precision for one in scored}) == len(ROWS)


def test_what_the_run_or_another_row_has_is_not_described_again(scored, trained, disc):
    made = [p.parent for p in (trained.workspace.root / "cache").glob("run.ablate.*/*/*/receipt.json")]
    copied = [p for p in made if p.parts[-3] == "run.ablate.whole"]
    described = sorted(p.parts[-2:] for p in made if p.parts[-3] != "run.ablate.whole")
    # Three networks: untrained, after a, mirrored. GIST, and the run's network under other weights of the ensemble,
    # come from the run: train as it is, the others without their views.
    assert described == sorted((name, "net") for name in SETS for _ in range(3))
    assert sorted(p.parts[-2:] for p in copied) == [(s, m) for s in ("queries", "references") for m in ("gist", "net")]
    times = {p: p.stat().st_mtime_ns for folder in made for p in folder.iterdir()}
    again = ablate(trained, disc, ROWS)
    assert [figures(one.descriptor) for one in again] == [figures(one.descriptor) for one in scored]
    assert times == {p: p.stat().st_mtime_ns for folder in made for p in folder.iterdir()}


def test_a_run_that_was_never_extracted_gives_the_same(scored, disc, tmp_path):
    rows = ROWS[2:4]
    found = ablate(begun(tmp_path), disc, rows)
    assert [figures(one.descriptor) for one in found] == [figures(one.descriptor) for one in scored[2:4]]
    assert not (tmp_path / "cache" / "run").exists()


def test_embeddings_by_earlier_weights_of_the_run_are_not_taken(scored, disc, tmp_path):
    run = begun(tmp_path, weights=state(8))
    for name in SETS:
        extract_set(run, require(disc, name), **PROCESS)
    write_weights(run.weights, prefixed("net", state(7)), recipe="{}")
    assert figures(ablate(run, disc, ROWS[3:4])[0].descriptor) == figures(scored[3].descriptor)


def test_the_matching_track_is_scored_with_its_views(trained, disc, tmp_path):
    row = AblationRow("other views", ("matching.branches.views.query_views=[quarters]",))
    for number, one in enumerate(ablate(trained, disc, (ROWS[3], row), matching=True)):
        recipe = config.override(RECIPE, one.row.settings)
        twin = by_the_chain(disc, tmp_path / str(number), recipe, state(7), matching_track)
        assert figures(one.matching) == figures(twin)


def test_substitution_touches_queries_only(trained, disc):
    """Rows that differ in it share train and references."""
    variants = ablating.Variants(trained, [], views=False, **PROCESS)
    with_boxes = config.override(RECIPE, ["substitution={boxes: boxes.csv}"])
    for images in (disc.train, disc.references, disc.queries):
        names = {variants._single(recipe, TRAINED, None, images.role).name for recipe in (RECIPE, with_boxes)}
        assert len(names) == (2 if images.name == "queries" else 1)


@pytest.mark.parametrize(
    "setting",
    ["seed=2", "members.net.stages.a.epochs=3", "members.net.gem_p=4", "members.net.dim=8", "members.net.stages=[]"],
)
def test_settings_that_touch_training_are_refused_before_any_work(disc, tmp_path, setting):
    with pytest.raises(BadInput, match="'bad' changes") as error:
        ablate(begun(tmp_path), disc, (ROWS[3], AblationRow("bad", (setting,))))
    assert setting.split("=")[0].split(".")[1 if "." in setting else 0] in error.value.seen
    assert not (tmp_path / "cache").exists()


def test_a_stage_that_left_no_file_is_named_before_any_work(disc, tmp_path):
    with pytest.raises(MissingInput, match=r"a\.safetensors"):
        ablate(begun(tmp_path), disc, ROWS)
    assert not (tmp_path / "cache").exists()


def test_a_row_after_the_last_stage_has_the_runs_weights(trained):
    assert ablating.weights_after(trained, "net", 2) == trained.weights
    assert ablating.weights_after(trained, "gist", 0) == trained.weights
    assert ablating.weights_after(trained, "net", 0) is None


def test_the_table_has_a_line_a_row_and_the_figures_stand_beside_it(scored, trained, tmp_path):
    markdown, figures_file = ablating.write(tmp_path / "t.md", trained, scored, phase=1)
    lines = markdown.read_text().splitlines()
    assert lines[0] == "| row | uAP | R@P90 | published |" and len(lines) == 2 + len(ROWS)
    first = scored[0].descriptor
    assert lines[2] == f"| untrained | {first.average_precision:.4f} | {first.recall_at_p90:.4f} | 0.1 |"
    values = json.loads(figures_file.read_text())
    assert [row["label"] for row in values["rows"]] == [row.label for row in ROWS]
    assert values["rows"][1]["stages"] == 1 and values["recipe"] == config.digest(RECIPE)
    assert values["rows"][0]["descriptor"]["average_precision"] == first.average_precision


def test_a_table_named_json_and_no_rows_are_refused(trained, disc, tmp_path):
    with pytest.raises(BadInput, match=r"t\.json"):
        ablating.figures_beside(tmp_path / "t.json")
    with pytest.raises(BadInput, match="no rows"):
        ablate(trained, disc, ())


def test_the_verb_prints_and_writes_the_recipes_own_rows(trained, mini, tmp_path):
    app = typer.Typer()
    app.command()(interop.ablate)
    arguments = ["run", "--data", mini, "--root", trained.workspace.root, "--out", tmp_path / "t.md", "--workers", 0]
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    labels = [row.label for row in rows_of(RECIPE)]
    assert labels and all(f"| {label} |" in result.output for label in labels)
    assert (tmp_path / "t.md").read_text() in result.output
    assert [row["label"] for row in json.loads((tmp_path / "t.json").read_text())["rows"]] == labels
