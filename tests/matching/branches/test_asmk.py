"""The ASMK branch from images to scored pairs, with a network of random weights."""

import dataclasses

import numpy as np
import pytest
import torch

from isckit import config
from isckit.data.image_sets import open_folder
from isckit.engine.distributed import Process
from isckit.matching.branches import asmk, codes
from isckit.matching.codes import read_code_shards
from isckit.matching.inputs import MatchingInputs
from isckit.models.members import build, prefixed
from isckit.runs.artifacts import read_receipt
from isckit.runs.checkpoints import write_weights
from isckit.runs.run import begin
from isckit.runs.workspace import Workspace
from isckit.types import BadInput, MissingInput, Role, StaleArtifact

PLACE = Process(torch.device("cpu"))
NETWORK = config.Network(
    backbone=config.Backbone(name="test_resnet", cut="last_stage"),
    head=config.Head(bias=True, norm=False),
    dim=24,
    pooling="attention",
    image_size=32,
    canvas=64,
    stages=(),
)
BRANCH = config.Asmk(
    member="network", words=40, fit_images=20, features=30, scales=(1.0, 0.5), longest=64, query_words=3, norm_rank=5
)


def new_run(root, **changes):
    recipe = config.Recipe(
        name="test",
        members=(NETWORK,),
        matching=config.Matching(branches=(BRANCH,)),
        ensemble=config.Ensemble(how="shared", dim=24),
        extract=config.Extract(shard_images=10, **changes),
    )
    run = begin(Workspace(root), "run", recipe)
    torch.manual_seed(3)
    weights = prefixed("network", build(NETWORK).state_dict())
    write_weights(run.weights, weights, recipe=config.to_json(recipe))
    return run


def describe(run, *sets):
    for images in sets:
        asmk.describe(run, images, BRANCH, process=PLACE, workers=0)


def scene(run, queries, references, rows=100_000):
    return MatchingInputs(run, queries.name, references.name, queries.ids, references.ids, rows)


def table(matches):
    return dict(zip(zip(matches.query_ids, matches.reference_ids, strict=True), matches.scores, strict=True))


@pytest.fixture(scope="module")
def sets(mini):
    roles = {"train": Role.TRAIN, "references": Role.REFERENCE, "queries": Role.QUERY}
    return [open_folder(mini / "images" / name, role) for name, role in roles.items()]


@pytest.fixture(scope="module")
def done(sets, tmp_path_factory):
    run = new_run(tmp_path_factory.mktemp("asmk"))
    describe(run, *sets)
    asmk.fit(run, BRANCH)
    return run


def shards(run, name):
    return list(read_code_shards(run.workspace.codes(run.name, name, BRANCH.name)))


def test_every_image_has_words_and_queries_have_more(done, sets):
    for images in sets:
        parts = shards(done, images.name)
        assert np.concatenate([part.ids for part in parts]).tolist() == images.ids.tolist()
        assert [len(part.ids) for part in parts][:-1] == [10] * (len(parts) - 1)
        assert all((part.counts > 0).all() and part.bits == 24 and part.role is images.role for part in parts)
    mean = {
        name: np.concatenate([part.counts for part in shards(done, name)]).mean() for name in ("references", "queries")
    }
    assert mean["queries"] > 1.3 * mean["references"]
    assert mean["references"] <= BRANCH.features


def test_scores_are_similarities_less_twice_that_of_the_train_image_at_the_rank(done, sets):
    from isckit.matching.asmk import similarities

    _, references, queries = sets
    found = table(asmk.matches(scene(done, queries, references), BRANCH))
    kernel = {"alpha": BRANCH.alpha, "threshold": BRANCH.threshold}
    expected = {}
    for left in shards(done, "queries"):
        against = np.hstack([similarities(left, right, **kernel) for right in shards(done, "train")])
        usual = np.sort(against, axis=1)[:, -BRANCH.norm_rank]
        for right in shards(done, "references"):
            similar = similarities(left, right, **kernel)
            for i, j in zip(*np.nonzero(similar), strict=True):
                expected[left.ids[i], right.ids[j]] = similar[i, j] - BRANCH.norm_factor * usual[i]
    assert found == expected and len(found) > 50


def test_a_copy_of_a_reference_is_its_best_match(done, sets, tmp_path):
    _, references, _ = sets
    same = open_folder_as(references, tmp_path / "same", Role.QUERY)
    describe(done, same)
    found = table(asmk.matches(scene(done, same, references), BRANCH))
    for name in references.ids:
        scores = {r: score for (q, r), score in found.items() if q == name}
        assert max(scores, key=scores.get) == name


def open_folder_as(images, target, role, *, keep=slice(None), rename=lambda name: name):
    """Copies of some images of a set, in a folder of their own."""
    target.mkdir()
    for i in range(len(images))[keep]:
        (target / f"{rename(str(images.ids[i]))}.jpg").write_bytes(images.read(i))
    return open_folder(target, role)


def test_the_score_of_a_pair_stays_when_other_references_go_or_get_other_names(done, sets, tmp_path):
    _, references, queries = sets
    before = table(asmk.matches(scene(done, queries, references), BRANCH))
    fewer = open_folder_as(
        references, tmp_path / "fewer", Role.REFERENCE, keep=slice(1, None, 3), rename=lambda n: f"X{n[::-1]}"
    )
    describe(done, fewer)
    after = table(asmk.matches(scene(done, queries, fewer), BRANCH))
    assert after
    assert after == {(q, f"X{r[::-1]}"): s for (q, r), s in before.items() if f"X{r[::-1]}" in fewer.ids}


