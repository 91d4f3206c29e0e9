import inspect
import json
from typing import Any

import pytest
import torch
from recipes.facts import Fact
from recipes.published import PARAMETERS, PUBLISHED

from isckit import config
from isckit.augment.pipelines import find
from isckit.engine.schedules import factor
from isckit.judge.rules.sources import refers_to
from isckit.models.members import build
from isckit.recipes import catalogue

SYSTEMS = [name for name in catalogue.RECIPES if not name.startswith(("baseline", "gist", "ours"))]
FULL = [name for name in SYSTEMS if not name.endswith(".mini")]
MINIS = [name for name in SYSTEMS if name.endswith(".mini")]


def value_at(node: Any, path: str) -> Any:
    """The value at a dotted path of plain values; elements of lists go by name or kind."""
    for part in path.split("."):
        if isinstance(node, dict):
            node = node[part]
        else:
            (node,) = [item for item in node if part in (item.get("name"), item.get("kind"))]
    return node


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_value_is_the_recipes(name):
    values = config.to_dict(catalogue.recipe(name))

    def fits(fact: Fact) -> bool:
        path, value, _, _ = fact
        found = value_at(values, path)
        return found == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value)

    wrong = [(fact, value_at(values, fact[0])) for fact in PUBLISHED[name] if not fits(fact)]
    assert not wrong


def test_every_full_recipe_has_its_table():
    assert set(PUBLISHED) == set(FULL)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_recipe_is_known_by_its_name_and_round_trips_through_json(name):
    recipe = catalogue.recipe(name)
    assert recipe.name == name
    assert config.from_dict(json.loads(config.to_json(recipe))) == recipe


@pytest.mark.parametrize("name", SYSTEMS)
def test_all_pipelines_of_a_recipe_exist(name):
    views = {view for stage in catalogue.recipe(name).stages for view in stage.views}
    assert views and all(find(view).steps for view in views)


@pytest.mark.parametrize("name", SYSTEMS)
def test_weights_from_outside_are_known_to_timm_and_declared_with_licence_and_address(name):
    import timm

    recipe = catalogue.recipe(name)
    for member in recipe.trained:
        backbone = member.backbone
        assert timm.is_model(backbone.name), backbone.name
        if backbone.pretrained == "none":
            continue
        (entry,) = [entry for entry in recipe.external if refers_to(entry, member)]
        assert entry.address.startswith("https://")
        if backbone.pretrained == "hub":
            assert entry.licence.lower() == timm.get_pretrained_cfg(backbone.name).license
            assert backbone.name in timm.list_models(backbone.name, pretrained=True)
            assert entry.address.endswith(f"timm/{backbone.name}")
    used = [m for m in recipe.trained if m.backbone.pretrained != "none"]
    assert all(any(refers_to(entry, member) for member in used) for entry in recipe.external)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_recipe_says_how_to_run_it_what_it_costs_what_was_published_and_by_whom(name):
    text = inspect.getdoc(catalogue.RECIPES[name])
    for word in ("Command:", "Cost:", "Published:", "Source:"):
        assert word in text, word
    command = text.split("Command:")[1].splitlines()[0].split()
    assert name in command


@pytest.mark.parametrize("name", FULL)
def test_a_full_recipe_says_what_it_does_not_reproduce(name):
    base = catalogue.RECIPES[name.split(".")[0]]
    assert "Not reproduced:" in inspect.getdoc(base)


@pytest.mark.parametrize(("name", "member"), PARAMETERS)
def test_networks_have_the_published_number_of_parameters(name, member):
    (settings,) = [m for m in catalogue.recipe(name).trained if m.name == member]
    bare = config.replace(settings, backbone=config.replace(settings.backbone, pretrained="none"), stages=())
    with torch.device("meta"):
        network = build(bare)
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    published = PARAMETERS[name, member]
    digits = len(str(published).partition(".")[2])
    assert round(millions, digits) == published


@pytest.mark.parametrize(
    ("stage", "images", "steps"), [("v83", 256, 7_812), ("v86", 256, 7_812), ("v98", 256, 15_625), ("v107", 512, 312)]
)
def test_lyakaap_sees_the_published_images_in_a_step_and_steps_in_an_epoch(stage, images, steps):
    value = value_at(config.to_dict(catalogue.recipe("lyakaap")), f"members.network.stages.{stage}")
    views = 2 if value["data"]["anchors"] == "pairs" else len(value["views"])
    assert value["batch_images"] * (views + value["data"]["negatives_per_anchor"]) == images
    anchors = 4_991 if value["data"]["anchors"] == "pairs" else 1_000_000
    assert abs(anchors / value["batch_images"] - steps) < 1


