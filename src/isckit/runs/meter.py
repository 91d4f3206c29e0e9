"""The cost of a step, and its machine: time, memory, and the energy of GPUs where nvidia-ml-py is installed."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import platform
import resource
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Cost:
    """The cost of a block, known once it is over. Energy is that of whole GPUs, whoever else uses them."""

    seconds: float = 0.0
    joules: dict[int, float] = field(default_factory=dict)

    def record(self, *, images: int) -> dict[str, Any]:
        """Return seconds, images, images_per_second and peak_memory_bytes; energy only where a GPU reports it.

        "peak_memory_bytes" is the largest resident set so far of this process or of one finished child, not their sum.
        """
        assert self.seconds > 0, "asked for before the block was over"
        peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        figures = {
            "seconds": self.seconds,
            "images": images,
            "images_per_second": images / self.seconds,
            "peak_memory_bytes": max(peaks) * 1024,  # Linux counts KiB
        }
        energy = {"energy_joules": sum(self.joules.values()), "energy_source": f"GPU (NVML) x {len(self.joules)}"}
        return figures | (energy if self.joules else {})


@contextlib.contextmanager
def measured() -> Iterator[Cost]:
    """Measure the block; ask the cost for its record when the block is over."""
    cost, before, started = Cost(), _joules(), time.perf_counter()
    try:
        yield cost
    finally:
        cost.seconds, after = time.perf_counter() - started, _joules()
        cost.joules = {gpu: after[gpu] - before[gpu] for gpu in before.keys() & after.keys()}


def _joules() -> dict[int, float]:
    """Joules of each GPU since its driver was loaded; none without nvidia-ml-py, a driver or a counter."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return {}
    used = {}
    with contextlib.suppress(nvml.NVMLError):  # no driver
        nvml.nvmlInit()
        for gpu in range(nvml.nvmlDeviceGetCount()):
            with contextlib.suppress(nvml.NVMLError):  # no such counter
                handle = nvml.nvmlDeviceGetHandleByIndex(gpu)
                used[gpu] = nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
        nvml.nvmlShutdown()
    return used


def machine() -> dict[str, Any]:
    """Return what this computer is: cpu, cores (logical), memory_bytes, system, libc; gpus and driver of NVIDIA's."""
    known: dict[str, Any] = {
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()),
    }
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    cpus = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    known |= {"cpu": cpus[0]} if cpus else {}
    gpus = [line.rpartition(", ") for line in _gpus()]
    return known | ({"gpus": [name for name, _, _ in gpus], "driver": gpus[0][2]} if gpus else {})


@functools.cache
def _gpus() -> tuple[str, ...]:
    """Name and driver of each GPU, as nvidia-smi says them."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        return tuple(subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines())
    except (OSError, subprocess.CalledProcessError):
        return ()  # no GPU, or no driver that answers
