from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from isckit import config
from isckit.config import Keypoints, Local, Verify, Vote
from isckit.data.image_sets import open_folder
from isckit.engine.distributed import Process
from isckit.matching.branches import local
from isckit.matching.inputs import MatchingInputs, table_folder
from isckit.runs.artifacts import file_digest, read_receipt, write_receipt
from isckit.runs.run import begin
from isckit.runs.workspace import Workspace
from isckit.synthetic.procedural import picture
from isckit.types import BadInput, Matches, MissingInput, Role, StaleArtifact
from isckit.vectors import device
from isckit.views.overlays import OVERLAY, Box, write_boxes
from isckit.views.table import ImageFinding, table_of, write_table

CPU = Process(torch.device("cpu"))
BRANCH = Local(vote=Vote(lists=16, probes=4, least_votes=4))
REFERENCES = {f"R{k}": picture(k, size=(160, 200), family="mosaic" if k % 2 else "dead_leaves") for k in range(6)}


def pasted_on(image, back):
    back = back.copy()
    back[40:140, 50:175] = cv2.resize(image, (125, 100), interpolation=cv2.INTER_AREA)
    return back


QUERIES = {
    "Q0": cv2.GaussianBlur(REFERENCES["R1"][20:, 30:], (0, 0), 0.7),
    "Q1": np.ascontiguousarray(REFERENCES["R2"][:, ::-1]),
    "Q2": picture(77, size=(160, 200), family="mosaic"),
    "Q3": pasted_on(REFERENCES["R3"], picture(78, size=(220, 240), family="town")),
}
TRUE = {("Q0", "R1"), ("Q1", "R2"), ("Q3", "R3")}


def image_set(folder, pictures, role, *, name):
    folder = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    for key, pixels in pictures.items():
        cv2.imwrite(str(folder / f"{key}.png"), pixels[..., ::-1])
    return open_folder(folder, role)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    train = {f"T{k}": picture(200 + k, size=(120, 160)) for k in range(12)}
    return {
        "train": image_set(folder, train, Role.TRAIN, name="train"),
        "queries": image_set(folder, QUERIES, Role.QUERY, name="queries"),
        "references": image_set(folder, REFERENCES, Role.REFERENCE, name="references"),
    }


def started(root, *branches, data, **settings):
    recipe = config.Recipe(name="r", members=(config.Gist(),), matching=config.Matching(branches=branches), **settings)
    run = begin(Workspace(root), "run", recipe)
    for branch in branches:
        for images in data.values():
            local.describe(run, images, branch, process=CPU, workers=0)
        local.fit(run, branch)
    return run


def matched(run, data, branch=BRANCH, found=None, workers=0):
    queries, references = data["queries"], data["references"]
    scene = MatchingInputs(run, "queries", "references", queries.ids, references.ids, 99, data, CPU, workers)
    rows = local.matches(scene, branch, found or {})
    assert len({*zip(rows.query_ids.tolist(), rows.reference_ids.tolist(), strict=True)}) == len(rows)
    return {
        (q, r): s
        for q, r, s in zip(rows.query_ids.tolist(), rows.reference_ids.tolist(), rows.scores.tolist(), strict=True)
    }


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return started(tmp_path_factory.mktemp("root"), BRANCH, data=data)


@pytest.fixture(scope="module")
def scores(run, data):
    return matched(run, data)


def test_copies_stand_first(scores):
    assert set(sorted(scores, key=scores.get, reverse=True)[:3]) == TRUE


def test_a_pair_has_the_same_score_whatever_else_is_there(run, data, scores, tmp_path):
    renamed = {"R9": REFERENCES["R1"], "R4": REFERENCES["R2"], "R0": REFERENCES["R3"]}
    others = {
        "queries": image_set(tmp_path, {"Q8": QUERIES["Q0"], "Q5": QUERIES["Q3"]}, Role.QUERY, name="queries"),
        "references": image_set(tmp_path, renamed, Role.REFERENCE, name="references"),
    }
    elsewhere = config.replace(run, cache=Workspace(tmp_path / "cache"))
    for images in others.values():
        local.describe(elsewhere, images, BRANCH, process=CPU, workers=0)
    back = {"Q8": "Q0", "Q5": "Q3", "R9": "R1", "R4": "R2", "R0": "R3"}
    found = {(back[q], back[r]): score for (q, r), score in matched(elsewhere, others, workers=2).items()}
    assert found == {(q, r): s for (q, r), s in scores.items() if q in ("Q0", "Q3") and r in ("R1", "R2", "R3")}


