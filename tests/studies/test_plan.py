"""A plan's figures are those of a small calculation, and every recipe of the contest has a plan that fits."""

import json
import re

import pytest
import torch

from isckit import config
from isckit.cli.main import main
from isckit.engine.operations import operations
from isckit.models.network import EmbeddingNetwork
from isckit.recipes.catalogue import RECIPES, recipe
from isckit.studies import rates
from isckit.studies.plan import Size, record, too_large
from isckit.studies.rates import Rates, measure
from isckit.studies.stages import Planner
from isckit.studies.training_stages import plan, training

SMALL = Size(train=300, references=200, queries=50, cores=2, memory_bytes=4 << 30)
RATES = Rates()


def named(stages, begin):
    (found,) = [stage for stage in stages if stage.stage.startswith(begin)]
    return found


def test_operations_of_a_network_are_twice_its_multiplications():
    """A linear layer on the flattened picture, counted by hand beside torch's count of the rest."""
    small = config.Network(image_size=64, canvas=64, dim=32)
    wide = config.replace(small, dim=64)
    network = EmbeddingNetwork(small)
    assert operations(wide) - operations(small) == 2 * 32 * network.pooled_dim
    assert operations(config.replace(small, flip=True)) == 2 * operations(small)
    assert operations(config.replace(small, canvas=96, scales=(64, 96))) == operations(small) + operations(
        config.replace(small, canvas=96, image_size=96)
    )
    assert torch.get_default_device() == torch.device("cpu")


def test_rows_disk_and_products_of_a_search_are_those_of_its_views():
    own = config.Views(query_views=("mirror",), reference_views=(), norm_factor=0.0, cut=config.Cut(amount=7.0))
    made = config.Recipe(
        name="r",
        members=(config.Gist(),),
        ensemble=config.Ensemble(dim=100),
        normalise=(config.Stretch(),),
        matching=config.Matching(branches=(own,)),
    )
    stages = plan(made, SMALL, RATES)
    described = named(stages, "describe queries")
    assert described.rows == 100 and described.disk_bytes == 100 * (4 * 960 + 26) and described.flops == 0
    search = named(stages, "views: search")
    assert search.flops == 2 * 100 * 200 * 103 and search.disk_bytes == 300 * 100 * 4
    evaluation = named(stages, "score")
    assert evaluation.rows == 500 and evaluation.flops == 2 * 50 * 200 * 100
    assert named(stages, "descriptor: normalise").flops == 2 * 50 * 300 * 100


@pytest.mark.parametrize("name", ["ours_default", "d2lv", "imgfp"])
def test_at_the_contests_size_every_stage_but_training_fits_and_lists_are_bounded(name):
    """D2LV described a shard of 2,048 queries in 692 GB, and the default listed 2.5e9 rows."""
    size = Size(memory_bytes=64 << 30)
    stages = plan(recipe(name), size, RATES)
    assert [stage.stage for stage in too_large(stages, size) if not stage.stage.startswith("train ")] == []
    for stage in stages:
        if "search" in stage.stage or "verify" in stage.stage:
            assert stage.rows <= 2_000 * size.queries, stage


@pytest.mark.parametrize("name", ["ours_default", "ours_matching.large"])
def test_ten_times_the_references_have_ten_times_the_points_and_no_more_candidates(name):
    small, large = (plan(recipe(name), Size(references=n), RATES) for n in (1_000_000, 10_000_000))
    for one, other in zip(small, large, strict=True):
        if "verify" in one.stage:
            assert other.rows == one.rows
        elif "references" in one.stage or "index" in one.stage:
            assert other.rows == 10 * one.rows and other.disk_bytes == 10 * one.disk_bytes
        elif "votes, entries" in one.stage:
            assert other.rows < 6 * one.rows  # more words


def test_more_machines_take_less_time_but_not_less_work():
    one, eight = (plan(recipe("ours_default"), Size(machines=m), RATES) for m in (1, 8))
    assert [(s.rows, s.flops, s.disk_bytes) for s in one] == [(s.rows, s.flops, s.disk_bytes) for s in eight]
    assert named(one, "describe references").seconds == pytest.approx(8 * named(eight, "describe references").seconds)
    gpu = plan(recipe("lyakaap"), Size(cores=16, gpus=1), RATES)
    assert named(gpu, "describe references").seconds < 3_600 * 4


def test_what_does_not_fit_is_named_with_the_setting_and_stages_are_written(tmp_path, capsys):
    path = tmp_path / "plan.json"
    settings = ["extract.shard_images=200000"]
    assert main(["plan", "--set", *settings, "--memory", "4", "--cores", "2", "--json", str(path)]) == 0
    out = capsys.readouterr().out
    assert "does not fit: describe queries" in out and "extract.shard_images" in out
    stages = json.loads(path.read_text())
    keys = {"stage", "rows", "disk_bytes", "peak_memory_bytes", "flops", "seconds"}
    assert len(stages) > 10 and all(set(stage) == keys for stage in stages)
    assert stages == record(plan(config.override(recipe("ours_default"), settings), Size(), RATES))


def test_rates_of_this_machine_are_of_the_order_of_the_given_ones(monkeypatch):
    monkeypatch.setattr(rates, "_SECONDS", 0.05)
    found = measure()
    for name in ("products", "network", "decoding", "points", "verified", "disk"):
        assert getattr(RATES, name) / 50 < getattr(found, name) < 50 * getattr(RATES, name), name
    given = ("edits", "proposals", "entries", "gpu_network", "gpu_products")
    assert [getattr(found, name) for name in given] == [getattr(RATES, name) for name in given]


def test_operations_in_the_docstrings_of_recipes_are_those_of_their_plans():
    found = {}
    for name, maker in RECIPES.items():
        text = " ".join((maker.__doc__ or "").split())
        for told in re.findall(r"([\d.]+e\d+) FLOP in training", text):
            planner = Planner(recipe(name), Size(), Rates())
            found[name] = float(told), sum(stage.flops for stage in training(planner))
    assert len(found) >= 7
    wrong = {name: pair for name, pair in found.items() if abs(pair[0] / pair[1] - 1) > 0.03}
    assert not wrong
