"""What is described of an image set: for each member the views of the branches that look at it, and no more."""

import numpy as np
import pytest
import torch

from isckit import config
from isckit.data.layouts import require
from isckit.engine.distributed import Process
from isckit.matching.inputs import open_table, sought_in, table_folder
from isckit.models.members import build, prefixed
from isckit.runs.artifacts import read_receipt
from isckit.runs.checkpoints import write_weights
from isckit.runs.embeddings import read_shards
from isckit.runs.run import begin
from isckit.runs.workspace import Workspace
from isckit.tracks.extraction import extract_set, views_of
from isckit.types import BadInput, Embeddings, MissingInput, Role, StaleArtifact
from isckit.vectors.described import combined
from isckit.views.proposals import propose

CPU = Process(torch.device("cpu"))
SMALL = config.Network(backbone=config.Backbone(name="test_resnet"), dim=16, image_size=32, canvas=64, stages=())
PROPOSALS = config.Proposals(scale=100.0, least_pixels=200, longest=48, most=3)


def views(name, **settings):
    return config.Views(name=name, space=config.Space(), **{"query_views": (), "reference_views": (), **settings})


def recipe(*branches, **settings):
    members = (SMALL, config.Gist(), config.replace(SMALL, name="soft", blur=3.0, weights_of="network"))
    matching = config.Matching(branches=branches)
    return config.Recipe(name="r", members=members, matching=matching, proposals=PROPOSALS, **settings)


ONE = views("one", members=("network",), query_views=("mirror", "proposals"), reference_views=("quarters",))
TWO = views("two", members=("gist", "soft"), query_views=("centre",))


def started(root, made):
    run = begin(Workspace(root), "run", made)
    torch.manual_seed(0)
    write_weights(run.weights, prefixed("network", build(SMALL).state_dict()), recipe=config.to_json(made))
    return run


@pytest.fixture(scope="module")
def run(disc, tmp_path_factory):
    run = started(tmp_path_factory.mktemp("root"), recipe(ONE, TWO))
    for image_set in ("queries", "references"):
        extract_set(run, require(disc, image_set), process=CPU, workers=0)
    return run


def rows(run, image_set, member):
    return Embeddings.joined(list(read_shards(run.folder(image_set, member))))


def test_a_member_has_the_views_of_the_branches_that_look_at_it():
    made = recipe(ONE, TWO)
    assert views_of(made, Role.QUERY, "network").names == ("whole", "mirror", *(f"proposal_0{k}" for k in range(3)))
    assert views_of(made, Role.QUERY, "gist").names == ("whole", "centre") == views_of(made, Role.QUERY, "soft").names
    assert len(views_of(made, Role.REFERENCE, "network").names) == 5
    for member in ("gist", "soft"):
        assert views_of(made, Role.REFERENCE, member).names == ("whole",)
    for member in ("network", "gist", "soft", None):
        assert views_of(made, Role.TRAIN, member).names == ("whole",)
    assert len(views_of(made, Role.QUERY).names) == 6
    everyone = recipe(ONE, config.Views(query_views=("rotations",), reference_views=()))
    assert views_of(everyone, Role.QUERY, "gist").names == ("whole", "turn90", "turn180", "turn270")


def test_rows_of_members_and_of_the_ensemble_are_where_the_branches_look(run, disc):
    queries = require(disc, "queries")
    table = open_table(run, "queries")
    from isckit.data.images import decode

    for k in range(len(queries)):
        image = decode(queries.read(k), name="q")
        assert np.array_equal(table.proposals_of(k), propose(image, PROPOSALS))
        assert table.sizes[k].tolist() == list(image.shape[:2])
    network = rows(run, "queries", "network")
    assert len(network.ids) == 2 * len(queries) + table.proposal_counts.sum() > 2 * len(queries)
    assert len(rows(run, "queries", "gist").ids) == 2 * len(queries)
    assert len(rows(run, "references", "network").ids) == 5 * len(rows(run, "references", "gist").ids)
    (whole,) = combined(run, "queries")  # all members have the whole image under one number
    assert whole.ids.tolist() == queries.ids.tolist() and whole.vectors.shape[1] == 16 + 960 + 16


def test_blurring_leaves_queries_alone(run):
    for image_set, equal in (("queries", True), ("references", False)):
        sharp, soft = (rows(run, image_set, member).named(("whole",)).vectors for member in ("network", "soft"))
        assert np.allclose(sharp, soft, atol=1e-5) == equal


def test_a_second_extraction_finds_everything_there(run, disc):
    before = {p: p.stat().st_mtime_ns for p in run.workspace.root.rglob("shard-*")}
    extract_set(run, require(disc, "queries"), process=CPU, workers=0)
    assert before == {p: p.stat().st_mtime_ns for p in run.workspace.root.rglob("shard-*")}


def test_embeddings_of_found_views_hang_on_what_was_sought(run, disc, tmp_path):
    made = config.replace(run.recipe, proposals=config.replace(PROPOSALS, most=2))
    other = started(tmp_path, made)
    for name in ("views", "network"):
        source = run.workspace.root / "cache" / "run" / "queries" / name
        (tmp_path / "cache/run/queries").mkdir(parents=True, exist_ok=True)
        (tmp_path / "cache/run/queries" / name).symlink_to(source)
    with pytest.raises(StaleArtifact, match="proposals"):
        extract_set(other, require(disc, "queries"), process=CPU, workers=0)


def test_a_table_is_made_where_a_branch_needs_it_only(run, disc):
    assert not table_folder(run, "references").exists()
    with pytest.raises(MissingInput, match="references"):
        open_table(run, "references")
    assert read_receipt(table_folder(run, "queries"))["facts"]["complete"]
    assert sought_in(recipe(TWO), Role.QUERY) is None
    agreement = config.Agreement(name="a", members=("network", "gist"), min_side=100, faceless=True)
    assert sought_in(recipe(agreement), Role.QUERY).faces is False
    assert sought_in(recipe(agreement), Role.REFERENCE).faces is True
    assert sought_in(recipe(agreement), Role.TRAIN) is None
    local = config.Local(of="overlay")
    assert sought_in(recipe(local), Role.QUERY).boxes is True and sought_in(recipe(local), Role.REFERENCE) is None
    own = recipe(TWO, substitution=config.Substitution(boxes=""))
    assert sought_in(own, Role.QUERY).boxes is True and sought_in(own, Role.REFERENCE) is None
    elsewhere = recipe(TWO, substitution=config.Substitution(boxes="boxes.csv"))
    assert sought_in(elsewhere, Role.QUERY) is None


def test_overlays_without_a_detector_are_refused(disc, tmp_path):
    run = started(tmp_path, recipe(views("one", query_views=("overlays",))))
    with pytest.raises(BadInput, match="no detector"):
        extract_set(run, require(disc, "queries"), process=CPU, workers=0)
