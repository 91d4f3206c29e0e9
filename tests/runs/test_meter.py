"""Claims about the cost of a step: time, memory of this process and its children, and energy by real counters only."""

import json
import resource
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from isckit.runs import meter
from isckit.runs.meter import machine, measured

MIB = 1 << 20


@pytest.fixture(autouse=True)
def without_nvml(monkeypatch):
    """No nvidia-ml-py, whatever is installed."""
    monkeypatch.setitem(sys.modules, "pynvml", None)


class NVMLError(Exception):
    """What nvidia-ml-py raises."""


class Nvml(SimpleNamespace):
    """A stand-in for nvidia-ml-py: three GPUs, the second without an energy counter, 7000.5 J a look each."""

    NVMLError = NVMLError

    def __init__(self, *, driver=True):
        super().__init__(driver=driver, opened=0, used=[1 << 40, None, 5], calls=0)

    def nvmlInit(self):  # noqa: N802
        if not self.driver:
            raise NVMLError("no driver")
        self.opened += 1

    def nvmlShutdown(self):  # noqa: N802
        self.opened -= 1

    def nvmlDeviceGetCount(self):  # noqa: N802
        assert self.opened
        return len(self.used)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, index):  # noqa: N802
        if self.used[index] is None:
            raise NVMLError("not supported")
        self.used[index] += 7_000_500
        return self.used[index]


def energy(monkeypatch, nvml, *, after=lambda: None):
    """Record of a block in which `after` happens."""
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    with measured() as cost:
        after()
    assert nvml.opened == 0
    return cost.record(images=1)


def test_seconds_are_those_of_the_block_and_images_are_per_second_of_it():
    before = time.perf_counter()
    with measured() as cost:
        inner = time.perf_counter()
        time.sleep(0.03)
        inner = time.perf_counter() - inner
    outer = time.perf_counter() - before
    time.sleep(0.03)
    record = cost.record(images=12)
    assert inner <= record["seconds"] <= outer
    assert record["images"] == 12
    assert record["images_per_second"] == pytest.approx(12 / record["seconds"])


def test_a_block_that_fails_still_raises_its_own_fault():
    with pytest.raises(KeyError, match="own"), measured():
        raise KeyError("own")


def test_energy_is_absent_where_nothing_reports_it(monkeypatch):
    with measured() as cost:
        pass
    figures = {"seconds", "images", "images_per_second", "peak_memory_bytes"}
    assert set(cost.record(images=1)) == set(energy(monkeypatch, Nvml(driver=False))) == figures


def test_energy_is_summed_over_gpus_that_report_it(monkeypatch):
    record = energy(monkeypatch, Nvml())
    assert (record["energy_joules"], record["energy_source"]) == (pytest.approx(2 * 7000.5), "GPU (NVML) x 2")
    assert json.loads(json.dumps(record)) == record


def test_a_counter_that_stops_answering_is_given_up(monkeypatch):
    nvml = Nvml()
    record = energy(monkeypatch, nvml, after=lambda: nvml.used.__setitem__(0, None))
    assert (record["energy_joules"], record["energy_source"]) == (pytest.approx(7000.5), "GPU (NVML) x 1")
    nvml = Nvml()
    record = energy(monkeypatch, nvml, after=lambda: nvml.__setattr__("used", [None] * 3))
    assert "energy_joules" not in record and "energy_source" not in record


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Put a program of that name first on the path; None for no such program anywhere."""

    def put(script):
        monkeypatch.setenv("PATH", str(tmp_path))
        if script is not None:
            (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / "nvidia-smi").chmod(0o755)
        meter._gpus.cache_clear()

    yield put
    meter._gpus.cache_clear()


def test_gpus_are_named_as_nvidia_smi_does(nvidia_smi):
    nvidia_smi('[ "$1" = --query-gpu=name,driver_version ] && echo "GPU A, B, 999.1" && echo "GPU C, 999.1"')
    known = machine()
    assert (known["gpus"], known["driver"]) == (["GPU A, B", "GPU C"], "999.1")


@pytest.mark.parametrize("script", [None, "echo 'No devices were found'; exit 6"], ids=["no program", "no driver"])
def test_without_a_driver_a_machine_has_no_gpus_but_all_the_rest(nvidia_smi, script):
    nvidia_smi(script)
    known = machine()
    assert "gpus" not in known and "driver" not in known
    assert known["cores"] >= 1 and known["system"].startswith("Linux")
    assert known["memory_bytes"] > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert json.loads(json.dumps(known)) == known


PEAK = """
import subprocess, sys
from isckit.runs.meter import measured
def peak():
    with measured() as cost:
        pass
    return cost.record(images=1)["peak_memory_bytes"]
before = peak()
{block}
print(peak() - before)
"""


@pytest.mark.parametrize(
    "block",
    ["b'x' * (300 << 20)", """subprocess.run([sys.executable, "-c", "b'x' * (300 << 20)"], check=True)"""],
    ids=["own", "of a finished child"],
)
def test_peak_memory_is_in_bytes_and_includes_finished_children(block):
    # A shell in between: a process that is started directly inherits the peak of this one.
    code = PEAK.format(block=block)
    done = subprocess.run(["sh", "-c", '"$0" -c "$1"; exit $?', sys.executable, code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 280 * MIB < int(done.stdout) < 340 * MIB


def receipts(root):
    found = sorted((*root.glob("checkpoints/run/*receipt.json"), *root.rglob("submissions/phase*/run/*receipt.json")))
    found += sorted(root.glob("cache/run/*/*/receipt.json"))
    return {str(path.relative_to(root)): json.loads(path.read_text())["facts"] for path in found}


def test_every_step_of_a_run_tells_its_cost_and_its_images(done):
    images = {name: facts["cost"]["images"] for name, facts in receipts(done).items()}
    assert images["checkpoints/run/weights.safetensors.receipt.json"] == 2 * 48  # epochs x draws
    assert images["checkpoints/run/ensemble.npz.receipt.json"] == 48
    assert images["checkpoints/run/bank.h5.receipt.json"] == 48
    for phase in (1, 2):
        for file in ("descriptors.h5", "matching.csv"):
            assert images[f"submissions/phase{phase}/run/{file}.receipt.json"] == 16 + 24
    sets = {"train": 48, "references": 24, "queries": 16, "final_queries": 16}
    described = {
        f"cache/run/{name}/{member}/receipt.json": n for name, n in sets.items() for member in ("gist", "network")
    }
    assert described.items() <= images.items()
    assert all(facts["cost"]["seconds"] > 0 for facts in receipts(done).values())


def test_a_step_that_has_nothing_to_do_keeps_the_cost_it_had(copy, mini):
    from chain import verbs

    from isckit.cli.main import main

    before = receipts(copy)
    for verb in verbs(copy, mini, phase=1):
        if verb[0] in ("train", "extract", "fit", "descriptor", "matching"):
            assert main(verb) == 0
    assert receipts(copy) == before
