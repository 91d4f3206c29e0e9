"""Claims about the cost of a step: time, memory of this process and its children, and energy by real counters only."""

import json
import resource
import shutil
import subprocess
import sys
import time

import pytest

from isckit.runs import meter
from isckit.runs.meter import machine, measured

NOWHERE = "libno-such-library.so.1"
MIB = 1 << 20


def set_zone(powercap, zone, name, used, *, most=1_000_000_000):
    folder = powercap / zone
    folder.mkdir(parents=True, exist_ok=True)
    for file, value in (("name", name), ("energy_uj", used), ("max_energy_range_uj", most)):
        (folder / file).write_text(f"{value}\n")


def energy(powercap, *, after):
    """Record of a block in which `after` happens to the counters of a powercap folder."""
    with measured(powercap=powercap, nvml=NOWHERE) as cost:
        after()
    return cost.record(images=1)


def test_seconds_are_those_of_the_block_and_images_are_per_second_of_it(tmp_path):
    before = time.perf_counter()
    with measured(powercap=tmp_path, nvml=NOWHERE) as cost:
        inner = time.perf_counter()
        time.sleep(0.03)
        inner = time.perf_counter() - inner
    outer = time.perf_counter() - before
    time.sleep(0.03)
    record = cost.record(images=12)
    assert inner <= record["seconds"] <= outer
    assert record["images"] == 12
    assert record["images_per_second"] == pytest.approx(12 / record["seconds"])


def test_a_block_that_fails_still_raises_its_own_fault(tmp_path):
    with pytest.raises(KeyError, match="own"), measured(powercap=tmp_path, nvml=NOWHERE):
        raise KeyError("own")


def test_energy_is_absent_where_nothing_reports_it(tmp_path):
    record = energy(tmp_path / "none", after=lambda: None)
    assert set(record) == {"seconds", "images", "images_per_second", "peak_memory_bytes"}


def test_energy_is_summed_over_cpu_packages_and_nothing_is_counted_twice(tmp_path):
    zones = {"intel-rapl:0": "package-0", "intel-rapl:1": "package-1", "intel-rapl:0:0": "core", "intel-rapl:2": "psys"}

    def show(values):
        for (zone, name), used in zip(zones.items(), values, strict=True):
            set_zone(tmp_path, zone, name, used)

    show([5_000_000, 100, 0, 0])
    record = energy(tmp_path, after=lambda: show([8_500_000, 250_100, 7_000_000, 9_000_000]))
    assert record["energy_joules"] == pytest.approx(3.75)
    assert record["energy_source"] == "CPU package (RAPL) x 2"
    assert json.loads(json.dumps(record)) == record


def test_a_counter_that_wraps_around_goes_on_counting(tmp_path):
    set_zone(tmp_path, "intel-rapl:0", "package-0", 9_000_000, most=10_000_000)
    after = lambda: set_zone(tmp_path, "intel-rapl:0", "package-0", 500_000, most=10_000_000)  # noqa: E731
    assert energy(tmp_path, after=after)["energy_joules"] == pytest.approx(1.5)


def test_a_long_block_misses_no_wrap_around(tmp_path, monkeypatch):
    monkeypatch.setattr(meter, "_LOOK", 0.001)

    def show(used):
        set_zone(tmp_path / "new", "intel-rapl:0", "package-0", used, most=10_000_000)
        (tmp_path / "new/intel-rapl:0/energy_uj").replace(tmp_path / "intel-rapl:0/energy_uj")

    set_zone(tmp_path, "intel-rapl:0", "package-0", 0, most=10_000_000)
    with measured(powercap=tmp_path, nvml=NOWHERE) as cost:
        cost.look()
        for used, total in ((8_000_000, 8), (3_000_000, 13), (2_000_000, 22), (9_000_000, 29)):
            show(used)
            deadline = time.monotonic() + 10
            while cost.record(images=1)["energy_joules"] != pytest.approx(total) and time.monotonic() < deadline:
                time.sleep(0.001)
    assert cost.record(images=1)["energy_joules"] == pytest.approx(29)


def test_a_package_that_may_not_be_read_is_not_counted_as_zero(tmp_path):
    set_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    (tmp_path / "intel-rapl:0/energy_uj").unlink()
    (tmp_path / "intel-rapl:0/energy_uj").mkdir()
    assert "energy_joules" not in energy(tmp_path, after=lambda: None)
    set_zone(tmp_path, "intel-rapl:1", "package-1", 0)
    record = energy(tmp_path, after=lambda: set_zone(tmp_path, "intel-rapl:1", "package-1", 2_000_000))
    assert (record["energy_joules"], record["energy_source"]) == (2.0, "CPU package (RAPL) x 1")


def test_a_counter_that_stops_answering_is_given_up(tmp_path):
    set_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    record = energy(tmp_path, after=lambda: shutil.rmtree(tmp_path / "intel-rapl:0"))
    assert "energy_joules" not in record and "energy_source" not in record


@pytest.fixture(scope="module")
def two_gpus(tmp_path_factory):
    """A library of NVML's interface: three GPUs, the second without an energy counter, 7000.5 J a look each."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build a stand-in for NVML")
    folder = tmp_path_factory.mktemp("nvml")
    (folder / "nvml.c").write_text("""
        #include <string.h>
        #include <stdio.h>
        typedef struct device *nvmlDevice_t;
        static int open_; static struct device { unsigned long long used; int index; } devices[3];
        int nvmlInit_v2(void) { open_++; return 0; }
        int nvmlShutdown(void) { open_--; return 0; }
        int nvmlDeviceGetCount_v2(unsigned *n) { *n = 3; return open_ ? 0 : 1; }
        int nvmlDeviceGetHandleByIndex_v2(unsigned i, nvmlDevice_t *d) {
            devices[i].index = i; *d = &devices[i]; return 0; }
        int nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t d, unsigned long long *mj) {
            if (d->index == 1) return 3;
            if (!d->used) d->used = 1ULL << 40;
            *mj = d->used; d->used += 7000500; return 0; }
        int nvmlDeviceGetName(nvmlDevice_t d, char *s, unsigned n) { snprintf(s, n, "GPU %d", d->index); return 0; }
        int nvmlSystemGetDriverVersion(char *s, unsigned n) { snprintf(s, n, "999.1"); return 0; }
        int left_open(void) { return open_; }
    """)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "nvml.so", folder / "nvml.c"], check=True)
    return str(folder / "nvml.so")


def test_energy_is_summed_over_gpus_that_report_it(two_gpus, tmp_path):
    with measured(powercap=tmp_path, nvml=two_gpus) as cost:
        pass
    record = cost.record(images=1)
    assert (record["energy_joules"], record["energy_source"]) == (pytest.approx(2 * 7000.5), "GPU (NVML) x 2")


def test_gpus_are_named_and_the_library_is_closed_again(two_gpus):
    import ctypes

    known = machine(nvml=two_gpus)
    assert (known["gpus"], known["driver"]) == (["GPU 0", "GPU 1", "GPU 2"], "999.1")
    assert ctypes.CDLL(two_gpus).left_open() == 0


def test_without_nvml_a_machine_has_no_gpus_but_all_the_rest():
    known = machine(nvml=NOWHERE)
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
