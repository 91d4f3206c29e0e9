import json
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import torch
from starting import in_two_processes

from isckit import config
from isckit.data.training import TrainingData, stage_images, training_data
from isckit.engine import train as training
from isckit.engine.distributed import Process, process
from isckit.engine.stage import StageTrainer
from isckit.engine.train import train
from isckit.engine.trainer import STATE
from isckit.models.network import EmbeddingNetwork
from isckit.runs.workspace import METRICS
from isckit.types import BadInput, MissingInput, RuleViolation, StaleArtifact

CPU = Process(torch.device("cpu"))
STAGE = config.Stage(
    epochs=3,
    batch_images=16,
    loss=config.InfoNce(memory=64),
    optim=config.Optim(lr=2e-3),
    amp=False,
    views=("weak",) * 2,
)
NETWORK = config.Network(
    backbone=config.Backbone(name="test_resnet"), dim=32, image_size=32, canvas=64, stages=(STAGE,)
)
CHEAP = config.replace(STAGE, epochs=1, images_per_epoch=32)


def staged(*stages):
    return config.replace(NETWORK, stages=stages)


def run(disc, folder, network=NETWORK, *, seed=1, workers=0, images=None, **more):
    given = images or training_data(disc, disc.train, network.stages)
    return train(network, given, seed=seed, folder=folder, process=CPU, workers=workers, **more)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def log(folder):
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


@pytest.fixture(scope="module")
def uninterrupted(disc, tmp_path_factory):
    return run(disc, tmp_path_factory.mktemp("whole"))


def test_training_twice_gives_the_same_weights_with_and_without_workers(disc, tmp_path, uninterrupted):
    assert same(uninterrupted, run(disc, tmp_path, workers=1))


def test_another_seed_gives_other_weights(disc, tmp_path, uninterrupted):
    assert not same(uninterrupted, run(disc, tmp_path, seed=2))


def test_a_killed_run_ends_in_the_same_weights(disc, tmp_path, uninterrupted):
    process = multiprocessing.get_context("fork").Process(target=run, args=(disc, tmp_path))
    process.start()
    deadline = time.monotonic() + 120
    while not (tmp_path / STATE).is_file() and time.monotonic() < deadline and process.is_alive():
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert same(uninterrupted, run(disc, tmp_path))
    assert [line["epoch"] for line in log(tmp_path)] == [0, 1, 2]
    assert all(set(line["consumed"]) == {"train"} for line in log(tmp_path))


SEVERAL = staged(
    config.replace(STAGE, name="first", epochs=2, ema=0.9),
    config.replace(STAGE, name="second", epochs=2, image_size=48, loss=config.Contrastive(memory=64)),
)


@pytest.mark.parametrize("saves", [1, 4, 7, 9])
def test_a_run_stopped_at_any_step_ends_in_the_same_weights_and_log(disc, tmp_path, monkeypatch, saves):
    whole = run(disc, tmp_path / "whole", SEVERAL)
    honest, done = training.TrainingLog.save, []

    def save(self, state):
        honest(self, state)
        done.append(state)
        if len(done) == saves:
            raise KeyboardInterrupt

    monkeypatch.setattr(training.TrainingLog, "save", save)
    with pytest.raises(KeyboardInterrupt):
        run(disc, tmp_path / "stopped", SEVERAL, save_seconds=0)
    assert same(whole, run(disc, tmp_path / "stopped", SEVERAL, save_seconds=0))
    varying = {"seconds", "images_per_second"}
    first, second = (
        [{k: v for k, v in line.items() if k not in varying} for line in log(tmp_path / name)]
        for name in ("whole", "stopped")
    )
    assert first == second


def test_stages_follow_each_other_at_their_sizes_and_leave_their_weights(disc, tmp_path):
    weights = run(disc, tmp_path, SEVERAL)
    lines = log(tmp_path)
    assert [line["stage"] for line in lines] == ["first", "first", "second", "second"]
    assert [line["epoch"] for line in lines] == [0, 1, 2, 3]
    from isckit.runs.checkpoints import read_weights

    assert same(read_weights(tmp_path / "second.safetensors"), weights)
    assert not same(read_weights(tmp_path / "first.safetensors"), weights)