def test_points_multiplied_on_a_device_give_the_same_bytes(run, data, scores, monkeypatch):
    asked = []
    monkeypatch.setattr(device, "gpu", lambda products: asked.append(products) or CPU.device)
    found = matched(run, data)
    assert asked and found == scores


def test_candidates_of_other_branches_are_verified_beside_the_voted_ones(run, data, scores):
    few = config.replace(BRANCH, vote=None, candidates=("first", "second"))
    first = Matches(np.array(["Q0", "Q2", "Q0"]), np.array(["R1", "R0", "R1"]), np.array([0.1, 0.2, 0.0]))
    second = Matches(np.array(["Q1"]), np.array(["R2"]), np.array([0.9]))
    found = matched(run, data, few, {"first": first, "second": second})
    assert found == {pair: scores[pair] for pair in (("Q0", "R1"), ("Q1", "R2"))}
    both = matched(run, data, config.replace(BRANCH, candidates=("first",)), {"first": first})
    assert both == scores


def test_without_mirrored_points_mirrored_copies_are_lost(run, data):
    plain = config.replace(
        BRANCH, vote=config.replace(BRANCH.vote, mirrored=False), verify=config.replace(BRANCH.verify, mirrored=False)
    )
    alone = config.replace(plain, vote=config.replace(plain.vote, index="exact"), name="plain")
    found = matched(run, data, alone)
    assert ("Q1", "R2") not in found and {("Q0", "R1"), ("Q3", "R3")} <= set(found)


def test_all_candidates_are_listed_where_no_least_is_asked_for(run, data):
    verify = Verify(model="none", score="count", least=0)
    pair = Matches(np.array(["Q2", "Q0"]), np.array(["R2", "R1"]), np.array([1.0, 1.0]))
    branch = config.replace(BRANCH, vote=None, candidates=("first",), verify=verify)
    assert set(matched(run, data, branch, {"first": pair})) == {("Q2", "R2"), ("Q0", "R1")}


def test_substitution_is_for_the_image_and_not_for_the_original(data, tmp_path):
    boxes = write_boxes(tmp_path / "boxes.csv", {"Q3": [Box(50 / 240, 40 / 220, 175 / 240, 140 / 220, 0.99, OVERLAY)]})
    image, original = BRANCH, config.replace(BRANCH, name="as_it_is", of="original")
    substitution = config.Substitution(boxes=str(boxes))
    run = started(tmp_path, image, original, data=data, substitution=substitution)
    stores = [local.Store(path) for path in sorted(tmp_path.glob("cache/run/queries/keypoints-*"))]
    assert len(stores) == 2
    whole, inside = (store.points(3).frames[:, :2].max(axis=0) for store in stores)
    assert (whole > (200, 180)).all() and (inside < (126, 101)).all()
    assert np.array_equal(stores[0].points(0).frames, stores[1].points(0).frames)
    assert ("Q3", "R3") in matched(run, data, image) and ("Q3", "R3") in matched(run, data, original)


def test_no_candidates_are_no_matches(run, data):
    none = Matches(np.zeros(0, "U1"), np.zeros(0, "U1"), np.zeros(0))
    assert matched(run, data, config.replace(BRANCH, vote=None, candidates=("first",)), {"first": none}) == {}


@pytest.mark.parametrize(
    "branch",
    [
        Local(
            keypoints=Keypoints(kind="orb", points=600, levels=8),
            vote=Vote(index="exact", radius=40.0, least_votes=5),
            verify=Verify(ratio=1.4),
        ),
        Local(
            keypoints=Keypoints(points=0, levels=7, enlarged=False),
            vote=Vote(index="exact", by="nearest", radius=8_000.0, least_votes=4),
            verify=Verify(model="none", score="count", least=1),
        ),
        config.replace(BRANCH, vote=config.replace(BRANCH.vote, index="ivf_pq", radius=9_000.0)),
        config.replace(BRANCH, vote=config.replace(BRANCH.vote, index="codes", bits=20)),
    ],
    ids=["orb", "imgfp", "ivf_pq", "codes"],
)
def test_other_settings_find_copies_too(branch, data, tmp_path):
    found = matched(started(tmp_path, branch, data=data), data, branch)
    best = {q: max((pair for pair in found if pair[0] == q), key=found.get, default=None) for q in QUERIES}
    assert {pair for pair in best.values() if pair} & TRUE >= {("Q0", "R1")}
    if branch.vote.by == "radius":
        assert best["Q1"] == ("Q1", "R2")


