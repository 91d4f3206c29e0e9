"""Recipes of one's own: right values for every way to say them, one message for every way to go wrong."""

import ast
import json
import sys
import textwrap
from pathlib import Path

import pytest

from isckit import config
from isckit.recipes.catalogue import recipe
from isckit.types import BadInput, MissingInput


@pytest.fixture
def write(tmp_path):
    """Write a file and return its path as the command line gives it."""

    def to(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        return str(path)

    return to


def refused(name, *, kind=BadInput, **words):
    with pytest.raises(kind) as error:
        recipe(name)
    for part, word in words.items():
        assert word in getattr(error.value, part), (part, getattr(error.value, part))


OWN = """
extends: lyakaap
seed: 7
members:
  network:
    image_size: 224
    backbone: {name: resnet50, pretrained: none}
    stages:
      v83: {images_per_epoch: 5000, optim: {lr: 1e-3}}
normalise:
  subtract: {beta: 0.5}
external: []
"""


@pytest.mark.parametrize("suffix", ["yaml", "yml", "json"])
def test_a_file_that_extends_changes_the_values_it_names_and_no_others(write, suffix):
    import yaml

    found = recipe(write(f"mine.{suffix}", OWN if suffix != "json" else yaml.safe_load(OWN)))
    (network,), whole = found.trained, recipe("lyakaap")
    assert (found.name, found.seed, network.image_size, found.external) == ("mine", 7, 224, ())
    assert (network.backbone.name, network.backbone.pretrained) == ("resnet50", "none")
    settings = ["name=mine", "seed=7", "external=[]", "members.network.image_size=224", "normalise.subtract.beta=0.5"]
    settings += ["members.network.backbone.name=resnet50", "members.network.backbone.pretrained=none"]
    settings += [f"members.network.stages.v83.{value}" for value in ("images_per_epoch=5000", "optim.lr=0.001")]
    assert found == config.override(whole, settings)


def test_a_file_that_only_extends_is_the_recipe_under_the_files_name(write):
    assert recipe(write("mine.yaml", "extends: sscd.mini")) == config.replace(recipe("sscd.mini"), name="mine")


def test_a_file_may_give_another_name(write):
    assert recipe(write("mine.yaml", "{extends: gist, name: other}")).name == "other"


def test_elements_go_by_name_kind_or_number(write):
    one, two = recipe("s_square").members[:2]
    values = {"members": {one.name: {"weight": 2}, "1": {"weight": 3}}, "normalise": {"push": {"amount": 0.9}}}
    found = recipe(write("mine.json", {"extends": "s_square"} | values))
    assert [member.weight for member in found.members] == [2, 3, *[m.weight for m in recipe("s_square").members[2:]]]
    assert found.members[0] == config.replace(one, weight=2) and found.members[1] == config.replace(two, weight=3)
    (push,) = found.normalise
    assert push == config.replace(recipe("s_square").normalise[0], amount=0.9)


def test_a_list_replaces_the_list(write):
    found = recipe(write("mine.yaml", "{extends: baseline.mini, members: [{kind: gist}, {kind: hash, method: phash}]}"))
    assert found.members == (config.Gist(), config.Hash(method="phash"))


def test_a_mapping_of_another_kind_begins_from_that_kinds_defaults(write):
    loss = "{kind: infonce, temperature: 0.2}"
    text = f"{{extends: lyakaap.mini, members: {{network: {{stages: {{0: {{loss: {loss}}}}}}}}}}}"
    stages = recipe(write("mine.yaml", text)).trained[0].stages
    assert stages[0].loss == config.InfoNce(temperature=0.2)
    assert stages[1:] == recipe("lyakaap.mini").trained[0].stages[1:]


def test_files_extend_files_relative_to_themselves_nearest_values_win(write, monkeypatch, tmp_path):
    write("base.json", json.loads(config.to_json(recipe("gist"))) | {"name": "base", "seed": 5})
    write("far/middle.yml", "{extends: ../base.json, seed: 6, ensemble: {dim: 100}}")
    path = write("mine.yaml", "{extends: far/middle.yml, ensemble: {whiten: 0.25}}")
    monkeypatch.chdir("/")
    found, gist = recipe(path), recipe("gist")
    assert found == config.replace(
        gist, name="mine", seed=6, ensemble=config.replace(gist.ensemble, dim=100, whiten=0.25)
    )


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_whole_recipe_needs_no_extends(write, suffix):
    assert recipe(write(f"whole.{suffix}", config.to_json(recipe("imgfp")))) == recipe("imgfp")


def test_settings_come_on_top(write):
    assert recipe(write("mine.yaml", "{extends: gist, seed: 3}"), settings=["seed=4"]).seed == 4


PROGRAM = """
from dataclasses import dataclass

from isckit import config
from isckit.recipes import catalogue

@dataclass
class Sizes:
    dim: int = 128

def recipe():
    whole = catalogue.recipe("gist")
    return config.replace(whole, name="mine", ensemble=config.replace(whole.ensemble, dim=Sizes().dim))
"""


def test_a_program_returns_its_recipe_and_leaves_nothing_behind(write, tmp_path):
    before = set(sys.modules)
    found = recipe(write("mine.py", PROGRAM))
    gist = recipe("gist")
    assert found == config.replace(gist, name="mine", ensemble=config.replace(gist.ensemble, dim=128))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"] and "mine" not in {*sys.modules} - before


@pytest.mark.parametrize("name", ["none.yaml", "none.yml", "none.json", "none.py"])
def test_a_file_that_is_not_there_is_named(name, tmp_path):
    refused(str(tmp_path / name), kind=MissingInput, seen=name)


def test_an_extended_file_that_is_not_there_is_named(write):
    refused(write("mine.yaml", "extends: base.yaml"), kind=MissingInput, seen="base.yaml")


@pytest.mark.parametrize(
    ("text", "seen", "remedy"),
    [
        ("{extends: lyakap}", "extends: 'lyakap'", "lyakaap"),
        ("{extends: 3}", "extends: 3", ""),
        ("{extends: [gist]}", "extends: ['gist']", ""),
        ("{extends: base.py}", "extends: 'base.py'", "runs no program"),
        ("{extends: gist, ensamble: {dim: 3}}", "ensamble", "ensemble"),
        ("{extends: gist, ensemble: {dims: 3}}", "ensemble.dims", "ensemble.dim"),
        ("{extends: gist, members: {gits: {weight: 2}}}", "members.gits", "members.gist"),
        ("{extends: gist, 3: 4}", "'3'", ""),
        ("{extends: gist, ensemble: {dim: many}}", "ensemble.dim = 'many'", "isckit recipes show"),
        ("{extends: gist, ensemble: 3}", "ensemble = 3", ""),
        ("{extends: gist, members: none}", "members = 'none'", ""),
        ("{extends: gist, seed: {a: 1}}", "seed", ""),
        ("{name: mine}", "members: Field required", ""),
        ("{members: [{kind: gist}]}", "name: Field required", ""),
        ("{name: mine, members: {gist: {}}}", "members", ""),
        ("", "NoneType", "isckit recipes show"),
        ("gist", "str", ""),
        ("[gist]", "list", ""),
        ("{extends: gist", "line 1", ""),
        ("extends: gist\n\tseed: 3", "line 2", ""),
        ("{extends: gist, seed: 2026-99-99}", "month", ""),
        ("[" * 5000, "recursion", ""),
        ("!!python/object/apply:os.system ['true']", "python/object", ""),
    ],
)
def test_a_wrong_file_is_refused_by_its_name_and_place(write, text, seen, remedy):
    refused(path := write("mine.yaml", text), seen=seen, remedy=remedy)
    refused(path, seen="mine.yaml")


def test_wrong_values_are_told_with_the_file_they_stand_in(write):
    write("base.yaml", "{extends: gist, ensemble: {dims: 3}}")
    refused(write("mine.yaml", "{extends: base.yaml, ensemble: {dim: 3}}"), seen="base.yaml: unknown")


@pytest.mark.parametrize("text", ['{"extends": "gist",}', "", "[]", '{"extends": "gist"} # tail'])
def test_a_json_file_is_json(write, text):
    refused(write("mine.json", text), seen="mine.json")


def test_a_file_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "mine.yaml").write_bytes("extends: gist # schön".encode("latin-1"))
    refused(str(tmp_path / "mine.yaml"), seen="utf-8", allowed="UTF-8")


