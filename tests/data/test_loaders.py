"""Loader processes that fail end the run with a word on what to do; nothing waits for ever."""

import os
import signal
from collections import namedtuple

import pytest
import torch
from torch.utils.data import Dataset

from isckit.data import loaders
from isckit.data.loaders import Loader, LoaderFailed


class Cut:
    """A batch whose connection is cut by the end of its worker while it is received."""

    def __reduce__(self):
        return _cut, (os.getpid(),)


def _cut(worker):
    os.kill(worker, signal.SIGKILL)
    raise ConnectionResetError("Connection reset by peer")


class Items(Dataset):
    """Eight numbers; the fault comes with the sixth."""

    def __init__(self, fault=None):
        self.fault = fault

    def __len__(self):
        return 8

    def __getitem__(self, i):
        if i == 5 and self.fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if i == 5 and self.fault == "unsendable":
            return lambda: None  # cannot be pickled, as a batch for which shared memory lacks cannot be sent
        if i == 5 and self.fault == "cut":
            return Cut()
        if i == 5 and self.fault == "own":
            raise RuntimeError("an error of the item")
        if i == 5 and self.fault == "file":
            raise FileNotFoundError("an error of the item")
        return torch.tensor(i)


def given(fault, **options):
    return [torch.stack(list(batch)).tolist() for batch in Loader(Items(fault), batch_size=2, **options)]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_order(workers):
    assert given(None, workers=workers) == [[0, 1], [2, 3], [4, 5], [6, 7]]


@pytest.mark.parametrize("fault", ["killed", "unsendable", "cut"])
def test_a_worker_that_ends_is_a_message_with_the_remedy(fault):
    with pytest.raises(LoaderFailed) as caught:
        given(fault, workers=2, collate_fn=list)
    assert "--shm-size" in str(caught.value) and "--workers 0" in str(caught.value)


@pytest.mark.parametrize(("fault", "kind"), [("own", RuntimeError), ("file", FileNotFoundError)])
def test_an_error_of_an_item_stays_what_it_is(fault, kind):
    with pytest.raises(kind, match="an error of the item"):
        given(fault, workers=1)


def test_little_shared_memory_is_warned_of_before_the_first_batch(monkeypatch, caplog):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(loaders.shutil, "disk_usage", lambda path: usage(64 << 20, 0, 64 << 20))
    given(None, workers=1)
    assert "64 MB free" in caplog.text and "--shm-size" in caplog.text
    caplog.clear()
    given(None, workers=0)
    assert caplog.text == ""
