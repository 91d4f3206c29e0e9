import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isckit import config
from isckit.recipes.catalogue import RECIPES, recipe
from isckit.types import BadInput


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_json(name):
    value = recipe(name)
    again = config.from_dict(json.loads(config.to_json(value)))
    assert again == value and config.digest(again) == config.digest(value)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_knows_its_catalogue_name_and_documents_itself(name):
    assert recipe(name).name == name
    assert "Command" in RECIPES[name].__doc__ or "same code path" in RECIPES[name].__doc__


def test_members_are_overridden_by_name_or_number():
    by_name = recipe(
        "baseline.mini", settings=["members.gist.weight=0.25", "members.network.stages.main.optim.lr=1e-2"]
    )
    by_number = recipe("baseline.mini", settings=["members.1.weight=0.25", "members.0.stages.0.optim.lr=0.01"])
    assert by_name == by_number
    assert by_name.members[0].stages[0].optim.lr == 0.01 and by_name.members[1].weight == 0.25


def test_an_override_changes_nothing_else():
    changed = recipe("baseline.mini", settings=["ensemble.dim=128"])
    assert config.replace(changed, ensemble=recipe("baseline.mini").ensemble) == recipe("baseline.mini")


@pytest.mark.parametrize(
    ("setting", "nearest"),
    [
        ("members.network.stages.main.optim.lrr=1", "members.network.stages.main.optim.lr"),
        ("ensamble.dim=3", "ensemble.dim"),
        ("matching.branches.views.norm_facto=1", "matching.branches.views.norm_factor"),
        ("sed=1", "seed"),
    ],
)
def test_a_misspelt_key_fails_with_the_nearest_right_one(setting, nearest):
    with pytest.raises(BadInput) as error:
        recipe("baseline.mini", settings=[setting])
    assert nearest in error.value.remedy


@pytest.mark.parametrize(
    "setting",
    [
        "ensemble.dim=abc",
        "ensemble.dim=0",
        "ensemble.dim=257",
        "members.network.stages.main.batch_images=-1",
        "seed=1.5",
        "normalise=[{kind: smooth}]",
        "members.gist.weight=-1",
        "matching.max_rows=500001",
        "extract.on_broken=ignore",
        "normalise=[{kind: subtract}",
    ],
)
def test_a_wrong_value_is_refused(setting):
    with pytest.raises(BadInput, match=setting.split("=")[0].split(".")[-1]):
        recipe("baseline.mini", settings=[setting])


def test_an_unknown_recipe_is_answered_with_the_known_ones():
    with pytest.raises(BadInput) as error:
        recipe("baselin")
    assert "baseline" in error.value.remedy and "gist" in error.value.allowed


def test_an_unknown_key_in_a_file_is_refused():
    values = config.to_dict(recipe("gist")) | {"colour": "red"}
    with pytest.raises(BadInput, match="colour"):
        config.from_dict(values)


@given(st.integers(0, 2**31))
def test_the_digest_sees_every_seed(seed):
    value = config.override(recipe("gist"), [f"seed={seed}"])
    assert (config.digest(value) == config.digest(recipe("gist"))) == (seed == recipe("gist").seed)


def test_two_members_of_one_name_are_refused():
    with pytest.raises(BadInput, match="name"):
        config.from_dict(config.to_dict(recipe("gist")) | {"members": [{"kind": "gist"}, {"kind": "gist"}]})
