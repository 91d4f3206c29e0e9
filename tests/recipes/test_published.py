import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from recipes.facts import Fact
from recipes.published import PARAMETERS, PUBLISHED

from isckit import config
from isckit.augment.pipelines import find
from isckit.engine.optimisers import factor
from isckit.judge.rules.independence import dependences
from isckit.judge.rules.package import licence_class, refers_to, start_of
from isckit.models.members import build
from isckit.recipes import catalogue
from isckit.recipes.fidelity import claims
from isckit.types import Role

DOCS = {name: inspect.getdoc(function) or "" for name, function in catalogue.RECIPES.items()}


FULL = [name for name in catalogue.RECIPES if claims(name)]
"""With published values, which stand in the table."""
MODULES = {catalogue.RECIPES[name].__module__ for name in FULL}
SYSTEMS = [name for name, function in catalogue.RECIPES.items() if function.__module__ in MODULES]
"""Everything that stands for others' work; recipes of other files have nothing published to be held to."""
FLOORS = {"phash", "pdq", "gist", "orb", "imgfp.local"}
"""Nothing is trained, and there are no weights."""
MINIS = [name for name in SYSTEMS if name.endswith(".mini")]
SHORT_CUTS = {"how.mini", "d2lv.mini", "separate.mini", "imgfp.mini", "overlay_detector.mini"}
"""Minis whose way from an image to a list is the full recipe's, and whose training is not, as they say themselves. The
others walk every path of the training too."""
FAITHFUL = [name for name in MINIS if name not in SHORT_CUTS]
DOCUMENTED = [n for n in catalogue.RECIPES if not n.startswith("baseline") and not n.endswith(".tiny")]
"""All but the kit's first system, with its plain docstring, and the two that are made for tests."""


def parts(recipe: config.Recipe) -> list[config.Network | config.PairNetwork | config.Detector]:
    """All that begins with weights of its own."""
    networks = [m for m in recipe.members if isinstance(m, config.Network) and not m.weights_of]
    pairs = [n for n in recipe.pair_networks if not n.weights_of]
    return [*networks, *pairs, *([recipe.detector] if recipe.detector else [])]


def value_at(node: Any, path: str) -> Any:
    """The value at a dotted path of plain values; elements of lists go by name or kind."""
    for part in path.split("."):
        if isinstance(node, dict):
            node = node[part]
        else:
            named = [item for item in node if item.get("name") == part]
            (node,) = named or [item for item in node if item.get("kind") == part]
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


def test_every_recipe_that_claims_a_publication_has_its_table_and_each_value_a_tag():
    assert set(PUBLISHED) == set(FULL)
    assert {letter for facts in PUBLISHED.values() for _, _, tag, _ in facts for letter in tag} <= set("PCNRBSDI")


def test_floors_learn_nothing_and_have_no_weights_and_all_others_do():
    recipes = {name: catalogue.recipe(name) for name in SYSTEMS}
    assert {name for name, recipe in recipes.items() if not parts(recipe)} == FLOORS
    assert {name for name, recipe in recipes.items() if not recipe.learns} == FLOORS | {"multigrain"}


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_recipe_is_known_by_its_name_and_round_trips_through_json(name):
    recipe = catalogue.recipe(name)
    assert recipe.name == name
    assert config.from_dict(json.loads(config.to_json(recipe))) == recipe


@pytest.mark.parametrize("name", SYSTEMS)
def test_all_pipelines_of_a_recipe_exist_and_every_training_edits_its_images(name):
    recipe = catalogue.recipe(name)
    groups = [stage.views for stage in recipe.stages if stage.data.anchors == "train"]
    groups += [(stage.view, stage.plain) for network in recipe.pair_networks for stage in network.stages]
    groups += [recipe.detector.pastes.edits] if recipe.detector else []
    assert bool(groups) == recipe.learns
    for views in groups:
        edits = [find(view).steps for view in views]
        assert any(edits), "of the views one at least is not the image as it is"


