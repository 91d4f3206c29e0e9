"""torch's loader, set up alike everywhere, whose failures end a run with a word on what to do."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing.queues
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from isckit.types import KitError

log = logging.getLogger(__name__)

SHARED = Path("/dev/shm")
LEAST_SHARED = 512 << 20
"""Bytes of shared memory below which a warning is due: a batch of 128 pictures of 512 px takes 100 MB, several wait."""
_OF_AN_ITEM = "Caught "
"""The beginning that torch gives to an error that a worker met and passed on."""
_SIGNAL = 5.0
"""Seconds in which the signal of a worker's end arrives; it ends the wait."""
_REMEDY = "give the processes shared memory (Docker: --shm-size=8g) and memory, or load without: --workers 0, or fewer"


class LoaderFailed(KitError):
    """A process that loads images ended."""


class Loader(DataLoader):
    """A `DataLoader` whose workers use a thread each and die of what would leave the run waiting for ever.

    Args:
        dataset: of the items.
        workers: processes; 0 loads in this one.
        device: where the batches go; they are pinned for CUDA.
        options: of `DataLoader`.
    """

    def __init__(self, dataset: Dataset, *, workers: int, device: torch.device | None = None, **options: Any) -> None:
        super().__init__(
            dataset,
            num_workers=workers,
            worker_init_fn=worker_init,
            pin_memory=device is not None and device.type == "cuda",
            **options,
        )

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Yield batches.

        Raises:
            LoaderFailed: a worker ended.
        """
        if self.num_workers:
            _warn_of_little_shared_memory()
        batches = super().__iter__()
        try:
            try:
                yield from batches
            except (OSError, EOFError) as error:
                if self.num_workers and not str(error).startswith(_OF_AN_ITEM):
                    # A worker's end cuts a batch on its way; torch's signal, which says how it ended, is due now.
                    time.sleep(_SIGNAL)
                raise
        except RuntimeError as error:
            if not is_loader_fault(error):
                raise
            with contextlib.suppress(RuntimeError):  # the end of a worker is told by a signal, too
                batches._shutdown_workers()  # type: ignore[attr-defined]
            raise loader_fault(error) from error


def is_loader_fault(error: BaseException) -> bool:
    """Return True for torch's error about a worker that ended; a signal raises it, wherever the program is."""
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker (pid")


def loader_fault(error: BaseException) -> LoaderFailed:
    """Return that error with what to do."""
    return LoaderFailed(
        seen=f"a process that loads images ended: {str(error).splitlines()[0]}",
        allowed="loader processes that live until the end",
        remedy=_REMEDY,
    )


def worker_init(_: int) -> None:
    """Set one thread a loader worker: the workers are the parallelism. What cannot be sent ends the worker."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    # Else a batch for which shared memory lacks is dropped with a traceback, and the run waits for it for ever.
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(_end)  # type: ignore[attr-defined]


def _end(error: BaseException, _: Any) -> None:
    os.write(2, f"a loader process ends: {error}\n".encode())
    os._exit(1)


def _warn_of_little_shared_memory() -> None:
    if not SHARED.is_dir():
        return
    free = shutil.disk_usage(SHARED).free
    if free < LEAST_SHARED:
        log.warning(
            "%s has %d MB free: loader processes may fail. What to do: Docker: --shm-size=8g; or --workers 0",
            *(SHARED, free >> 20),
        )
