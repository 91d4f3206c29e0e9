import json
from dataclasses import replace

from isckit import config
from isckit.config.differences import recipe_differences

RECIPE = config.Recipe(name="one", members=(config.Network(), config.Gist()))


def values(recipe):
    return config.to_dict(recipe)


def test_equal_recipes_do_not_differ_also_when_one_comes_from_json():
    assert recipe_differences(values(RECIPE), values(RECIPE)) == []
    assert recipe_differences(json.loads(config.to_json(RECIPE)), values(RECIPE)) == []


def test_every_value_that_differs_is_named_by_its_key():
    other = replace(RECIPE, seed=2, ensemble=config.Ensemble(dim=128))
    assert recipe_differences(values(RECIPE), values(other)) == [
        "ensemble.dim: 256 there, 128 now",
        "seed: 1 there, 2 now",
    ]


def test_values_of_members_and_lists_are_named_too():
    member = replace(RECIPE.members[1], weight=2.0)
    mirrored = config.Matching(branches=(config.Views(query_views=("mirror",)),))
    other = replace(RECIPE, members=(RECIPE.members[0], member), matching=mirrored)
    names = [difference.split(":")[0] for difference in recipe_differences(values(RECIPE), values(other))]
    assert names == ["matching.branches.0.query_views", "members.1.weight"]


def test_a_member_more_or_less_is_named():
    fewer = replace(RECIPE, members=RECIPE.members[:1])
    assert "members.1.kind: 'gist' there, None now" in recipe_differences(values(RECIPE), values(fewer))
    assert "members.1.kind: None there, 'gist' now" in recipe_differences(values(fewer), values(RECIPE))
