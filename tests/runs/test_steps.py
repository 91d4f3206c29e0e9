import json

import numpy as np
import pytest

from isckit.runs.artifacts import file_digest, read_receipt, write_array
from isckit.runs.steps import Output, make, make_shards, shards
from isckit.types import StaleArtifact


def facts(reports):
    return {"images": 10, "seen": sum(reports)}


def squares(rows, advance):
    advance(len(rows))
    values = np.arange(rows.start, rows.stop) ** 2
    return [lambda path: write_array(path, values), lambda path: write_array(path, -values)], len(rows)


def outputs(folder, **changed):
    made = {"what": 1} | changed
    return [Output(folder / name, made, ".npy") for name in "ab"]


def content(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("shard-*"))}


def test_shards_cover_all_rows_once():
    parts = shards(10, 4)
    assert [len(part) for part in parts] == [4, 4, 2] and [row for part in parts for row in part] == list(range(10))
    assert shards(0, 4) == []


def test_one_pass_writes_all_outputs_and_a_second_run_does_nothing(tmp_path):
    assert make_shards(outputs(tmp_path), shards(10, 4), squares, title="t", facts=facts)
    a, b = (np.concatenate([np.load(p) for p in sorted((tmp_path / name).glob("shard-*"))]) for name in "ab")
    assert a.tolist() == [k * k for k in range(10)] and (b == -a).all()
    receipt = read_receipt(tmp_path / "a")
    assert receipt["made_from"] == {"what": 1} and receipt["facts"]["complete"] and receipt["facts"]["seen"] == 10
    assert receipt["facts"]["cost"]["images"] == 10
    assert not make_shards(outputs(tmp_path), shards(10, 4), None, title="t", facts=facts)


def test_a_killed_step_goes_on_behind_its_last_whole_shard_and_ends_in_the_same_bytes(tmp_path):
    make_shards(outputs(tmp_path / "once"), shards(10, 4), squares, title="t", facts=facts)
    done = []

    def killed(rows, advance):
        if rows.start == 4 and not done:
            done.append(rows)
            raise KeyboardInterrupt
        return squares(rows, advance)

    here = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        make_shards(outputs(here), shards(10, 4), killed, title="t", facts=facts)
    assert not read_receipt(here / "a")["facts"]["complete"] and not outputs(here)[0].stands()
    make_shards(outputs(here), shards(10, 4), killed, title="t", facts=facts)
    assert content(here) == content(tmp_path / "once")
    assert read_receipt(here / "a")["facts"]["seen"] == 10  # of the first shard, too, which was not made again
    assert len(done) == 1


def test_a_shard_of_which_nothing_is_known_is_made_again(tmp_path):
    make_shards(outputs(tmp_path), shards(10, 4), squares, title="t", facts=facts)
    for name in ("receipt.json", "report-00001.json"):
        (tmp_path / "a" / name).unlink()
    assert make_shards(outputs(tmp_path), shards(10, 4), squares, title="t", facts=facts)
    assert read_receipt(tmp_path / "a")["facts"]["seen"] == 10


def test_other_inputs_are_refused_for_every_output_and_nothing_is_written(tmp_path):
    first, second = outputs(tmp_path)
    make_shards([first, second], shards(10, 4), squares, title="t", facts=facts)
    changed = Output(second.path, {"what": 2}, ".npy")
    new = Output(tmp_path / "new", {"what": 1}, ".npy")
    with pytest.raises(StaleArtifact, match="other inputs: what"):
        make_shards([new, changed], shards(10, 4), squares, title="t", facts=facts)
    assert not new.path.exists() and read_receipt(second.path)["made_from"] == {"what": 1}


def test_facts_may_refuse_and_whole_shards_stay(tmp_path):
    def refuse(reports):
        raise StaleArtifact(seen="s", allowed="a", remedy="r")

    with pytest.raises(StaleArtifact):
        make_shards(outputs(tmp_path), shards(10, 4), squares, title="t", facts=refuse)
    assert len(content(tmp_path)) == 6 and not read_receipt(tmp_path / "a")["facts"]["complete"]


def test_a_single_file_is_made_once_and_knows_its_cost(tmp_path):
    output, calls = Output(tmp_path / "x.json", {"seed": 1}), []

    def work():
        calls.append(1)
        output.path.write_text(json.dumps([1]))
        return {"images": 3, "fitted_on": "train"}

    assert make(output, work) and not make(output, work) and calls == [1]
    facts = read_receipt(output.path)["facts"] | {"cost": 0}
    assert facts.pop("sha256") == file_digest(output.path)
    assert facts == {"images": 3, "fitted_on": "train", "cost": 0}
    with pytest.raises(StaleArtifact, match="seed: 1 there, 2 now"):
        make(Output(output.path, {"seed": 2}), work)
