"""`--engine ray`: the bytes of one process, from any number of workers, and when one is killed at its work."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isckit.cli.main import main
from isckit.runs.workspace import Workspace

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="requirements-ray.txt")

SETS = ["--sets", "train", "--sets", "references", "--sets", "queries"]
CACHE = ("train/network/", "references/network/", "queries/network/")


@pytest.fixture
def begun(done, tmp_path):
    """Root folder of that run, trained and fitted, with nothing described."""
    shutil.copytree(Workspace(done).checkpoint("run"), Workspace(tmp_path).checkpoint("run"))
    return tmp_path


def shards(root):
    folder = root / "cache/run"
    found = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("shard-*"))}
    return {name: content for name, content in found.items() if name.startswith(CACHE)}


def command(verb, root, *words):
    return [*map(str, [verb, "--name", "run", "--root", root, *words, "--workers", "0", "--engine", "ray"])]


def workers():
    """Process ids of Ray's workers that run a command."""
    titles = {path.parent.name: path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.is_file()}
    return [int(pid) for pid, title in titles.items() if title.startswith(b"ray::_Worker.run")]


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 4])
def test_any_number_of_workers_describes_and_matches_to_the_same_bytes(begun, done, mini, count):
    assert main([*command("extract", begun, "--data", mini, *SETS), "--engine-workers", str(count)]) == 0
    assert shards(begun) == shards(done)
    assert main([*command("matching", begun, "--phase", "1"), f"--engine-workers={count}"]) == 0
    made, wanted = (Workspace(root).matches(1, "run") for root in (begun, done))
    assert made.read_bytes() == wanted.read_bytes()
    assert not list(begun.rglob("*.part")) and not list(begun.rglob("matching.parts"))


@pytest.mark.slow
def test_a_worker_that_is_killed_at_its_work_costs_its_unit_and_no_byte(begun, done, mini):
    words = [*command("extract", begun, "--data", mini, *SETS), "--engine-workers", "2"]
    with subprocess.Popen([sys.executable, "-m", "isckit", *words], stderr=subprocess.PIPE, text=True) as driver:
        folder = begun / "cache/run"
        while not list(folder.rglob("shard-*")):
            assert driver.poll() is None, driver.stderr.read()
            time.sleep(0.01)
        os.kill(workers()[0], signal.SIGKILL)
        _, told = driver.communicate(timeout=120)
    assert driver.returncode == 0 and "is lost: its unit goes to another" in told, told
    assert shards(begun) == shards(done)


@pytest.mark.slow
def test_the_fault_of_a_worker_is_that_of_the_command(begun, capsys):
    assert main([*command("extract", begun, "--data", begun / "nowhere", *SETS), "--engine-workers", "2"]) == 2
    error = capsys.readouterr().err
    assert "MissingInput" in error and "nowhere" in error and "Traceback" not in error


def test_an_address_where_no_cluster_is_is_told(begun, mini, capsys):
    words = [*command("extract", begun, "--data", mini, *SETS), "--address", "127.0.0.1:1"]
    assert main(words) == 2 and "ray start" in capsys.readouterr().err