def test_a_schedule_may_end_early(disc, tmp_path):
    cut = config.replace(
        STAGE, epochs=4, stop_after=2, optim=config.Optim(schedule="linear", per="epoch", warmup_epochs=0)
    )
    run(disc, tmp_path, staged(cut))
    assert [line["lr"] for line in log(tmp_path)] == pytest.approx([1e-3, 0.75e-3])


def test_training_brings_the_views_of_an_image_together(disc, tmp_path):
    run(disc, tmp_path, staged(config.replace(STAGE, epochs=15)))
    gap = [line["positive"] - line["negative"] for line in log(tmp_path)]
    assert np.mean(gap[-3:]) > np.mean(gap[:3]) + 0.05


def test_the_state_of_another_recipe_is_refused_by_name(disc, tmp_path):
    run(disc, tmp_path, staged(CHEAP))
    with pytest.raises(StaleArtifact, match="settings"):
        run(disc, tmp_path, config.replace(staged(CHEAP), dim=16))
    with pytest.raises(StaleArtifact, match="seed"):
        run(disc, tmp_path, staged(CHEAP), seed=5)


@pytest.mark.parametrize("name", ["references", "queries"])
def test_queries_and_references_are_never_edited_for_training(disc, tmp_path, name):
    with pytest.raises(RuleViolation, match="augmented training"):
        run(disc, tmp_path, images=TrainingData(getattr(disc, name)))


def test_a_diverged_loss_stops_with_advice(disc, tmp_path):
    wild = config.replace(STAGE, optim=config.Optim(name="sgd", lr=1e12))
    with pytest.raises(BadInput, match="loss"):
        run(disc, tmp_path, staged(wild))


