import functools

import numpy as np
import pytest
from torch.utils.data import DataLoader

from isckit import config
from isckit.augment.pipelines import find, view_rng
from isckit.data.items import StageItems, together
from isckit.data.training import TrainingData, Witness, read_witness, stage_images


def items(disc, path, *, epoch, workers):
    pairs = StageItems(
        stage_images(TrainingData(disc.train), config.Data()),
        rows=np.arange(12),
        negatives=np.zeros((12, 0), np.int64),
        views=[find("weak"), find("mild")],
        size=24,
        rng=functools.partial(view_rng, 1, epoch),
        raw=find("eval"),
        witness=Witness(path, epoch),
    )
    for _ in DataLoader(pairs, batch_size=4, num_workers=workers, collate_fn=together):
        pass
    return sorted((tuple(item["ids"]), item["sha256"]) for item in read_witness(path))


@pytest.mark.parametrize("workers", [0, 2])
def test_every_item_is_written_down_once_whatever_the_number_of_processes(disc, tmp_path, workers):
    seen = items(disc, tmp_path / "w.jsonl", epoch=0, workers=workers)
    assert [ids[0] for ids, _ in seen] == disc.train.ids[:12].tolist()
    assert seen == items(disc, tmp_path / "again.jsonl", epoch=0, workers=0)


def test_augmented_items_differ_from_pass_to_pass_and_partners_are_named(disc, tmp_path):
    first, second = (items(disc, tmp_path / f"{epoch}.jsonl", epoch=epoch, workers=0) for epoch in (0, 1))
    assert {digest for _, digest in first}.isdisjoint({digest for _, digest in second})
    assert all(set(ids) <= set(disc.train.ids.tolist()) and len(ids) == 3 for ids, _ in first)


def test_no_file_is_no_items(tmp_path):
    assert read_witness(tmp_path / "none") == []
