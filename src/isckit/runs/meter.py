"""What a step cost, and on what machine: time, memory, and the energy that the machine's own counters report."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

POWERCAP = Path("/sys/class/powercap")
"""Where Linux shows the RAPL counters; most systems let only root read them."""
NVML = "libnvidia-ml.so.1"
_LOOK = 60.0
"""Seconds between looks at the counters: a RAPL counter wraps around within minutes to hours."""


class Reading(NamedTuple):
    """A counter of joules, and the value at which it wraps around to zero."""

    joules: float
    wraps_at: float


Readings = dict[tuple[str, str], Reading]
"""By kind and name of the counter."""


class Cost:
    """The cost of a block, running or over. Energy is that of whole devices, whoever else uses them."""

    def __init__(self, read: Callable[[], Readings]) -> None:
        self._read, self._last, self._lock = read, read(), threading.Lock()
        self._joules = dict.fromkeys(self._last, 0.0)
        self._started, self._seconds = time.perf_counter(), 0.0

    def look(self) -> None:
        """Add up what has passed since the last look. A counter that no longer answers is given up."""
        with self._lock:
            self._seconds, now = time.perf_counter() - self._started, self._read()
            self._joules = {key: joules for key, joules in self._joules.items() if key in now}
            for key in self._joules:
                step = now[key].joules - self._last[key].joules
                self._joules[key] += step if step >= 0 else step + now[key].wraps_at
            self._last = now

    def watch(self, over: threading.Event) -> None:
        """Look from time to time, so that no wrap-around is missed."""
        while self._joules and not over.wait(_LOOK):
            self.look()

    def record(self, *, images: int) -> dict[str, Any]:
        """Return the figures of a block that is over; energy only where a counter reports it.

        "peak_memory_bytes" is the largest resident set so far of this process or of one finished child, not their sum.
        """
        assert self._seconds > 0, "asked for before the block was over"
        peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        figures = {
            "seconds": self._seconds,
            "images": images,
            "images_per_second": images / self._seconds,
            "peak_memory_bytes": max(peaks) * 1024,  # Linux counts KiB
        }
        kinds = Counter(kind for kind, _ in self._joules)
        source = ", ".join(f"{kind} x {count}" for kind, count in sorted(kinds.items()))
        return figures | ({"energy_joules": sum(self._joules.values()), "energy_source": source} if kinds else {})


@contextlib.contextmanager
def measured(*, powercap: Path = POWERCAP, nvml: str = NVML) -> Iterator[Cost]:
    """Measure the block; ask the cost for its record when the block is over."""
    cost, over = Cost(partial(_readings, powercap, nvml)), threading.Event()
    watch = threading.Thread(target=cost.watch, args=(over,), daemon=True)
    watch.start()
    try:
        yield cost
    finally:
        over.set()
        watch.join()
        cost.look()


def machine(*, nvml: str = NVML) -> dict[str, Any]:
    """Return what this computer is: cpu, cores (logical), memory_bytes, system, libc; gpus and driver where NVML has
    any.
    """
    known: dict[str, Any] = {
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()),
    }
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    cpus = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    known |= {"cpu": cpus[0]} if cpus else {}
    with _gpus(nvml) as (library, handles):
        if library is not None and handles:
            names = [_text(library.nvmlDeviceGetName, handle) for handle in handles.values()]
            known |= {"gpus": names, "driver": _text(library.nvmlSystemGetDriverVersion)}
    return known


def _readings(powercap: Path, nvml: str) -> Readings:
    return _rapl(powercap) | _nvml(nvml)


def _rapl(powercap: Path) -> Readings:
    """CPU packages. Zones within a package, and the platform's zone, would count the same energy again."""
    found: Readings = {}
    for zone in sorted(powercap.glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text().strip()
            if name.startswith("package"):
                used, most = (int((zone / file).read_text()) for file in ("energy_uj", "max_energy_range_uj"))
                found["CPU package (RAPL)", name] = Reading(used / 1e6, most / 1e6)
        except OSError:
            continue  # not for this user to read: nothing reports it
    return found


def _nvml(name: str) -> Readings:
    """GPUs, since their driver was loaded."""
    found: Readings = {}
    with _gpus(name) as (library, handles):
        for index, handle in handles.items():
            millijoules = ctypes.c_ulonglong()
            assert library is not None
            if not library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules)):
                found["GPU (NVML)", str(index)] = Reading(millijoules.value / 1e3, 2**64 / 1e3)
    return found


@contextlib.contextmanager
def _gpus(name: str) -> Iterator[tuple[ctypes.CDLL | None, dict[int, ctypes.c_void_p]]]:
    """Yield the NVML library, and handles of all GPUs by number; none where there is no library or no driver."""
    library = None
    with contextlib.suppress(OSError):
        library = ctypes.CDLL(name)
    if library is None or library.nvmlInit_v2():
        yield None, {}
        return
    try:
        count, handles = ctypes.c_uint(), {}
        library.nvmlDeviceGetCount_v2(ctypes.byref(count))
        for index in range(count.value):
            handle = ctypes.c_void_p()
            if not library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)):
                handles[index] = handle
        yield library, handles
    finally:
        library.nvmlShutdown()


def _text(function: Any, *arguments: ctypes.c_void_p) -> str:
    """Return what an NVML function writes into a buffer."""
    buffer = ctypes.create_string_buffer(96)
    function(*arguments, buffer, ctypes.c_uint(len(buffer)))
    return buffer.value.decode()