def test_keypoints_go_on_where_they_stopped_and_end_in_the_same_bytes(data, tmp_path):
    small = {"extract": config.Recipe.__dataclass_fields__["extract"].default}
    settings = {"extract": config.replace(small["extract"], shard_images=2)}
    run = started(tmp_path, BRANCH, data=data, **settings)
    shards = sorted(tmp_path.glob("cache/run/references/keypoints-*/shard-*.h5"))
    assert len(shards) == 3
    before, kept = [file_digest(path) for path in shards], shards[0].stat().st_mtime_ns
    shards[1].unlink()
    receipt = read_receipt(shards[0].parent)
    write_receipt(shards[0].parent, made_from=receipt["made_from"], facts={"complete": False})
    with pytest.raises(MissingInput, match="no complete keypoints of references"):
        matched(run, data)
    local.describe(run, data["references"], BRANCH, process=CPU, workers=0)
    assert [file_digest(path) for path in shards] == before and shards[0].stat().st_mtime_ns == kept


def test_what_is_fitted_says_on_what_and_is_fitted_once(run):
    path = run.workspace.quantiser("run", "local")
    assert read_receipt(path)["facts"]["fitted_on"] == "train"
    stamp = path.stat().st_mtime_ns
    local.fit(run, BRANCH)
    assert path.stat().st_mtime_ns == stamp
    with pytest.raises(StaleArtifact):
        local.fit(run, config.replace(BRANCH, vote=config.replace(BRANCH.vote, lists=8)))


def test_matching_needs_a_fitted_index(run, data):
    with pytest.raises(MissingInput, match="isckit fit --name run"):
        matched(run, data, config.replace(BRANCH, name="never"))


def test_broken_images_stop_or_have_no_points(data, tmp_path):
    broken = image_set(tmp_path, {"Q0": QUERIES["Q0"], "Q1": QUERIES["Q1"]}, Role.QUERY, name="queries")
    Path(broken.where(1)).write_bytes(b"no picture")
    for policy in ("stop", "replace"):
        run = begin(
            Workspace(tmp_path / policy),
            "run",
            config.Recipe(name="r", members=(config.Gist(),), extract=config.Extract(on_broken=policy)),
        )
        if policy == "stop":
            with pytest.raises(BadInput, match="Q1: no image"):
                local.describe(run, broken, BRANCH, process=CPU, workers=0)
        else:
            local.describe(run, broken, BRANCH, process=CPU, workers=0)
            (folder,) = tmp_path.glob("replace/cache/run/queries/keypoints-*")
            assert [len(local.Store(folder).points(row)) > 0 for row in (0, 1)] == [True, False]
            assert read_receipt(folder)["facts"]["replaced"].keys() == {"Q1"}


def test_the_overlay_branch_looks_at_detected_overlays_alone(run, data):
    branch = config.replace(BRANCH, of="overlay", vote=None, candidates=("all",))
    box = Box(50 / 240, 40 / 220, 175 / 240, 140 / 220, 0.9, OVERLAY)
    nothing = [ImageFinding((1, 1), np.empty((0, 4)))] * 3
    table = table_of(data["queries"].ids, [*nothing, ImageFinding((220, 240), np.empty((0, 4)), boxes=(box,))])
    folder = table_folder(run, "queries")
    write_table(folder / "shard-00000.npz", table)
    write_receipt(folder, made_from={"detector": "x"}, facts={"complete": True})
    local.describe(run, data["queries"], branch, process=CPU, workers=0)
    pairs = [(q, r) for q in data["queries"].ids for r in data["references"].ids]
    every = Matches(*map(np.array, zip(*pairs, strict=True)), np.zeros(len(pairs)))
    found = matched(run, data, branch, {"all": every})
    assert {q for q, _ in found} == {"Q3"} and max(found, key=found.get) == ("Q3", "R3")
