"""Fresh processes for tests, started from ones that have imported the kit: torch alone takes seconds."""

import multiprocessing
import shlex
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from isckit.judge.rules.experiments.contestant import KIT

ZYGOTE = Path(__file__).parent / "cheats/zygote.py"
IMPORTED = ["isckit.engine.train", "isckit.engine.detector_training", "isckit.engine.pair_training"]
_SOCKET: list[str] = []


@pytest.fixture(scope="session")
def zygote():
    """Have a process at hand that answers `kit_command`."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/zygote"
        with subprocess.Popen([sys.executable, ZYGOTE, "serve", path], stdout=subprocess.PIPE) as server:
            assert server.stdout is not None and server.stdout.readline() == b"ready\n"
            _SOCKET.append(path)
            yield
            server.kill()


def kit_command(cheat="honest"):
    """Return the command that does a verb of the kit, as a cheat of `cheats/cheat.py` changes it."""
    return shlex.join([sys.executable, "-S", str(ZYGOTE), "do", _SOCKET[-1], cheat])


def by_zygote(template, cheat="honest"):
    """Return a command template of the kit with `kit_command` in its place."""
    return template.replace(KIT, kit_command(cheat))


def in_two_processes(target, *arguments):
    """Run target(rank, port, *arguments) for ranks 0 and 1, each in a process, to their end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    ranks = [context.Process(target=target, args=(rank, port, *arguments)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(240)
        assert process.exitcode == 0