LOSSES = {
    "contrastive": config.Contrastive(memory=64),
    "ntxent": config.NtXent(koleo=1.0),
    "arcface": config.ArcFace(),
    "barlow": config.BarlowTwins(width=64),
    "teacher": config.MomentumTeacher(hidden=64, width=32),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_every_loss_trains_and_resumes(disc, tmp_path, kind):
    stage = config.replace(CHEAP, epochs=2, loss=LOSSES[kind])
    whole = run(disc, tmp_path / "whole", staged(stage))
    assert not torch.equal(whole["fc.weight"] if "fc.weight" in whole else next(iter(whole.values())), torch.zeros(1))
    shorter = run(disc, tmp_path / "whole", staged(stage))
    assert same(whole, shorter)


def test_two_heads_train_on_four_views_of_each_image(disc, tmp_path):
    network = config.replace(
        staged(config.replace(CHEAP, batch_images=8, views=("weak",) * 4, loss=config.TwoHeads(), ghost_batch=16)),
        backbone=config.Backbone(name="test_resnet", stride16=True, wave=True),
        head=config.Head(kind="projector", widths=(64, 128)),
    )
    run(disc, tmp_path, network)
    assert {"loss", "triplet"} <= log(tmp_path)[0].keys()


def test_drip_training_starts_new_classes_from_their_centroids(disc, tmp_path):
    first = config.replace(CHEAP, name="few", data=config.Data(ids=16, partners="others"), loss=config.ArcFace())
    more = config.replace(CHEAP, name="all", loss=config.ArcFace(start="centroids", centroid_views=2))
    cold = config.replace(CHEAP, name="all", loss=config.ArcFace())
    run(disc, tmp_path / "warm", staged(first, more))
    run(disc, tmp_path / "cold", staged(first, cold))
    assert log(tmp_path / "warm")[1]["loss"] < log(tmp_path / "cold")[1]["loss"]


def test_pairs_and_references_are_used_as_they_are_and_listed(disc, tmp_path):
    stage = config.replace(
        CHEAP,
        batch_images=4,
        images_per_epoch=8,
        data=config.Data(anchors="pairs", negatives="references", negatives_per_anchor=3),
        loss=config.Contrastive(memory=32),
    )
    run(disc, tmp_path, staged(stage))
    (line,) = log(tmp_path)
    assert set(line["consumed"]) == {"query", "reference"}
    assert not any(drawn["augmented"] for drawn in line["consumed"].values())
    assert line["consumed"]["reference"]["draws"] == 8 + 24
    assert len(line["consumed"]["query"]["listed"]) == line["consumed"]["query"]["images"]


def test_pairs_without_a_ground_truth_are_asked_for(disc):
    from dataclasses import replace

    stage = config.replace(CHEAP, data=config.Data(anchors="pairs"))
    with pytest.raises(MissingInput, match="ground truth"):
        training_data(replace(disc, ground_truth={}), disc.train, (stage,))


def test_processes_that_would_cut_groups_of_statistics_apart_are_refused(disc):
    """Eight classes by four views in groups of 16 images: two processes have one each, four would have halves."""
    stage = config.replace(CHEAP, batch_images=8, views=("weak",) * 4, loss=config.TwoHeads(), ghost_batch=16)
    settings = config.replace(staged(stage), head=config.Head(kind="projector", widths=(64, 128)))
    images = stage_images(TrainingData(disc.train), stage.data)
    four = Process(torch.device("cpu"), 0, 4)
    with pytest.raises(BadInput, match="groups of 16 images, and 32 images a step in 4 processes"):
        StageTrainer(stage, EmbeddingNetwork(settings), images, seed=0, process=four)


# One step of unit length: more of them would amplify the rounding that is compared.
ONE_STEP = config.replace(CHEAP, images_per_epoch=16, optim=config.Optim(name="sgd", lr=1.0, warmup_epochs=0, clip=1.0))


def test_parts_of_a_batch_give_the_gradient_of_the_whole(disc, tmp_path):
    plain = config.replace(ONE_STEP, ghost_batch=8)
    whole = run(disc, tmp_path / "whole", staged(plain))
    parts = run(disc, tmp_path / "parts", staged(config.replace(plain, micro_batch=8)))
    fresh = initial_weights()
    moved = 0.0
    for key in whole:
        if "running" not in key and "num_batches" not in key:
            assert torch.allclose(whole[key], parts[key], atol=1e-5), key
            moved = max(moved, float((whole[key] - fresh[key]).abs().max()))
    assert moved > 1e-3


STAGES = {
    kind: config.replace(ONE_STEP, loss={"infonce": config.InfoNce(memory=64), **LOSSES}[kind])
    for kind in ("infonce", "contrastive", "ntxent", "arcface")
}


def _rank(rank, port, disc, folder):
    os.environ |= {
        "WORLD_SIZE": "2",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    with process() as here:
        for kind, stage in STAGES.items():
            given, own = training_data(disc, disc.train, (stage,)), folder / kind
            weights = train(staged(stage), given, seed=1, folder=own, process=here, workers=0)
            torch.save(weights, own / f"{rank}.pt")


@pytest.fixture(scope="module")
def trained_by_two(disc, tmp_path_factory):
    """Folder of the weights that two processes hold after each of the trainings."""
    folder = tmp_path_factory.mktemp("two")
    for kind in STAGES:
        (folder / kind).mkdir()
    in_two_processes(_rank, disc, folder)
    return folder


@pytest.mark.parametrize("kind", STAGES)
def test_two_processes_train_as_one_does(disc, tmp_path, trained_by_two, kind):
    first, second = (torch.load(trained_by_two / kind / f"{r}.pt", weights_only=True) for r in range(2))
    alone = run(disc, tmp_path, staged(STAGES[kind]))
    for key in alone:
        assert torch.equal(first[key], second[key]), key
        assert torch.allclose(first[key].float(), alone[key].float(), atol=1e-5), key
    assert not torch.allclose(alone["head.fc.weight"], initial_weights()["head.fc.weight"], atol=1e-3)


def initial_weights():
    training.deterministic(1)
    return EmbeddingNetwork(NETWORK).state_dict()
