import pytest
from recipes.published import SCORES

from isckit import config
from isckit.recipes import catalogue
from isckit.studies.ablations import rows, rows_of
from isckit.studies.variants import AT_TEST
from isckit.types import BadInput


def trained(recipe):
    """Of each member, all that its weights depend on."""
    return {
        member.name: {key: value for key, value in config.to_dict(member).items() if key not in AT_TEST}
        for member in recipe.members
    }


@pytest.mark.parametrize("name", catalogue.RECIPES)
def test_rows_have_labels_of_their_own_and_one_of_them_is_the_whole_recipe(name):
    found = rows(name)
    assert len({row.label for row in found}) == len(found)
    assert sum(not row.settings and row.stages is None for row in found) == 1


@pytest.mark.parametrize("name", catalogue.RECIPES)
def test_no_row_touches_what_weights_depend_on(name):
    recipe = catalogue.recipe(name)
    for row in rows(name):
        assert trained(config.override(recipe, row.settings)).items() <= trained(recipe).items(), row.label


@pytest.mark.parametrize("name", catalogue.RECIPES)
def test_rows_with_and_without_weights_stay_within_the_stages_and_the_canvas(name):
    recipe = catalogue.recipe(name)
    longest = max((len(member.stages) for member in recipe.trained), default=0)
    for row in rows(name):
        assert row.stages is None or 0 <= row.stages <= longest
        for member in config.override(recipe, row.settings).trained:
            assert max((*member.scales, member.image_size)) <= member.canvas, row.label


@pytest.mark.parametrize("name", SCORES)
def test_published_scores_stand_beside_their_rows_with_set_and_source(name):
    published = {row.label: row.published for row in rows(name)}
    for label, score in SCORES[name].items():
        assert published[label].split(",")[0] == score, label
        assert "phase" in published[label] and published[label].endswith("]")


@pytest.mark.parametrize("name", catalogue.RECIPES)
def test_a_small_recipe_has_the_rows_of_the_full_one_except_for_its_members_and_stages(name):
    def steps(n):
        labels = [row.label for row in rows(n)]
        of_members = [label for label in labels if label.startswith(("after", "queries")) or "alone" in label]
        return [label for label in labels if label not in (*of_members, "untrained")]

    family = name.split(".")[0]
    family = family if family in catalogue.RECIPES else name.removesuffix(".mini")  # of pre-training each is its own
    assert steps(name) == steps(family)


@pytest.mark.parametrize("name", catalogue.RECIPES)
def test_what_is_untrained_or_not_normalised_is_a_row_where_there_is_training_and_normalisation(name):
    recipe, labels = catalogue.recipe(name), {row.label for row in rows(name)}
    assert ("untrained" in labels) == bool(recipe.trained)
    assert "not normalised" not in labels or recipe.normalise


def test_stage_rows_describe_at_the_stages_own_resolution():
    recipe = catalogue.recipe("lyakaap.mini")
    (network,) = recipe.trained
    sizes = [
        config.override(recipe, row.settings).trained[0].image_size
        for row in rows("lyakaap.mini")
        if row.label.startswith("after")
    ]
    assert sizes == [stage.image_size for stage in network.stages]


def test_six_passes_are_at_the_size_and_a_root_of_two_on_both_sides():
    (row,) = [row for row in rows("lyakaap") if "mirrored" in row.label]
    (network,) = config.override(catalogue.recipe("lyakaap"), row.settings).trained
    assert (network.scales, network.flip) == ((362, 512, 724), True)


def test_a_member_alone_is_neither_whitened_nor_wider_than_the_track_allows():
    recipe = catalogue.recipe("s_square")
    alone = [config.override(recipe, row.settings) for row in rows("s_square") if "alone" in row.label]
    assert [one.members for one in alone] == [(member,) for member in recipe.members]
    assert {(one.ensemble.dim, one.ensemble.whiten, one.normalise) for one in alone} == {(256, 0.0, ())}


def test_overlay_rows_go_without_boxes_before_detection_and_with_the_recipes_after():
    boxes = config.override(
        catalogue.recipe("vision_force_descriptor"), ["substitution={boxes: boxes.json, confidence: 0.9}"]
    )
    found = {row.label: config.override(boxes, row.settings) for row in rows_of(boxes)}
    without = [label for label, recipe in found.items() if recipe.substitution is None]
    assert without == ["untrained", "trained", "+ stretching", "+ stretching, with the learnt power in GeM"]
    assert found["+ overlay detection (with a boxes file)"].trained[0].scales == ()


@pytest.mark.parametrize(("name", "members", "branches"), [
    ("d2lv", {"whole images": 3, "+ query crops": 3, "+ both directions": 3, "+ all training sets": 33, "whole": 99},
     {"whole images": 1, "+ query crops": 1, "+ both directions": 2, "+ all training sets": 12, "whole": 34}),
    ("d2lv.mini", {"whole images": 3, "+ both directions": 3, "whole": 3},
     {"whole images": 1, "+ both directions": 2, "+ all training sets": 2, "whole": 2}),
])  # fmt: skip
def test_each_row_of_d2lv_adds_views_networks_or_scales_to_the_one_before(name, members, branches):
    recipe = catalogue.recipe(name)
    found = {row.label: config.override(recipe, row.settings) for row in rows(name)}
    assert {label: len(found[label].members) for label in members} == members
    assert {label: len(found[label].matching.branches) for label in branches} == branches
    crops, parts = recipe.matching.branches[0], recipe.matching.branches[-1]
    (whole,) = found["whole images"].matching.branches
    assert whole == config.replace(crops, query_views=()) and found["+ query crops"].matching.branches == (crops,)
    assert found["+ both directions"].matching.branches == (crops, parts)
    assert {b.members[0].split("_")[-1] for b in found["+ all training sets"].matching.branches} == {
        crops.members[0].split("_")[-1]
    }


def test_published_figures_of_d2lv_are_those_of_its_ranks_at_full_size():
    assert not any(row.published for name in ("d2lv.fixed", "d2lv.mini") for row in rows(name))


def test_views_of_the_kits_own_matching_system_stand_alone_before_local_features_join():
    recipe = catalogue.recipe("ours_matching")
    found = {row.label: config.override(recipe, row.settings).matching for row in rows("ours_matching")}
    assert [branch.kind for branch in found["whole"].branches] == ["views", "local"]
    assert found["+ views"].branches == tuple(b for b in recipe.matching.branches if b.compares_views)
    (whole,) = found["whole images"].branches
    assert (whole.query_views, whole.reference_views, whole.cut) == ((), (), recipe.matching.branches[0].cut)
    assert {found[label].fusion.kind for label in ("whole images", "+ views")} == {"best"}


def test_an_unknown_recipe_is_refused():
    with pytest.raises(BadInput, match="lyakap"):
        rows("lyakap")
