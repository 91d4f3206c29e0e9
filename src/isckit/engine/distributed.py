"""Device, processes and determinism: the same code on a CPU, on one GPU and under torchrun on several."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from isckit.runs.executor import PATIENCE, Executor, LocalExecutor, current
from isckit.types import BadInput


@dataclass(frozen=True)
class Process:
    """This process: where it computes, and which of how many it is."""

    device: torch.device
    rank: int = 0
    world: int = 1
    executor: Executor = field(default_factory=current)

    @property
    def first(self) -> bool:
        """Return True in the one process that writes files and shows progress."""
        return self.rank == 0 and self.executor.first

    def share(self, amount: int, what: str) -> int:
        """Return this process's part of a global quantity.

        Raises:
            BadInput: it cannot be divided evenly.
        """
        if amount % self.world:
            raise BadInput(
                seen=f"{what} {amount} over {self.world} processes",
                allowed="a multiple of the number of processes",
                remedy=f"choose {what} divisible by {self.world}, or another number of processes",
            )
        return amount // self.world

    def barrier(self) -> None:
        """Wait for all processes of a training."""
        if self.world > 1:
            dist.barrier()


@contextlib.contextmanager
def process() -> Iterator[Process]:
    """Yield this process: from torchrun's environment where it is set, else one process on the best device."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if world == 1:
        yield Process(device)
        return
    dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        store = dist.PrefixStore("units", dist.distributed_c10d._get_default_store())
        yield Process(device, dist.get_rank(), world, LocalExecutor(dist.get_rank(), world, store))
        # Without this barrier gloo may abort at exit after the work is done.
        dist.barrier()
    finally:
        dist.destroy_process_group()


def averaged(module: nn.Module, process: Process) -> nn.Module:
    """Return a module whose gradients are averaged over the processes; itself where there is one process."""
    if process.world == 1:
        return module
    return DistributedDataParallel(module, broadcast_buffers=False, find_unused_parameters=True)


def deterministic(seed: int) -> None:
    """Seed torch and choose deterministic kernels: a run twice on one machine gives the same weights."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    torch.manual_seed(seed)


def has_bf16(device: torch.device) -> bool:
    """Return True if bf16 is native, so that mixed precision is faster there."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported())
