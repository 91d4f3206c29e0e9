import json
import time
from datetime import timedelta

import pytest
import torch.distributed as dist
from starting import in_two_processes

from isckit.runs.executor import LocalExecutor


def test_one_process_does_the_units_in_order():
    seen = []
    assert LocalExecutor().map(lambda unit: seen.append(unit) or unit * 2, [3, 1, 2], name="x") == [
        6,
        2,
        4,
    ] and seen == [3, 1, 2]


def _process(rank, port, out):
    world = 2
    store = dist.TCPStore("127.0.0.1", port, world, is_master=rank == 0, timeout=timedelta(seconds=60))
    executor = LocalExecutor(rank, world, store)

    def work(unit):
        time.sleep(0.6 if unit == 0 else 0.02)  # the first unit takes as long as all others together
        return {"unit": unit, "by": rank}

    found = [executor.map(work, units, name=str(len(units))) for units in (list(range(12)), [5], [])]
    (out / f"{rank}.json").write_text(json.dumps(found))
    store.set(f"done{rank}", "1")
    if rank == 0:
        store.wait([f"done{other}" for other in range(world)])  # the one that holds the store goes last


@pytest.fixture
def results(tmp_path):
    in_two_processes(_process, tmp_path)
    return [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]


def test_several_processes_do_each_unit_once_and_all_know_every_result(results):
    assert results[0] == results[1]
    many, one, none = results[0]
    assert [result["unit"] for result in many] == list(range(12)) and [r["unit"] for r in one] == [5] and none == []


def test_nobody_waits_for_a_share_that_was_cut_unevenly(results):
    slow = results[0][0][0]["by"]
    assert sum(result["by"] == slow for result in results[0][0]) < 6  # the other process took the units meanwhile
