import json
import multiprocessing
import os
import signal
import socket
import time

import numpy as np
import pytest
import torch

from isckit import config
from isckit.engine.distributed import Place, place
from isckit.engine.train import METRICS, STATE, epoch_rows, lr_factor, train
from isckit.losses.cross_batch import CrossBatchLoss
from isckit.models.network import EmbeddingNetwork
from isckit.types import BadInput, RuleViolation, StaleArtifact

CPU = Place(torch.device("cpu"))
PLAN = config.Train(
    epochs=3, batch_images=16, loss=config.Loss(kind="infonce", memory=64), optim=config.Optim(lr=2e-3), amp=False
)
NETWORK = config.Network(backbone="test_resnet", dim=32, image_size=32, canvas=64, train=PLAN)


def run(disc, folder, network=NETWORK, *, seed=1, workers=0, images=None):
    return train(network, images or disc.train, seed=seed, folder=folder, place=CPU, workers=workers)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture(scope="module")
def uninterrupted(disc, tmp_path_factory):
    return run(disc, tmp_path_factory.mktemp("whole"))


def test_training_twice_gives_the_same_weights_with_and_without_workers(disc, tmp_path, uninterrupted):
    assert same(uninterrupted, run(disc, tmp_path, workers=1))


def test_another_seed_gives_other_weights(disc, tmp_path, uninterrupted):
    assert not same(uninterrupted, run(disc, tmp_path, seed=2))


def _train_forever(disc, folder):
    run(disc, folder, config.replace(NETWORK, train=PLAN))


def test_a_killed_run_ends_in_the_same_weights(disc, tmp_path, uninterrupted):
    process = multiprocessing.get_context("fork").Process(target=_train_forever, args=(disc, tmp_path))
    process.start()
    deadline = time.monotonic() + 120
    while not (tmp_path / STATE).is_file() and time.monotonic() < deadline and process.is_alive():
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert same(uninterrupted, run(disc, tmp_path))
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    assert all(set(line["consumed"]) == {"train"} for line in lines)


def test_training_brings_the_two_views_of_an_image_together(disc, tmp_path):
    easy = config.replace(PLAN, epochs=15, augment=config.Augment(weak="weak", strong="weak"))
    longer = config.replace(NETWORK, train=easy)
    run(disc, tmp_path, longer)
    lines = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    gap = [line["positive"] - line["negative"] for line in lines]
    assert np.mean(gap[-3:]) > np.mean(gap[:3]) + 0.05


def test_the_state_of_another_recipe_is_refused_by_name(disc, tmp_path):
    run(disc, tmp_path, config.replace(NETWORK, train=config.replace(PLAN, epochs=1)))
    with pytest.raises(StaleArtifact, match="settings"):
        run(disc, tmp_path, config.replace(NETWORK, dim=16))
    with pytest.raises(StaleArtifact, match="seed"):
        run(disc, tmp_path, config.replace(NETWORK, train=config.replace(PLAN, epochs=1)), seed=5)


@pytest.mark.parametrize("name", ["references", "queries"])
def test_queries_and_references_are_never_trained_on(disc, tmp_path, name):
    with pytest.raises(RuleViolation, match="augmented training"):
        run(disc, tmp_path, images=getattr(disc, name))


def test_a_diverged_loss_stops_with_advice(disc, tmp_path):
    wild = config.replace(NETWORK, train=config.replace(PLAN, optim=config.Optim(name="sgd", lr=1e12)))
    with pytest.raises(BadInput, match="loss"):
        run(disc, tmp_path, wild)


def test_epochs_are_a_series_of_permutations():
    drawn = np.concatenate([epoch_rows(7, images=10, seed=3, epoch=e) for e in range(10)])
    for start in range(0, 70, 10):
        assert sorted(drawn[start : start + 10]) == list(range(10))
    assert np.array_equal(epoch_rows(25, images=10, seed=3, epoch=1), drawn[25:50])


@pytest.mark.parametrize(("schedule", "end"), [("constant", 1.0), ("linear", 0.0), ("cosine", 0.0)])
def test_schedules_warm_up_and_end_where_they_should(schedule, end):
    plan = config.Train(epochs=10, optim=config.Optim(schedule=schedule, warmup_epochs=2))
    assert lr_factor(plan, 0.0) < 0.01
    assert lr_factor(plan, 1.0) == pytest.approx(0.5, abs=0.01)
    assert lr_factor(plan, 2.0) == pytest.approx(1.0)
    assert lr_factor(plan, 10.0) == pytest.approx(end, abs=1e-9)
    assert lr_factor(plan, 6.0) == pytest.approx({"constant": 1.0, "linear": 0.5, "cosine": 0.5}[schedule])


NETWORK_STEP = config.replace(NETWORK, train=config.replace(PLAN, epochs=1, images_per_epoch=32))


def _rank(rank, port, disc, folder, half_batch, labels):
    os.environ |= {
        "WORLD_SIZE": "2",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    with place() as here:
        weights = train(NETWORK_STEP, disc.train, seed=1, folder=folder, place=here, workers=0)
        embeddings = half_batch.requires_grad_()
        value = CrossBatchLoss(PLAN.loss, dim=8, batch_rows=8)(embeddings, labels)
        value.backward()
        # The processes' gradients are averaged, so each is twice its share of the global batch's.
        torch.save(
            {"weights": weights, "gradient": embeddings.grad / 2, "loss": value.item() / 2}, folder / f"{rank}.pt"
        )


def test_two_processes_share_weights_and_take_the_gradient_of_the_global_batch(disc, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    batch = torch.nn.functional.normalize(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    labels = torch.tensor([0, 1, 0, 1, 2, 3, 2, 3])
    context = multiprocessing.get_context("spawn")
    ranks = [
        context.Process(target=_rank, args=(r, port, disc, tmp_path, batch.chunk(2)[r], labels.chunk(2)[r]))
        for r in range(2)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(240)
    first, second = (torch.load(tmp_path / f"{r}.pt", weights_only=True) for r in range(2))
    learned = [key for key in first["weights"] if "running" not in key]
    assert all(torch.equal(first["weights"][key], second["weights"][key]) for key in learned)
    assert not torch.equal(first["weights"]["fc.weight"], initial_weights()["fc.weight"])
    whole = batch.clone().requires_grad_()
    value = CrossBatchLoss(PLAN.loss, dim=8, batch_rows=8)(whole, labels)
    value.backward()
    assert first["loss"] == pytest.approx(value.item(), rel=1e-5)
    assert torch.allclose(torch.cat([first["gradient"], second["gradient"]]), whole.grad, atol=1e-6)


def initial_weights():
    torch.manual_seed(1)
    return EmbeddingNetwork(NETWORK).state_dict()