@pytest.mark.parametrize("files", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "b"}])
def test_a_circle_of_files_is_refused_with_its_names(write, files):
    paths = [write(f"{name}.yaml", f"extends: ./{other}.yaml") for name, other in files.items()]
    circle = " -> ".join(f"{name}.yaml" for name in [*files, [*files.values()][-1]])
    refused(paths[0], seen=circle, remedy="extends")


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", "no function recipe()"),
        ("recipe = 3", "no function recipe()"),
        ("def recipe(): pass", "returned a NoneType"),
        ("def recipe(): return {'name': 'gist'}", "returned a dict"),
        ("def recipe(name): pass", "TypeError"),
        ("def recipe(:", "line 1"),
        ("import nowhere_to_be_found", "line 1: ModuleNotFoundError"),
        ("\nraise SystemExit(0)", "line 2: SystemExit"),
        ("def recipe():\n    return 1 / 0", "line 2: ZeroDivisionError: division by zero"),
        ("from isckit.config import *\ndef recipe():\n    return Ensemble(dim=999)", "line 3: ValidationError"),
        ("from isckit.recipes import catalogue\ndef recipe():\n    return catalogue.recipe('gits')", "'gits'"),
    ],
)
def test_a_program_without_a_recipe_is_refused_with_its_line(write, text, seen):
    refused(write("mine.py", text), seen=seen)


