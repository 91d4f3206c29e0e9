"""The detector learns, its training resumes to the same bytes, and only train images are pasted on each other."""

import json
import os

import numpy as np
import pytest
import torch
from starting import in_two_processes

from isckit import config
from isckit.data.training import TrainingData, read_witness
from isckit.engine import detector_training as detecting
from isckit.engine.detector_score import score_detector
from isckit.engine.detector_training import train_detector
from isckit.engine.distributed import Process, process
from isckit.engine.pasting import PastedImages
from isckit.models.detector import OverlayDetector, load_detector
from isckit.runs.workspace import METRICS
from isckit.types import BadInput, RuleViolation, StaleArtifact

CPU = Process(torch.device("cpu"))
DETECTOR = config.Detector(
    architecture="fcos_mobilenet_v3_small",
    image_size=64,
    epochs=2,
    images_per_epoch=16,
    batch_images=8,
    amp=False,
    pastes=config.Pastes(none=0.2, emoji=0.2),
    optim=config.Optim(name="adamw", lr=1e-3, warmup_epochs=0.5, clip=10.0),
)


def run(disc, folder, settings=DETECTOR, *, seed=1, workers=0, images=None, **more):
    given = TrainingData(images or disc.train)
    return train_detector(settings, given, seed=seed, folder=folder, process=CPU, workers=workers, **more)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def log(folder):
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


@pytest.fixture(scope="module")
def uninterrupted(disc, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return run(disc, folder), log(folder)


def test_training_twice_gives_the_same_weights_with_and_without_workers(disc, tmp_path, uninterrupted):
    assert same(uninterrupted[0], run(disc, tmp_path, workers=1))


def test_another_seed_gives_other_weights(disc, tmp_path, uninterrupted):
    assert not same(uninterrupted[0], run(disc, tmp_path, seed=2))


@pytest.mark.parametrize(("saves", "ema"), [(1, 0.0), (3, 0.9)])
def test_a_training_stopped_at_any_step_ends_in_the_same_weights_and_log(disc, tmp_path, monkeypatch, saves, ema):
    settings = config.replace(DETECTOR, ema=ema)
    whole = run(disc, tmp_path / "whole", settings)
    honest, done = detecting.TrainingLog.save, []

    def save(self, state):
        honest(self, state)
        done.append(state)
        if len(done) == saves:
            raise KeyboardInterrupt

    monkeypatch.setattr(detecting.TrainingLog, "save", save)
    with pytest.raises(KeyboardInterrupt):
        run(disc, tmp_path / "stopped", settings, save_seconds=0)
    assert same(whole, run(disc, tmp_path / "stopped", settings, save_seconds=0))
    varying = {"seconds", "images_per_second"}
    first, second = (
        [{k: v for k, v in line.items() if k not in varying} for line in log(tmp_path / name)]
        for name in ("whole", "stopped")
    )
    assert first == second


def test_a_finished_training_gives_its_weights_again(disc, tmp_path):
    short = config.replace(DETECTOR, epochs=1)
    assert same(run(disc, tmp_path, short), run(disc, tmp_path, short))
    assert len(log(tmp_path)) == 1


def test_the_log_says_what_was_drawn(uninterrupted):
    from isckit.runs.records import Epoch, checked

    for number, line in enumerate(uninterrupted[1]):
        assert checked(line, Epoch) and line["epoch"] == number
        assert line["loss"] == pytest.approx(sum(line[k] for k in line if k.startswith(("bbox_", "classification"))))
        assert line["consumed"].keys() == {"train"} and line["consumed"]["train"]["draws"] == 16
        assert line["consumed"]["train"]["augmented"] and line["images_per_second"] > 0


def test_training_on_a_few_pictures_lowers_the_loss_and_finds_them(disc, tmp_path):
    pastes = config.Pastes(
        edits=("eval",), opacity=(1.0, 1.0), none=0.0, emoji=0.0, finish=0.0, height=(0.4, 0.6), stretch=(1.0, 1.0)
    )
    optim = config.Optim(name="adamw", lr=2e-3, weight_decay=0.0, warmup_epochs=0.5, clip=10.0)
    settings = config.replace(DETECTOR, epochs=6, images_per_epoch=64, batch_images=16, pastes=pastes, optim=optim)
    weights = run(disc, tmp_path, settings)
    losses = [line["loss"] for line in log(tmp_path)]
    assert losses[-1] < 0.8 * losses[0]
    rows = np.arange(24)
    trained = load_detector(settings, weights, device=CPU.device)
    torch.manual_seed(1)
    untrained = OverlayDetector(settings).eval()
    found, guessed = (
        score_detector(one, disc.train, rows=rows, seed=5, process=CPU)["overlay"] for one in (trained, untrained)
    )
    assert found.pictures == guessed.pictures == 24
    assert found.average_precision > guessed.average_precision + 0.05


def test_every_item_is_witnessed_as_two_train_images(disc, tmp_path):
    run(disc, tmp_path, config.replace(DETECTOR, epochs=1), witness=tmp_path / "witness.jsonl")
    items = read_witness(tmp_path / "witness.jsonl")
    assert len(items) == 16 and {item["side"] for item in items} == {64}
    for item in items:
        first, second = item["ids"]
        assert item["role"] == "train" and first != second and {first, second} <= set(disc.train.ids.tolist())


def test_an_item_is_a_function_of_seed_epoch_and_position(disc):
    def items(rows=(3, 4, 5), seed=1, epoch=0):
        return PastedImages(disc.train, rows=np.array(rows), settings=DETECTOR, seed=seed, epoch=epoch)

    def equal(one, other):
        return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))

    assert equal(items()[1], items(rows=(0, 4))[1])
    assert not any(equal(items()[1], other) for other in (items(seed=2)[1], items(epoch=1)[1], items()[2]))