def test_the_list_ends_with_the_best_rows_and_is_never_shorter_than_what_is_handed_in(done, sets):
    _, references, queries = sets
    every = asmk.matches(scene(done, queries, references), BRANCH)
    assert (np.diff(every.scores) <= 0).all()
    cut = config.replace(BRANCH, cut=config.Cut(by="rows", amount=0.5))
    few = asmk.matches(scene(done, queries, references, rows=1), cut)
    assert len(few) == round(0.5 * len(queries)) and table(few).items() <= table(every).items()
    assert few.scores.tolist() == every.scores[: len(few)].tolist()
    assert len(asmk.matches(scene(done, queries, references, rows=30), cut)) == 30
    near = asmk.matches(
        scene(done, queries, references), config.replace(BRANCH, cut=config.Cut(by="neighbours", amount=2))
    )
    for name in np.unique(near.query_ids):
        best = np.sort(every.scores[every.query_ids == name])[::-1][:2]
        assert np.sort(near.scores[near.query_ids == name])[::-1].tolist() == best.tolist()


def test_an_interrupted_description_goes_on_and_ends_in_the_same_bytes(done, sets, tmp_path, monkeypatch):
    run = new_run(tmp_path)
    write, calls = codes.write_codes, []

    def killed(path, value):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(path)
        write(path, value)

    monkeypatch.setattr(codes, "write_codes", killed)
    with pytest.raises(KeyboardInterrupt):
        describe(run, sets[0])
    with pytest.raises(MissingInput, match="no complete codes of train"):
        asmk.fit(run, BRANCH)
    monkeypatch.setattr(codes, "write_codes", write)
    kept = {path: path.stat().st_mtime_ns for path in calls}
    describe(run, *sets)
    assert {path: path.stat().st_mtime_ns for path in calls} == kept
    asmk.fit(run, BRANCH)
    for name in ("train", "references", "queries"):
        folders = [r.workspace.codes(r.name, name, BRANCH.name) for r in (run, done)]
        first, second = ({p.name: p.read_bytes() for p in folder.glob("*.npz")} for folder in folders)
        assert first == second and first
    for part in (lambda r: r.workspace.codebook(r.name, BRANCH.name),
                 lambda r: r.workspace.code_bank(r.name, BRANCH.name) / "shard-00001.npz"):  # fmt: skip
        assert part(run).read_bytes() == part(done).read_bytes()


def test_what_was_fitted_is_made_again_from_what_extraction_left(done):
    book, bank = done.workspace.codebook(done.name, BRANCH.name), done.workspace.code_bank(done.name, BRANCH.name)
    files = [book, *sorted(bank.glob("*.npz"))]
    before = [path.read_bytes() for path in files]
    for path in files:
        path.unlink()
    bank.joinpath("receipt.json").unlink()
    asmk.fit(done, BRANCH)
    assert [path.read_bytes() for path in files] == before
    for path in (book, bank):
        assert read_receipt(path)["facts"]["fitted_on"] == "train"


def test_train_comes_first(sets, tmp_path):
    run = new_run(tmp_path)
    with pytest.raises(MissingInput, match="extract train first"):
        describe(run, sets[1])
    with pytest.raises(MissingInput, match="extract train first"):
        asmk.fit(run, BRANCH)


def test_codes_of_other_images_are_stale(done, sets):
    with pytest.raises(StaleArtifact, match="other inputs: images"):
        describe(done, sets[1].subset(np.arange(5)))


def test_broken_images_stop_with_the_list_or_are_replaced(sets, tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    for i in range(8):
        (folder / f"R{i}.jpg").write_bytes(sets[1].read(i) if i % 4 else b"nothing")
    images = open_folder(folder, Role.REFERENCE)
    run = new_run(tmp_path / "stop")
    describe(run, sets[0])
    with pytest.raises(BadInput, match="2 broken images"):
        describe(run, images)
    run = new_run(tmp_path / "replace", on_broken="replace")
    describe(run, sets[0], images)
    facts = read_receipt(run.workspace.codes(run.name, "broken", BRANCH.name))["facts"]
    assert list(facts["replaced"]) == ["R0", "R4"] and facts["complete"]


def test_a_member_without_local_features_is_refused(sets, tmp_path):
    run = new_run(tmp_path)
    for member in ("other", "networks"):
        with pytest.raises(BadInput, match="takes local features of member"):
            asmk.describe(run, sets[0], config.replace(BRANCH, member=member), process=PLACE, workers=0)


def test_too_few_train_images_for_the_rank_are_refused(sets, tmp_path):
    run, branch = new_run(tmp_path), config.replace(BRANCH, norm_rank=49)
    asmk.describe(run, sets[0], branch, process=PLACE, workers=0)
    with pytest.raises(BadInput, match="48 train images"):
        asmk.fit(run, branch)


def test_detected_overlays_take_the_place_of_queries_alone(sets, tmp_path):
    boxes = tmp_path / "boxes.csv"
    columns = "image_id,x0,y0,x1,y1,confidence,label\n"
    names = [*sets[1].ids[:2], sets[2].ids[0]]
    boxes.write_text(columns + "".join(f"{name},0.1,0.1,0.6,0.7,0.95,overlay\n" for name in names))
    plain, substituted = (new_run(tmp_path / name) for name in ("plain", "substituted"))
    recipe = config.replace(plain.recipe, substitution=config.Substitution(boxes=str(boxes)))
    substituted = dataclasses.replace(substituted, recipe=recipe)
    for run in (plain, substituted):
        describe(run, *sets)
    assert all(
        np.array_equal(one.codes, two.codes)
        for one, two in zip(shards(plain, "references"), shards(substituted, "references"), strict=True)
    )
    one, two = (shards(run, "queries")[0] for run in (plain, substituted))
    same = [np.array_equal(one.part(slice(i, i + 1)).words, two.part(slice(i, i + 1)).words) for i in range(10)]
    assert same == [False] + [True] * 9
