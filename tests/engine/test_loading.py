import numpy as np
import pytest
import torch

from isckit import config
from isckit.data.training import TrainingData, stage_images, training_data
from isckit.engine.distributed import Process
from isckit.engine.loading import consumed, draw_epoch, epoch_rows, loader
from isckit.types import BadInput

CPU = Process(torch.device("cpu"))


def test_epochs_are_a_series_of_permutations():
    drawn = np.concatenate([epoch_rows(7, images=10, seed=3, epoch=e) for e in range(10)])
    for start in range(0, 70, 10):
        assert sorted(drawn[start : start + 10]) == list(range(10))
    assert np.array_equal(epoch_rows(25, images=10, seed=3, epoch=1), drawn[25:50])


def batches(disc, stage, *, process=CPU, workers=0, skip=0, **more):
    images = stage_images(training_data(disc, disc.train, (stage,)), stage.data)
    epoch = draw_epoch(stage, images, seed=4, number=1)
    return list(loader(epoch, size=24, process=process, workers=workers, skip=skip, **more)), epoch


NEGATIVES = config.Data(negatives="references", negatives_per_anchor=2)
STAGE = config.Stage(batch_images=8, images_per_epoch=24, views=("weak", "mild", "mild"))


def test_an_anchor_brings_its_views_and_negatives_together(disc):
    (first, *_), epoch = batches(disc, config.replace(STAGE, data=NEGATIVES))
    assert first.pixels.shape == (8 * 5, 3, 24, 24)
    assert first.views.tolist() == [0, 1, 2, -1, -1] * 8
    labels = first.labels.view(8, 5)
    assert labels[:, 0].tolist() == epoch.rows[:8].tolist()
    assert (labels[:, :3] == labels[:, :1]).all()
    assert (labels[:, 3:] == len(disc.train) + torch.from_numpy(epoch.negatives[:8])).all()
    assert len(first.plain) == 0


def test_plain_anchors_and_negatives_are_only_resized(disc):
    from isckit.augment.geometry import square
    from isckit.data.images import decode

    (first, *_), epoch = batches(disc, config.replace(STAGE, data=NEGATIVES), plain=True)
    row = int(epoch.rows[0])
    expected = square(decode(disc.train.read(row), name=""), 24)
    assert np.array_equal(first.plain[0].permute(1, 2, 0).numpy(), expected)
    negative = square(decode(disc.references.read(int(epoch.negatives[0, 0])), name=""), 24)
    assert np.array_equal(first.pixels[3].permute(1, 2, 0).numpy(), negative)


def test_batches_do_not_depend_on_workers_processes_or_interruptions(disc):
    stage = config.replace(STAGE, data=NEGATIVES, on_device="mild.device")
    whole, _ = batches(disc, stage)
    for other, _ in (batches(disc, stage, workers=2), batches(disc, stage, skip=0)):
        assert all(torch.equal(a, b) for x, y in zip(whole, other, strict=True) for a, b in zip(x, y, strict=True))
    later, _ = batches(disc, stage, skip=2)
    assert len(later) == 1 and torch.equal(later[0].pixels, whole[2].pixels)
    halves = [batches(disc, stage, process=Process(torch.device("cpu"), rank, 2))[0] for rank in range(2)]
    for number, item in enumerate(whole):
        parts = [half[number] for half in halves]
        assert torch.equal(torch.cat([p.pixels for p in parts]), item.pixels)
        assert torch.equal(torch.cat([p.tables for p in parts]), item.tables)


def test_another_epoch_and_another_view_give_other_pixels(disc):
    images = stage_images(TrainingData(disc.train), STAGE.data)
    first, second = (
        next(iter(loader(draw_epoch(STAGE, images, seed=4, number=n), size=24, process=CPU, workers=0))) for n in (0, 2)
    )
    assert not torch.equal(first.pixels[1], first.pixels[2])
    at = {int(label): i for i, label in enumerate(first.labels[::3])}
    both = [(at[int(label)] * 3, i * 3) for i, label in enumerate(second.labels[::3]) if int(label) in at]
    assert all(not torch.equal(first.pixels[a], second.pixels[b]) for a, b in both)


def test_classes_are_each_nth_image_and_overlays_come_from_the_others(disc):
    images = stage_images(TrainingData(disc.train), config.Data(every=4, ids=5, partners="others"))
    assert images.anchors.tolist() == [0, 4, 8, 12, 16]
    assert images.labels[images.anchors].tolist() == [0, 1, 2, 3, 4]
    assert sorted(images.labels.tolist()) == list(range(len(disc.train)))
    assert not set(images.partners.tolist()) & set(images.anchors.tolist())
    with pytest.raises(BadInput, match="classes"):
        stage_images(TrainingData(disc.train), config.Data(every=4, ids=500))


def test_pairs_share_a_label_and_their_negatives_are_in_no_pair(disc):
    data = config.Data(anchors="pairs", negatives="references", negatives_per_anchor=3)
    stage = config.replace(STAGE, batch_images=4, images_per_epoch=8, data=data)
    (first, *_), epoch = batches(disc, stage)
    pairs = epoch.images.anchors
    assert first.views.tolist() == [0, 1, -1, -1, -1] * 4
    labels = first.labels.view(4, 5)
    assert (labels[:, 0] == labels[:, 1]).all()
    assert labels[:, 1].tolist() == (len(disc.train) + pairs[epoch.rows[:4], 1]).tolist()
    assert not set(epoch.negatives.ravel().tolist()) & set(pairs[:, 1].tolist())
    drawn = consumed(epoch)
    assert drawn["query"]["listed"] == np.unique(disc.queries.ids[pairs[epoch.rows, 0]]).tolist()


def test_train_negatives_keep_their_own_label(disc):
    data = config.Data(negatives="train", negatives_per_anchor=4, every=2)
    (first, *_), epoch = batches(disc, config.replace(STAGE, data=data))
    labels = first.labels.view(8, 7)
    assert torch.equal(labels[:, 3:], torch.from_numpy(epoch.images.labels[epoch.negatives[:8]]))
    assert consumed(epoch)["train"]["draws"] == 24 * 5


def test_the_account_counts_draws_and_distinct_images(disc):
    _, epoch = batches(disc, config.replace(STAGE, images_per_epoch=96))
    drawn = consumed(epoch)["train"]
    assert drawn["draws"] == 96 and drawn["images"] == 48 and drawn["augmented"]