def rates(name: str, stage: str) -> list[float]:
    """Learning rate of each epoch of a stage."""
    (found,) = [s for s in catalogue.recipe(name).trained[0].stages if s.name == stage]
    epochs = range(found.stop_after or found.epochs)
    return [found.optim.lr * factor(found.optim, epoch, epochs=found.epochs, losses=()) for epoch in epochs]


def test_lyakaap_decays_as_published_once_an_epoch():
    assert rates("lyakaap", "v83") == pytest.approx([0.1 / 4] * 6)
    assert [rate * 16 for rate in rates("lyakaap", "v98")] == pytest.approx([0.1, 0.0667], abs=1e-4)
    assert [rate * 16 for rate in rates("lyakaap", "v107")] == pytest.approx([0.5 - 0.05 * e for e in range(10)])


def test_vision_force_has_the_25_published_factors():
    published = [0.01, 0.208, 0.406, 0.604, 0.802, 1, 1, 1, 1, 1, 1, 0.989, 0.957, 0.905, 0.835, 0.75, 0.655, 0.552]
    published += [0.448, 0.345, 0.25, 0.165, 0.095, 0.043, 0.011]
    found = rates("vision_force_descriptor", "basic")
    assert [rate / 3.5e-4 for rate in found] == pytest.approx(published, abs=6e-4)


def test_s_square_warms_up_from_1e_5_and_ends_at_1e_6():
    (main,) = catalogue.recipe("s_square").trained[1].stages
    lr = [main.optim.lr * factor(main.optim, epoch, epochs=104, losses=()) for epoch in (0, 4, 104)]
    assert lr == pytest.approx([1e-5, 1e-3, 1e-6])


def test_train_negatives_differ_from_lyakaap_in_the_pool_of_two_stages_alone():
    values = config.to_dict(catalogue.recipe("lyakaap.train_negatives"))
    for stage in values["members"][0]["stages"]:
        if stage["data"]["negatives"] == "train":
            stage["data"]["negatives"] = "references"
    assert values | {"name": "lyakaap"} == config.to_dict(catalogue.recipe("lyakaap"))


def test_drip_rounds_never_lose_classes():
    for member in catalogue.recipe("s_square").trained:
        counts = [stage.data.ids or 1_000_000 for stage in member.stages]
        assert counts == sorted(counts)


@pytest.mark.parametrize("name", MINIS)
def test_a_mini_is_small_begins_from_nothing_and_walks_every_path_of_the_full_recipe(name):
    mini, full = catalogue.recipe(name), catalogue.recipe(name.removesuffix(".mini"))
    assert not mini.external
    for member in mini.trained:
        assert member.backbone.pretrained == "none"
        # A student of compatibility learns from its anchor from the first step.
        assert member.stages[0].name == "head_start" or member.stages[0].loss.kind == "compatibility"
        assert max(member.canvas, *(stage.image_size for stage in member.stages)) <= 192
        assert max(getattr(stage.loss, "memory", 0) for stage in member.stages) <= 2_048
    assert {s.loss.kind for s in full.stages} - {"contrastive"} <= {s.loss.kind for s in mini.stages}
    if name != "titanshield.mini":
        assert {s.optim.schedule for s in full.stages} <= {s.optim.schedule for s in mini.stages}
        assert {(s.data.anchors, s.data.negatives) for s in full.stages} <= {
            (s.data.anchors, s.data.negatives) for s in mini.stages
        }
        assert {s.loss.kind for s in full.stages} <= {s.loss.kind for s in mini.stages}
    assert [step.kind for step in mini.normalise] == [step.kind for step in full.normalise]
    assert (mini.ensemble.how, mini.ensemble.whiten) == (full.ensemble.how, full.ensemble.whiten)


@pytest.mark.parametrize("name", MINIS)
def test_minis_change_the_network_and_its_head_as_the_full_recipe_does(name):
    mini, full = (catalogue.recipe(n).trained for n in (name, name.removesuffix(".mini")))
    for field in ("stride16", "wave", "normalisation"):
        assert {getattr(m.backbone, field) for m in mini} == {getattr(m.backbone, field) for m in full}
    assert {(m.head.kind, m.head.bias, m.head.norm) for m in mini} == {
        (m.head.kind, m.head.bias, m.head.norm) for m in full
    }


@pytest.mark.parametrize("name", [*MINIS, "baseline.mini"])
def test_minis_can_be_built(name):
    for member in catalogue.recipe(name).trained:
        with torch.device("meta"):
            assert build(member).dim == member.dim