def test_data_never_runs_a_program(write, tmp_path):
    marker = tmp_path / "ran"
    program = write("base.py", f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n" + textwrap.dedent(PROGRAM))
    for name, values in (("mine.json", {"extends": program}), ("mine.yaml", {"extends": "base.py"})):
        refused(write(name, values), seen="base.py", remedy="extend it in Python")
    assert not marker.exists()
    assert recipe(program).ensemble.dim == 128 and marker.exists()


def test_the_command_line_takes_a_file_and_refuses_a_wrong_one(write, capsys, assert_refused):
    from isckit.cli.main import main

    path = write("mine.yaml", "{extends: gist, seed: 9}")
    assert main(["recipes", "show", path]) == 0
    assert json.loads(capsys.readouterr().out)["seed"] == 9
    wrong = write("mine.yaml", "{extends: gist, sed: 9}")
    assert_refused("recipes", "show", wrong, saying=["mine.yaml", "did you mean seed?"])


def test_the_example_is_taken_by_its_path_and_the_values_in_its_head_are_a_file_too(write):
    example = Path(__file__).parents[2] / "examples/own_recipe.py"
    taken = recipe(str(example))
    head = ast.get_docstring(ast.parse(example.read_text()))
    values = textwrap.dedent(head[head.index("    extends:") :])
    tiny = recipe("baseline.tiny")
    (network,), (mine,) = tiny.trained, taken.trained
    small = config.replace(network, dim=64, image_size=64)
    matching = config.replace(tiny.matching, rows_per_query=5)
    same = config.replace(tiny, name="mine", members=(small, tiny.members[1]), matching=matching)
    assert recipe(write("mine.yaml", values)) == same
    # The program changes the loss beside.
    assert [stage.loss for stage in mine.stages] == [config.NtXent(temperature=0.05, koleo=30.0)]
    assert config.replace(taken, members=(config.replace(mine, stages=network.stages), taken.members[1])) == same