@pytest.mark.parametrize("name", SYSTEMS)
def test_weights_from_outside_are_known_and_declared_with_licence_and_address(name):
    import timm
    import torchvision

    recipe, begun = catalogue.recipe(name), set()
    for part in parts(recipe):
        architecture, start = start_of(part)
        own = isinstance(part, config.Detector)
        known = torchvision.models.list_models() if own else timm.list_models(pretrained=False)
        assert architecture.partition(".")[0] in (*known, "fcos_mobilenet_v3_small"), architecture
        if start == "none":
            continue
        (entry,) = [entry for entry in recipe.external if entry.name in (architecture, Path(start).name)]
        begun.add(entry)
        assert refers_to(entry, part) and entry.use
        assert entry.address.startswith("https://") and licence_class(entry.licence) != "unknown"
        if start == "hub" and not own:
            assert entry.licence.lower() == timm.get_pretrained_cfg(architecture).license
            assert architecture in timm.list_models(architecture, pretrained=True)
            assert entry.address.endswith(f"timm/{architecture}")
        elif start == "hub":
            weights = torchvision.models.get_model_weights(architecture).DEFAULT
            assert (entry.address, entry.version) == (weights.url, weights.name)
    assert set(recipe.external) == begun, "nothing is declared that no part begins with"


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_recipe_says_how_to_run_it_what_it_costs_what_was_published_and_by_whom(name):
    for word in ("Command:", "Cost:", "Published:" if name in SYSTEMS else "Score:", "Source:"):
        assert word in DOCS[name], word
    command = DOCS[name].split("Command:")[1].splitlines()[0].split()
    assert name in command


@pytest.mark.parametrize("name", FULL)
def test_a_full_recipe_says_what_it_does_not_reproduce(name):
    assert "Not reproduced:" in DOCS.get(name.split(".")[0], DOCS[name])


def test_the_published_systems_that_look_at_other_images_are_known_and_no_twin_or_mini_does():
    looking = {name for name in SYSTEMS if dependences(catalogue.recipe(name))}
    assert looking == {"d2lv", "separate", "imgfp"}


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
def test_a_mini_is_small_and_begins_from_nothing(name):
    mini = catalogue.recipe(name)
    assert not mini.external
    assert all(start_of(part)[1] == "none" for part in parts(mini))
    assert all(part.image_size <= 192 for part in parts(mini))
    for member in mini.trained:
        # A student of compatibility learns from its anchor from the first step; pre-training is where others begin.
        assert mini.pretrains or member.stages[0].name == "head_start" or member.stages[0].loss.kind == "compatibility"
        assert max(stage.image_size for stage in member.stages) <= 192
        assert member.canvas <= (256 if "proposals" in _looked_at(mini) else 192)
        assert max(getattr(stage.loss, "memory", 0) for stage in member.stages) <= 2_048


def _looked_at(recipe: config.Recipe) -> set[str]:
    return {
        view
        for branch in recipe.matching.branches
        for role in (Role.QUERY, Role.REFERENCE)
        for view in branch.view_sets(role)
    }


@pytest.mark.parametrize("name", MINIS)
def test_a_mini_normalises_and_fuses_as_the_full_recipe_does_and_has_its_kinds_of_branches_and_parts(name):
    mini, full = catalogue.recipe(name), catalogue.recipe(name.removesuffix(".mini"))
    assert [step.kind for step in mini.normalise] == [step.kind for step in full.normalise]
    assert mini.matching.fusion == full.matching.fusion and mini.matching.fused == full.matching.fused
    assert {branch.kind for branch in mini.matching.branches} == {branch.kind for branch in full.matching.branches}
    ways = [
        [(b.name, b.of, b.vote is None, b.candidates) for b in recipe.matching.branches if isinstance(b, config.Local)]
        for recipe in (mini, full)
    ]
    assert ways[0] == ways[1]
    assert bool(mini.pair_networks) == bool(full.pair_networks)
    # D2LV's detector would take longer than its networks; "Source:" says that there is none.
    assert bool(mini.detector) == bool(full.detector) or name == "d2lv.mini"


@pytest.mark.parametrize("name", FAITHFUL)
def test_a_mini_walks_every_path_of_the_full_recipes_training(name):
    mini, full = catalogue.recipe(name), catalogue.recipe(name.removesuffix(".mini"))
    assert {s.loss.kind for s in full.stages} - {"contrastive"} <= {s.loss.kind for s in mini.stages}
    if name != "titanshield.mini":
        assert {s.optim.schedule for s in full.stages} <= {s.optim.schedule for s in mini.stages}
        assert {(s.data.anchors, s.data.negatives) for s in full.stages} <= {
            (s.data.anchors, s.data.negatives) for s in mini.stages
        }
        assert {s.loss.kind for s in full.stages} <= {s.loss.kind for s in mini.stages}
    assert (mini.ensemble.how, mini.ensemble.whiten) == (full.ensemble.how, full.ensemble.whiten)


@pytest.mark.parametrize("name", sorted(SHORT_CUTS))
def test_a_mini_with_another_training_says_with_what_it_begins(name):
    source = DOCS[name].split("Source:")[1]
    assert ("head start" if catalogue.recipe(name).trained else "random weights") in source


@pytest.mark.parametrize("name", FAITHFUL)
def test_minis_change_the_network_and_its_head_as_the_full_recipe_does(name):
    mini, full = (parts(catalogue.recipe(n)) for n in (name, name.removesuffix(".mini")))
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
