"""The stages of a recipe at a size, as a table and as records, and which of them do not fit a machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

LONG = 7 * 86_400.0
"""Seconds from which on a stage is told to take long."""


@dataclass(frozen=True)
class Size:
    """The number of images of each set, and the machines that do the work.

    Attributes:
        train, references, queries: images.
        cores, gpus: of a machine.
        memory_bytes: of a machine.
        machines: alike.
    """

    train: int = 1_000_000
    references: int = 1_000_000
    queries: int = 50_000
    cores: int = 2
    gpus: int = 0
    memory_bytes: int = 24 << 30
    machines: int = 1

    def images(self, image_set: str) -> int:
        """Return the images of a set."""
        return int(getattr(self, image_set))

    @property
    def processes(self) -> int:
        """Processes of a machine: one a GPU, else one."""
        return max(1, self.gpus)


@dataclass(frozen=True)
class Stage:
    """A stage of a recipe at a size.

    Attributes:
        stage: its name, as the verb's bar has it.
        rows: what it makes or looks at, in the unit that its name says.
        disk_bytes: that it leaves.
        peak_memory_bytes: of a process, beside mapped files.
        flops: floating point operations, of networks and products.
        seconds: by the rates.
        setting: what makes it smaller where it does not fit.
    """

    stage: str
    rows: int
    disk_bytes: int
    peak_memory_bytes: int
    flops: int
    seconds: float
    setting: str


def too_large(stages: Sequence[Stage], size: Size) -> list[Stage]:
    """Return the stages whose process needs more memory than its share of a machine."""
    return [stage for stage in stages if stage.peak_memory_bytes > size.memory_bytes / size.processes]


def record(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """Return the stages as values that JSON knows."""
    keys = ("stage", "rows", "disk_bytes", "peak_memory_bytes", "flops", "seconds")
    return [{key: value for key, value in asdict(stage).items() if key in keys} for stage in stages]


def table(stages: Sequence[Stage], size: Size) -> str:
    """Return the stages as lines of text; those that do not fit say what to set."""
    lines = [f"{'stage':44} {'rows':>15} {'disk':>9} {'memory':>9} {'Tflop':>11} {'time':>9}"]
    for stage in (*stages, _total(stages)):
        figures = f"{stage.rows:>15,} {_bytes(stage.disk_bytes):>9} {_bytes(stage.peak_memory_bytes):>9}"
        lines.append(f"{stage.stage:44} {figures} {stage.flops / 1e12:>11,.1f} {_time(stage.seconds):>9}")
    for stage in too_large(stages, size):
        share = _bytes(size.memory_bytes // size.processes)
        lines.append(f"does not fit: {stage.stage} needs {_bytes(stage.peak_memory_bytes)} of {share}: {stage.setting}")
    for stage in stages:
        if stage.seconds > LONG and stage.setting:
            lines.append(f"takes long: {stage.stage}, {_time(stage.seconds)}: {stage.setting}, or take more machines")
    return "\n".join(lines)


def _total(stages: Sequence[Stage]) -> Stage:
    peak = max(stage.peak_memory_bytes for stage in stages)
    sums = [sum(getattr(stage, key) for stage in stages) for key in ("disk_bytes", "flops", "seconds")]
    return Stage("total", 0, int(sums[0]), peak, int(sums[1]), float(sums[2]), "")


def _bytes(number: int) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1_000:
            return f"{number:.3g} {unit}"
        number = number / 1_000  # type: ignore[assignment]
    return f"{number:.4g} TB"


def _time(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} s"
