import json
import os

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from starting import in_two_processes

from isckit import config
from isckit.data.items import LookAlikes
from isckit.data.training import TrainingData, read_witness
from isckit.engine.distributed import Process, process
from isckit.engine.look_alikes import look_alikes, nearest_rows
from isckit.engine.pair_steps import backward_group, group_statistics, labels_of
from isckit.engine.pair_training import PairTrainer, train_pairs
from isckit.engine.trainer import TrainingLog
from isckit.models.gist import GistDescriber
from isckit.models.pair import PairClassifier
from isckit.runs.workspace import METRICS
from isckit.types import BadInput, Role, RuleViolation, StaleArtifact

CPU = Process(torch.device("cpu"))
OPTIM = config.Optim(name="adam", lr=1e-3, weight_decay=1e-6, warmup_epochs=0.0, schedule="constant")
STAGE = config.PairStage(groups=5, log_groups=2, group=4, view="separate.mini", amp=False, optim=OPTIM)
PICTURE = config.PairNetwork(
    backbone=config.Backbone(name="test_vit", normalisation="imagenet"),
    image_size=32,
    canvas=64,
    stages=(STAGE, config.replace(STAGE, name="late", start=7, groups=3, optim=config.replace(OPTIM, lr=5e-4))),
)
TOKENS = config.replace(PICTURE, backbone=config.Backbone(name="test_resnet"), tokens=8)


def lists(count=48, length=8):
    rng = np.random.default_rng(0)
    return LookAlikes(
        np.array([[i, *rng.permutation(np.delete(np.arange(count), i))[: length - 1]] for i in range(count)])
    )


def run(disc, folder, settings=TOKENS, *, images=None, workers=0, at=CPU, **more):
    return train_pairs(
        settings, TrainingData(images or disc.train), neighbours=lists(), seed=1, folder=folder, process=at,
        workers=workers, **more,
    )  # fmt: skip


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def log(folder):
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def group(size=4, seed=0, side=32):
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.integers(0, 256, (size, 3, side, side), dtype=np.uint8)) for _ in range(2)]


def gradients(network):
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def test_the_labels_of_a_published_group_are_576_pairs_with_the_copies_on_the_diagonal():
    labels = labels_of(config.PairStage().group)
    assert labels.numel() == 576 and torch.equal(labels, torch.eye(24)) and labels.sum() == 24


@pytest.mark.parametrize("settings", [PICTURE, TOKENS])
@pytest.mark.parametrize("micro_batch", [0, 1, 5])
def test_the_outer_product_is_the_mean_over_all_pairs_one_by_one(settings, micro_batch):
    torch.manual_seed(0)
    network = PairClassifier(settings).train()
    references, queries = group()
    counted = torch.ones(4, 4, dtype=torch.bool)
    counted[0, 2] = counted[3, 1] = False
    losses, logits = [], torch.zeros(4, 4)
    for i in range(4):
        for j in range(4):
            logit = network(references[i : i + 1], queries[j : j + 1])[0]
            logits[i, j] = logit.detach()
            if counted[i, j]:
                losses.append(F.binary_cross_entropy_with_logits(logit, torch.tensor(float(i == j))))
    torch.stack(losses).mean().backward()
    naive = gradients(network)
    network.zero_grad(set_to_none=True)
    loss, table = backward_group(network, references, queries, counted, process=CPU, micro_batch=micro_batch, amp=False)
    torch.testing.assert_close(loss, torch.stack(losses).mean().detach())
    torch.testing.assert_close(table, logits, rtol=1e-4, atol=1e-5)
    assert naive.keys() == gradients(network).keys() and naive
    for name, gradient in gradients(network).items():
        torch.testing.assert_close(gradient, naive[name], rtol=2e-3, atol=2e-5)


def test_statistics_of_a_group_are_those_of_its_copies_and_its_others():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.5, 0.7, 0.7], [-1.0, -2.0, 3.0]])
    counted = torch.ones(3, 3, dtype=torch.bool)
    counted[2, 1] = False
    own, others = [2.0, 0.7, 3.0], [1.0, 0.0, 0.5, 0.7, -1.0]
    found = group_statistics(logits, counted)
    assert found["auc"] == pytest.approx(np.mean([(a > b) + (a == b) / 2 for a in own for b in others]))
    assert found["copies"] == pytest.approx(np.mean([1 / (1 + np.exp(-x)) for x in own]))
    assert found["others"] == pytest.approx(np.mean([1 / (1 + np.exp(-x)) for x in others]))


@pytest.fixture(scope="module")
def uninterrupted(disc, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return run(disc, folder), folder


def test_training_twice_gives_the_same_weights_with_and_without_workers(disc, tmp_path, uninterrupted):
    assert same(uninterrupted[0], run(disc, tmp_path, workers=1))


@pytest.mark.parametrize("saves", [1, 2, 4, 5, 6, 8])
def test_a_run_stopped_anywhere_ends_in_the_same_weights_and_log(disc, tmp_path, monkeypatch, saves, uninterrupted):
    honest, done = TrainingLog.save, []

    def save(self, state):
        honest(self, state)
        done.append(state)
        if len(done) == saves:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingLog, "save", save)
    with pytest.raises(KeyboardInterrupt):
        run(disc, tmp_path, save_seconds=0)
    assert same(uninterrupted[0], run(disc, tmp_path, save_seconds=0))
    varying = {"seconds", "pairs_per_second"}
    first, second = (
        [{k: v for k, v in line.items() if k not in varying} for line in log(f)] for f in (uninterrupted[1], tmp_path)
    )
    assert first == second