def test_boxes_are_fractions_of_the_square(disc):
    settings = config.replace(DETECTOR, pastes=config.Pastes(none=0.0, emoji=1.0))
    for item in PastedImages(disc.train, rows=np.arange(20), settings=settings, seed=1, epoch=0):
        pixels, boxes, labels = item
        assert pixels.shape == (64, 64, 3) and boxes.dtype == torch.float32 and labels.tolist() == [1, 2]
        assert (boxes >= 0).all() and (boxes <= 1).all() and (boxes[:, 2:] > boxes[:, :2]).all()


@pytest.mark.parametrize("name", ["references", "queries"])
def test_queries_and_references_are_never_pasted_on(disc, tmp_path, name):
    with pytest.raises(RuleViolation, match="augmented training"):
        run(disc, tmp_path, images=getattr(disc, name))


def test_the_state_of_another_detector_is_refused_by_name(disc, tmp_path):
    short = config.replace(DETECTOR, epochs=1)
    run(disc, tmp_path, short)
    with pytest.raises(StaleArtifact, match="settings"):
        run(disc, tmp_path, config.replace(short, image_size=96))
    with pytest.raises(StaleArtifact, match="images"):
        run(disc, tmp_path, short, images=disc.train.subset(np.arange(40)))


def test_one_image_is_too_few_and_a_wild_rate_stops_with_advice(disc, tmp_path):
    with pytest.raises(BadInput, match="1 train images"):
        run(disc, tmp_path / "one", images=disc.train.subset(np.arange(1)))
    wild = config.replace(DETECTOR, epochs=3, optim=config.Optim(name="sgd", lr=1e12, warmup_epochs=0))
    with pytest.raises(BadInput, match="loss"):
        run(disc, tmp_path / "wild", wild)


def _rank(rank, port, disc, folder, settings):
    os.environ |= {
        "WORLD_SIZE": "2",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    with process() as here:
        weights = train_detector(settings, TrainingData(disc.train), seed=1, folder=folder, process=here, workers=0)
        torch.save(weights, folder / f"{rank}.pt")


@pytest.mark.slow
def test_two_processes_have_one_set_of_weights(disc, tmp_path):
    settings = config.replace(DETECTOR, epochs=1)
    in_two_processes(_rank, disc, tmp_path, settings)
    first, second = (torch.load(tmp_path / f"{r}.pt", weights_only=True) for r in range(2))
    assert same(first, second)
    assert log(tmp_path)[0]["consumed"]["train"]["draws"] == 16
