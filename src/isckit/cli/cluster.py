"""A command on a Ray cluster: every worker runs it whole, and they share the units of its steps.

Ray Core does no more than start the workers, tell which are lost, and carry the calls to the one `Units` they share:
data goes by files, on a disk that all machines see. A lost worker costs its unit; another one takes its place.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from isckit.runs.executor import join
from isckit.runs.units import ClusterExecutor, Units, WorkersLost
from isckit.types import MissingInput

log = logging.getLogger(__name__)

_PATIENCE = 10
"""Seconds in which a cluster answers."""
_POLL = 0.5
"""Seconds between two looks at the progress."""


@dataclass(frozen=True)
class Ended:
    """The end of a worker: its exit code, and what it printed."""

    code: int
    out: str
    err: str


class _Worker:
    """A process of the cluster: on one GPU where there are any, else on some cores."""

    def run(self, argv: list[str], worker: int, units: Any, folder: Path) -> Ended:
        """Run a command line in a folder, sharing units with the others."""
        import ray

        main = importlib.import_module("isckit.cli.main").main  # by name, as a verb there has begun all this
        os.chdir(folder)
        join(ClusterExecutor(worker, lambda method, *given: ray.get(getattr(units, method).remote(*given))))
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(argv)
        return Ended(code, out.getvalue(), err.getvalue())


def run(argv: Sequence[str], *, address: str | None = None, workers: int | None = None) -> Ended:
    """Run a command on a cluster, and return what its first worker printed, or the first one that failed.

    Args:
        argv: the command, without words on the cluster; its paths are seen by all machines.
        address: of a running cluster ("auto": the one of this machine); None: one is started here, for this command.
        workers: processes; None: one a GPU, or one a core where there are none.

    Raises:
        MissingInput: Ray is not installed, or no cluster is at the address.
        WorkersLost: a unit of work cost too many workers.
    """
    ray = _ray()
    try:
        if address is not None and ":" in address:  # Ray itself asks for minutes, and ends the process then
            host, _, port = address.rpartition("//")[2].rpartition(":")
            socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        raise MissingInput(
            seen=f"no Ray cluster at {address!r} ({str(error).splitlines()[0]})",
            allowed="the address of a running cluster, or none",
            remedy="start one with `ray start` on its head, or leave --address out",
        ) from error
    try:
        return _Driver(ray, list(argv), workers).wait()
    finally:
        ray.shutdown()


class _Driver:
    """Starts the workers, and others for those that are lost, until one has come to the end of the command."""

    def __init__(self, ray: Any, argv: list[str], workers: int | None) -> None:
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cores, gpus = ([int(machine.get(kind, 0)) for machine in machines] for kind in ("CPU", "GPU"))
        self.ray, self.argv, self.count = ray, argv, workers or sum(gpus) or sum(cores)
        own_gpus = min(1, share(gpus, self.count)) if sum(gpus) else 0
        self.worker = ray.remote(_Worker).options(num_cpus=share(cores, self.count), num_gpus=own_gpus)
        self.units = ray.remote(Units).options(num_cpus=0).remote(self.count)
        self.running: dict[Any, tuple[int, Any]] = {}
        for number in range(self.count):
            self._start(number)

    def _start(self, number: int) -> None:
        actor = self.worker.remote()
        self.running[actor.run.remote(self.argv, number, self.units, Path.cwd())] = number, actor

    def wait(self) -> Ended:
        """Return what the first worker printed once all have ended, or the first that failed."""
        ended: dict[int, Ended] = {}
        with tqdm(desc=f"{self.count} workers", unit="unit", leave=False) as bar:
            while self.running:
                for reference in self.ray.wait(list(self.running), timeout=_POLL)[0]:
                    number, _ = self.running.pop(reference)
                    try:
                        ended[number] = self.ray.get(reference)
                    except self.ray.exceptions.RayActorError:
                        self._replace(number, needed=not ended)
                        continue
                    if ended[number].code:
                        return ended[number]
                title, bar.n, bar.total = self.ray.get(self.units.progress.remote())
                bar.set_description_str(title.partition(" ")[0][-60:], refresh=True)
        return ended[min(ended)]

    def _replace(self, number: int, *, needed: bool) -> None:
        """Start a worker in a lost one's place, unless another has come to the end already."""
        log.warning("worker %d is lost: its unit goes to another", number)
        if (unit := self.ray.get(self.units.lose.remote(number))) is not None:
            raise WorkersLost(
                seen=f"several workers lost with {unit}",
                allowed="workers that live as long as a unit takes",
                remedy="look for memory that is too small for it: take fewer workers a machine, or smaller shards",
            )
        if needed:
            self._start(number)


def share(machines: Sequence[int], workers: int) -> float:
    """Return how many of the machines' cores (GPUs) each worker may have, so that there is room for all of them.

    Whole ones, or one in k: a worker lies on one machine.
    """
    whole = range(max(machines), 0, -1)
    parts = (1 / k for k in range(2, workers + 1))
    return next(own for own in (*whole, *parts) if sum(int(have / own + 1e-9) for have in machines) >= workers)


def _ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingInput(
            seen="--engine ray, and Ray is not installed",
            allowed="an environment with Ray",
            remedy="pip install -r requirements-ray.txt",
        ) from error
    import ray.exceptions

    return ray