def test_the_log_has_a_line_for_each_part_and_tells_what_was_consumed(uninterrupted):
    lines = log(uninterrupted[1])
    assert [(line["stage"], line["groups"]) for line in lines] == [
        ("main", 2), ("main", 2), ("main", 1), ("late", 2), ("late", 1)
    ]  # fmt: skip
    assert [line["epoch"] for line in lines] == list(range(5)) and lines[3]["lr"] == 5e-4
    for line in lines:
        ((role, drawn),) = line["consumed"].items()
        assert role == "train" and drawn["augmented"] and drawn["draws"] == 4 * line["groups"]
        assert {"loss", "auc", "copies", "others", "pairs_per_second"} <= line.keys()


def test_moments_are_carried_from_stage_to_stage_unless_the_optimiser_is_another(disc, tmp_path, monkeypatch):
    seen = []
    honest = PairTrainer.__init__

    def spy(self, *given, **named):
        honest(self, *given, **named)
        seen.append({float(s["step"]) for s in self.optimiser.state_dict()["state"].values()})

    monkeypatch.setattr(PairTrainer, "__init__", spy)
    run(disc, tmp_path / "same")
    assert seen == [set(), {5.0}]
    seen.clear()
    late = config.replace(PICTURE.stages[1], optim=config.replace(OPTIM, name="sgd"))
    run(disc, tmp_path / "other", config.replace(TOKENS, stages=(STAGE, late)))
    assert seen == [set(), set()]


def test_a_network_learns_to_tell_a_few_images_apart(disc, tmp_path):
    optim = config.replace(OPTIM, name="adamw", lr=1e-3)
    stage = config.replace(STAGE, groups=60, log_groups=20, view="separate.basic", optim=optim)
    run(disc, tmp_path, config.replace(TOKENS, tokens=32, stages=(stage,)))
    lines = log(tmp_path)
    constant = -0.25 * np.log(0.25) - 0.75 * np.log(0.75)
    assert lines[-1]["auc"] > 0.65 and lines[-1]["loss"] < 0.95 * constant


def test_it_begins_with_the_weights_of_a_member(disc, tmp_path):
    torch.manual_seed(9)
    start = {f"backbone.{k}": v for k, v in PairClassifier(TOKENS).backbone.state_dict().items()}
    slow = config.replace(
        STAGE, groups=1, optim=config.replace(OPTIM, name="sgd", lr=1e-12, momentum=0.0, weight_decay=0)
    )
    weights = run(disc, tmp_path, config.replace(TOKENS, weights_of="network", stages=(slow,)), start=start)
    for key, value in start.items():
        torch.testing.assert_close(weights[key], value, rtol=0, atol=1e-6)


def test_faults_are_told(disc, tmp_path):
    with pytest.raises(RuleViolation):
        run(disc, tmp_path / "a", images=disc.references)
    run(disc, tmp_path / "b", config.replace(TOKENS, stages=(config.replace(STAGE, groups=1),)))
    with pytest.raises(StaleArtifact, match="settings"):
        run(disc, tmp_path / "b")


def test_the_witness_counts_passes_as_the_log_does(disc, tmp_path):
    run(disc, tmp_path, config.replace(TOKENS, stages=(STAGE,)), witness=tmp_path / "w.jsonl")
    items = read_witness(tmp_path / "w.jsonl")
    assert [item["epoch"] for item in items] == [0] * 8 + [1] * 8 + [2] * 4


def test_look_alikes_are_the_nearest_images_and_are_found_once(disc, tmp_path, monkeypatch):
    given = {"count": 5, "folder": tmp_path, "made_from": {"a": 1}, "process": CPU, "workers": 0}
    given["settings"] = config.Extract(shard_images=16)
    found = look_alikes(GistDescriber(), disc.train, **given)
    vectors = found.vectors
    assert vectors.shape[0] == 48
    for i in range(48):
        cosines = vectors @ vectors[i]
        cosines[i] = 2
        np.testing.assert_array_equal(np.sort(found.rows[i]), np.sort(np.argsort(-cosines)[:5]))
        assert found.rows[i, 0] == i
    monkeypatch.setattr("isckit.engine.look_alikes.nearest_rows", None)
    np.testing.assert_array_equal(look_alikes(GistDescriber(), disc.train, **given).rows, found.rows)
    with pytest.raises(BadInput, match="look-alikes"):
        look_alikes(GistDescriber(), disc.train, **(given | {"count": 49}))


def test_an_image_comes_before_its_exact_copies():
    bank = torch.ones(6, 1)
    assert nearest_rows(bank, range(2, 5), 3)[:, 0].tolist() == [2, 3, 4]


def _rank(rank, port, folder, disc):
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1"}
    os.environ["MASTER_PORT"] = str(port)
    torch.set_num_threads(1)
    with process() as here:
        weights = run(disc, folder, config.replace(TOKENS, stages=(config.replace(STAGE, micro_batch=3),)), at=here)
        torch.save(weights, folder / f"{rank}.pt")


def test_two_processes_train_what_one_trains(disc, tmp_path):
    one = config.replace(TOKENS, stages=(STAGE,))
    alone = run(disc, tmp_path / "one", one)
    (tmp_path / "two").mkdir()
    in_two_processes(_rank, tmp_path / "two", disc)
    first, second = (torch.load(tmp_path / "two" / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert same(first, second)
    for key, value in alone.items():
        torch.testing.assert_close(first[key], value, rtol=1e-3, atol=1e-4)
    assert log(tmp_path / "two")[0]["loss"] == pytest.approx(log(tmp_path / "one")[0]["loss"], rel=1e-4)
    assert disc.train.role is Role.TRAIN
