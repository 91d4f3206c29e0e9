"""Units of a cluster's workers: each is done once, a lost worker's again, and who joins late knows what is done."""

import threading
import time

import pytest

from isckit.cli.cluster import share
from isckit.runs.executor import LocalExecutor, current, join
from isckit.runs.units import MOST_LOST, ClusterExecutor, Units


def asked(units):
    """Return what calls the units, one call at a time."""
    lock = threading.Lock()

    def ask(method, *arguments):
        with lock:
            return getattr(units, method)(*arguments)

    return ask


def test_workers_share_the_units_and_all_know_every_result():
    units, seen, found = Units(3), [], {}

    def worker(number):
        executor = ClusterExecutor(number, asked(units))
        found[number] = executor.map(lambda unit: seen.append(unit) or unit * 10, list(range(20)), name="a")
        found[number] += executor.map(lambda unit: seen.append(unit) or unit, [7], name="b")
        assert executor.map(lambda unit: unit, [], name="c") == []

    threads = [threading.Thread(target=worker, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] == found[2] == [unit * 10 for unit in range(20)] + [7]
    assert sorted(seen) == sorted([*range(20), 7]), "each once"


def test_a_worker_that_joins_late_does_nothing_again():
    units = Units(2)
    ClusterExecutor(0, asked(units)).map(lambda unit: unit, range(5), name="a")
    assert ClusterExecutor(1, asked(units)).map(pytest.fail, range(5), name="a") == list(range(5))


def test_the_unit_of_a_lost_worker_goes_to_another_and_only_that_one():
    units = Units(2)
    assert [units.take("a", 3, 0), units.take("a", 3, 1)] == [0, 1]
    units.finish("a", 0, "done")
    assert units.take("a", 3, 0) == 2 and units.take("a", 3, 0) is None
    assert units.lose(1) is None
    assert units.results("a") is None and units.take("a", 3, 0) == 1 and units.take("a", 3, 0) is None
    units.finish("a", 2, "last")
    units.finish("a", 1, "again")
    assert units.results("a") == ["done", "again", "last"]
    assert units.lose(0) is None and units.take("a", 3, 1) is None, "what is done stays done"


def test_a_unit_that_costs_worker_after_worker_is_named():
    units = Units(9)
    for worker in range(MOST_LOST):
        assert units.take("a", 2, worker) == 0
        told = units.lose(worker)
    assert told == "unit 0 of a"


def test_all_wait_at_a_meeting_point_until_the_last_has_come():
    units, times = Units(2), {}

    def worker(number):
        time.sleep(0.3 * number)
        ClusterExecutor(number, asked(units)).together("here")
        times[number] = time.monotonic()

    began = time.monotonic()
    threads = [threading.Thread(target=worker, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert min(times.values()) - began >= 0.3


def test_a_process_that_joined_a_cluster_shares_all_its_steps(monkeypatch):
    monkeypatch.setattr("isckit.runs.executor._CLUSTER", [])
    assert current() == LocalExecutor()
    executor = ClusterExecutor(1, asked(Units(2)))
    join(executor)
    assert current() is executor and not current().first


@pytest.mark.parametrize(
    ("machines", "workers", "each"),
    [
        ([16], 4, 4),
        ([2], 4, 1 / 2),
        ([2], 3, 1 / 2),
        ([16, 16], 3, 8),  # ten cores each would leave the third no machine
        ([3, 3], 2, 3),
        ([8, 0], 8, 1),
        ([1], 7, 1 / 7),
    ],
)
def test_the_share_of_a_worker_leaves_room_for_all(machines, workers, each):
    assert share(machines, workers) == pytest.approx(each)
