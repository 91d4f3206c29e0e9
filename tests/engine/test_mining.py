import json
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import torch

from isckit import config
from isckit.data.training import stage_images, training_data
from isckit.engine.distributed import Process
from isckit.engine.loading import draw_epoch
from isckit.engine.mining import MINED, confusions
from isckit.engine.train import train
from isckit.engine.trainer import STATE
from isckit.models.network import EmbeddingNetwork
from isckit.runs.workspace import METRICS

CPU = Process(torch.device("cpu"))
FIRST = config.Stage(
    name="first",
    epochs=1,
    images_per_epoch=32,
    batch_images=16,
    loss=config.Triplet(triplets=16),
    optim=config.Optim(lr=2e-3, warmup_epochs=0.0),
    amp=False,
    views=("mild", "eval"),
)
OFFLINE = config.Data(negatives="mined", negatives_per_anchor=1)
ROUNDS = tuple(config.replace(FIRST, name=name, data=OFFLINE, epochs=2) for name in ("one", "two"))
NETWORK = config.Network(
    backbone=config.Backbone(name="test_resnet"), dim=16, image_size=32, canvas=64, stages=(FIRST, *ROUNDS)
)


def run(disc, folder):
    return train(
        NETWORK, training_data(disc, disc.train, NETWORK.stages), seed=1, folder=folder, process=CPU, workers=0
    )


@pytest.fixture(scope="module")
def finished(disc, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mined")
    return folder, run(disc, folder)


def mined(folder, stage):
    return np.load(folder / f"{stage}.{MINED}", allow_pickle=False)


def test_confusions_are_the_images_that_lie_nearest_to_an_edited_copy_of_another(disc):
    torch.manual_seed(0)
    network = EmbeddingNetwork(NETWORK).train()
    images = stage_images(training_data(disc, disc.train, ()), config.Data(every=2))
    found = confusions(network, ROUNDS[0], images, seed=3, process=CPU, workers=0)
    assert network.training and len(found) and (found % 2 == 0).all() and (found[:, 0] != found[:, 1]).all()

    from isckit.engine.mining import anchor_views

    views = anchor_views(
        network, ROUNDS[0], images, views=("mild", "eval"), seed=3, process=CPU, workers=0, title="again"
    )
    parts = [(labels.clone(), embeddings.clone()) for labels, embeddings in views]
    table = torch.zeros(24, 2, 16)
    for labels, embeddings in parts:
        table[labels] = embeddings
    distances = torch.cdist(table[:, 0].double(), table[:, 1].double())
    expected = [(2 * i, 2 * int(row.argmin())) for i, row in enumerate(distances) if int(row.argmin()) != i]
    assert found.tolist() == [list(pair) for pair in expected]


def test_mined_stages_have_the_confused_images_for_anchors_with_those_of_earlier_rounds(disc, finished):
    folder, _ = finished
    one, two = mined(folder, "one"), mined(folder, "two")
    assert len(one) and not (folder / f"first.{MINED}").exists()
    log = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    both = np.unique(np.concatenate([one, two]), axis=0)
    anchors_and_negatives = {stage: np.unique(pairs).size for stage, pairs in (("one", one), ("two", both))}
    for record in log:
        drawn = record["consumed"]["train"]
        if record["stage"] != "first":
            assert drawn["draws"] == 2 * 32 and drawn["images"] <= anchors_and_negatives[record["stage"]]
    from dataclasses import replace

    images = stage_images(training_data(disc, disc.train, ()), OFFLINE)
    images = replace(images, anchors=both[:, 0], own=both[:, 1])
    epoch = draw_epoch(ROUNDS[1], images, seed=5, number=0)
    assert np.array_equal(epoch.negatives, both[epoch.rows, 1:])


def test_without_confusions_negatives_are_drawn_at_random(disc):
    images = stage_images(training_data(disc, disc.train, ()), OFFLINE)
    negatives = draw_epoch(config.replace(ROUNDS[0], images_per_epoch=2_048), images, seed=5, number=0).negatives
    assert negatives.shape == (2_048, 1) and len(np.unique(negatives)) == len(disc.train)


def test_a_training_killed_in_a_mined_stage_ends_in_the_same_weights(disc, tmp_path, finished):
    process = multiprocessing.get_context("fork").Process(target=run, args=(disc, tmp_path))
    process.start()
    deadline = time.monotonic() + 120
    while not (tmp_path / f"one.{MINED}").is_file() and time.monotonic() < deadline and process.is_alive():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert (tmp_path / STATE).is_file()
    weights = run(disc, tmp_path)
    assert all(torch.equal(value, finished[1][key]) for key, value in weights.items())
    assert np.array_equal(mined(tmp_path, "two"), mined(finished[0], "two"))


@pytest.mark.parametrize("changed", [{"negatives_per_anchor": 2}, {"anchors": "pairs"}])
def test_mined_negatives_are_of_train_images_one_an_anchor(changed):
    with pytest.raises(ValueError, match="mined"):
        config.replace(OFFLINE, **changed)
