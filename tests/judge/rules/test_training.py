import shutil

import pytest
from spoiled import case_of, consume
from starting import by_zygote

from isckit import config
from isckit.data.layouts import open_disc
from isckit.judge.rules.experiments.contestant import INFER, TRAIN
from isckit.judge.rules.experiments.watched import IMAGES, PASSES, _unaccounted, _unsteady, short, watched_training
from isckit.judge.rules.finding import Probe
from isckit.judge.rules.training import _same_files, no_augmentation, trained_parts, training_logs
from isckit.runs.artifacts import write_text
from isckit.types import BadInput

LOG = "checkpoints/run/training/network/metrics.jsonl"


def test_augmented_queries_and_references_are_named_by_member_and_epoch(copy):
    consume(copy, "query", ["Q00003"], augmented=True)
    finding = no_augmentation(case_of(copy))
    assert (finding.status, finding.level) == ("failed", "declared")
    assert finding.detail == "member network, epoch 1: augmented query images"


def test_unaugmented_ones_are_the_business_of_another_rule(copy):
    consume(copy, "query", ["Q00003"])
    assert no_augmentation(case_of(copy)).status == "passed"


WITHOUT_IMAGES = '{"epoch": 0, "consumed": {"train": {"draws": 3}}}'
OF_NO_ROLE = '{"epoch": 0, "consumed": {"x": {}}}'


@pytest.mark.parametrize("line", ["{", "[]", '{"epoch": 0}', WITHOUT_IMAGES, OF_NO_ROLE])
def test_a_log_that_is_none_is_refused_by_line(copy, line):
    path = copy / LOG
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(BadInput, match=r"line 3|unknown"):
        training_logs(copy / "checkpoints/run")


def test_logs_tell_the_distinct_images_of_every_epoch(done, disc):
    epochs = training_logs(done / "checkpoints/run")["network"]
    assert [epoch["epoch"] for epoch in epochs] == [0, 1]
    assert all(epoch["consumed"]["train"]["images"] <= len(disc.train) for epoch in epochs)
    assert all(epoch["consumed"]["train"]["draws"] == 48 for epoch in epochs)


def test_a_train_file_that_is_a_reference_is_named(done, mini, tmp_path):
    data = shutil.copytree(mini, tmp_path / "data")
    assert _same_files(case_of(done), open_disc(data))[0] == []
    shutil.copy(data / "images/references/R000005.jpg", data / "images/train/T000007.jpg")
    root = shutil.copytree(done, tmp_path / "root")
    (problem,) = _same_files(case_of(root), open_disc(data))[0]
    assert "T000007 is R000005" in problem


def item(name, digest, *, role="reference", others=()):
    return {"epoch": 0, "role": role, "ids": [name, *others], "side": 32, "sha256": digest}


def test_files_opened_in_silence_and_forms_that_change_are_told():
    items = [item("R000001", "a"), item("R000001", "a"), item("R000002", "a"), item("R000002", "b")]
    items += [item("T000001", "a", role="train"), item("T000001", "b", role="train", others=["R000003"])]
    (unsteady,) = _unsteady(items)
    assert "1 of 2" in unsteady and "R000002" in unsteady
    assert list(_unaccounted({"R000001", "R000003"}, items)) == []
    (hidden,) = _unaccounted({"R000001", "R000009"}, items)
    assert hidden.endswith("R000009")


def test_the_watched_training_is_that_of_the_recipe_but_short(done):
    recipe = case_of(done).recipe
    network, gist = short(recipe).members
    (stage,), (whole,) = network.stages, recipe.members[0].stages
    assert stage.epochs == PASSES and gist == recipe.members[1]
    assert (network.backbone, stage.views, stage.loss) == (recipe.members[0].backbone, whole.views, whole.loss)


def everything(recipe):
    """A recipe with a detector and a network that sees pairs beside its members."""
    backbone = config.Backbone(name="test_vit", pretrained="hub")
    stages = (config.PairStage(name="a", group=24), config.PairStage(name="b", group=2, start=7, view="weak"))
    pairs = config.Pairs(networks=(config.PairNetwork(backbone=backbone, stages=stages),), candidates=("views",))
    matching = config.Matching(branches=(config.Views(), pairs))
    return config.replace(recipe, detector=config.Detector(pretrained="hub"), matching=matching)


def test_the_watched_training_shortens_detector_and_networks_that_see_pairs(done):
    whole = everything(case_of(done).recipe)
    recipe = short(whole)
    detector = config.replace(
        whole.detector, pretrained="none", epochs=PASSES, images_per_epoch=IMAGES, batch_images=16
    )
    assert recipe.detector == detector
    (network,), (before,) = recipe.pair_networks, whole.pair_networks
    assert network.backbone == config.replace(before.backbone, pretrained="none")
    assert [(s.name, s.view, s.group, s.start) for s in network.stages] == [
        ("a", "separate.final", 4, 0),
        ("b", "weak", 2, 0),
    ]
    assert all(stage.groups <= 8 and stage.epochs == PASSES for stage in network.stages)
    assert short(config.replace(whole, detector=None)).detector is None


def test_whatever_is_trained_needs_a_log_of_its_own(copy):
    case = case_of(copy)
    recipe = everything(case.recipe)
    assert trained_parts(recipe) == ("network", "pairs", "detector")
    assert trained_parts(config.replace(recipe, detector=None)) == ("network", "pairs")
    write_text(case.workspace.recipe(case.name), config.to_json(recipe))
    finding = no_augmentation(case)
    assert finding.status == "unknown" and finding.examined == "no training logs of pairs, detector"
    log = (copy / LOG).read_text()
    for name in ("pairs", "detector"):
        write_text(copy / f"checkpoints/run/training/{name}/metrics.jsonl", log)
    assert no_augmentation(case).status == "passed"


def test_the_log_of_a_part_that_is_no_member_is_judged_like_a_members(copy):
    consume(copy, "query", ["Q00003"], augmented=True)
    (copy / LOG).rename(copy / "moved.jsonl")
    (copy / "checkpoints/run/training/detector").mkdir()
    (copy / "moved.jsonl").rename(copy / "checkpoints/run/training/detector/metrics.jsonl")
    finding = no_augmentation(case_of(copy))
    assert finding.status == "failed" and finding.detail == "member detector, epoch 1: augmented query images"


def test_the_same_image_at_two_sides_is_no_other_form():
    items = [item("R000001", "a"), item("R000001", "b") | {"side": 64}, item("R000001", "b") | {"side": 64}]
    assert list(_unsteady(items)) == []
    assert list(_unsteady([*items, item("R000001", "c")]))


def test_a_training_on_pairs_and_references_is_watched_with_both_at_hand(copy, disc, zygote):
    case = case_of(copy, probe=Probe(INFER, TRAIN, sample=2))
    network, gist = case.recipe.members
    (stage,) = network.stages
    data = config.Data(anchors="pairs", negatives="references", negatives_per_anchor=2)
    paired = config.replace(stage, name="pairs", data=data, loss=config.Contrastive(memory=128))
    recipe = config.replace(case.recipe, members=(config.replace(network, stages=(stage, paired)), gist))
    write_text(case.workspace.recipe(case.name), config.to_json(recipe))
    problems, said = watched_training(case, disc, by_zygote(TRAIN))
    assert problems == []
    assert "trained on openly, twice to the same weights" in said and " 0 of " not in said
