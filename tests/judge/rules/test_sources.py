import hashlib
import shutil

import pytest
from spoiled import case_of, caught_by, change_recipe, consume

from isckit import config
from isckit.judge.rules.package import external_data, licence_class
from isckit.recipes.catalogue import recipe
from isckit.runs.artifacts import read_receipt, write_receipt
from isckit.types import BadInput

ENTRY = {"name": "test_resnet", "address": "https://a.example/w", "licence": "Apache-2.0", "use": "first weights"}


def declare(root, *, pretrained="hub", entries=(ENTRY,)):
    def change(values):
        values["members"][0]["backbone"]["pretrained"] = pretrained
        values["external"] = list(entries)

    change_recipe(root, change)


@pytest.mark.parametrize("phase", [1, 2])
def test_a_run_without_sources_passes(done, phase):
    finding = external_data(case_of(done, phase=phase))
    assert (finding.status, finding.level, finding.detail) == ("passed", "declared", "")
    assert finding.examined == "0 external entries for 0 members with pretrained weights"


def test_weights_that_no_entry_names_are_caught_by_this_rule_alone(copy, disc):
    declare(copy, entries=[ENTRY | {"name": "another"}])
    assert caught_by(case_of(copy, disc=disc)) == {"external_data"}
    assert "member network: no entry names its weights (hub, test_resnet)" in external_data(case_of(copy)).detail


@pytest.mark.parametrize(
    ("pretrained", "changes"),
    [
        ("hub", {}),
        ("weights/file.pth", {"name": "file.pth"}),
        ("hub", {"name": "another", "use": "first weights of network, then tuned"}),
    ],
)
def test_an_entry_refers_by_backbone_file_or_member(copy, pretrained, changes):
    declare(copy, pretrained=pretrained, entries=[ENTRY | changes])
    finding = external_data(case_of(copy))
    assert finding.status == "passed"
    assert ("which no entry is named after" in finding.detail) == (changes.get("name") == "another")


def with_detector(values):
    detector = config.Detector(pretrained="hub")
    values["detector"] = config.to_dict(detector)


def with_pairs(values):
    network = config.PairNetwork(backbone=config.Backbone(name="vit", pretrained="w/vit.pth"))
    branch = config.Pairs(networks=(network,), candidates=("views",))
    values["matching"]["branches"].append(config.to_dict(branch))


@pytest.mark.parametrize(
    ("add", "named", "told"),
    [
        (
            with_detector,
            "ssdlite320_mobilenet_v3_large",
            "member detector: no entry names its weights (hub, ssdlite320",
        ),
        (with_pairs, "vit.pth", "member pairs: no entry names its weights (w/vit.pth, vit)"),
    ],
)
def test_detectors_and_networks_that_see_pairs_need_an_entry_too(copy, add, named, told):
    change_recipe(copy, add)
    finding = external_data(case_of(copy))
    assert finding.status == "failed" and told in finding.detail
    change_recipe(copy, lambda values: values.update(external=[ENTRY | {"name": named}]))
    finding = external_data(case_of(copy))
    assert (finding.status, finding.detail) == ("passed", "")
    assert finding.examined == "1 external entries for 1 members with pretrained weights"


def test_part_of_another_word_does_not_refer(copy):
    declare(copy, entries=[ENTRY | {"name": "another", "use": "first weights of networks and sub-network-2"}])
    assert external_data(case_of(copy)).status == "failed"


@pytest.mark.parametrize("key", ["licence", "address"])
def test_an_entry_without_licence_or_address_fails(copy, disc, key):
    declare(copy, pretrained="none", entries=[ENTRY | {key: " "}])
    assert f"entry 'test_resnet' has no {key}" in external_data(case_of(copy)).detail
    assert caught_by(case_of(copy, disc=disc)) == {"external_data"}


@pytest.mark.parametrize(
    ("licence", "kind"),
    [
        ("MIT", "permissive"),
        ("apache-2.0", "permissive"),
        ("MIT OR Apache-2.0", "permissive"),
        ("(BSD-3-Clause AND CC-BY-4.0)", "permissive"),
        ("MIT AND CC-BY-NC-4.0", "restricted"),
        ("CC-BY-NC-SA-4.0", "restricted"),
        ("research only", "restricted"),
        ("Non-Commercial", "restricted"),
        ("GPL-3.0-only", "unknown"),
        ("see website", "unknown"),
        ("MITT", "unknown"),
    ],
)
def test_licences_have_classes(licence, kind):
    assert licence_class(licence) == kind


@pytest.mark.parametrize(("licence", "words"), [("CC-BY-NC-4.0", "restricted in use"), ("ours", "not known")])
def test_other_licences_pass_with_a_warning(copy, licence, words):
    declare(copy, entries=[ENTRY | {"licence": licence}])
    finding = external_data(case_of(copy))
    assert finding.status == "passed" and words in finding.detail and "certifies" in finding.detail


def test_a_weight_file_that_is_not_the_declared_one_is_proven(copy, disc, tmp_path):
    file = tmp_path / "file.pth"
    file.write_bytes(b"weights")
    right = hashlib.sha256(b"weights").hexdigest()
    declare(copy, pretrained=str(file), entries=[ENTRY | {"sha256": right}])
    assert external_data(case_of(copy)).status == "passed" and external_data(case_of(copy)).detail == ""
    file.write_bytes(b"others")
    finding = external_data(case_of(copy))
    assert (finding.status, finding.level) == ("failed", "proven")
    assert str(file) in finding.detail and right in finding.detail
    file.unlink()
    finding = external_data(case_of(copy))
    assert finding.status == "passed" and "no file at hand" in finding.detail


def test_external_images_need_an_entry(copy, disc):
    consume(copy, "external", ["a", "b"], augmented=True, listed=None)
    assert "external images were trained on" in external_data(case_of(copy)).detail
    assert caught_by(case_of(copy, disc=disc)) == {"external_data"}
    declare(copy, pretrained="none", entries=[ENTRY | {"use": "training images of distractors"}])
    assert external_data(case_of(copy)).status == "passed"


def test_installed_weights_are_told(copy):
    weights = copy / "checkpoints/run/weights.safetensors"
    facts = read_receipt(weights)["facts"] | {"source": "found.pth"}
    write_receipt(weights, made_from={"checkpoint": "0" * 64}, facts=facts)
    finding = external_data(case_of(copy))
    assert finding.status == "passed" and "installed from found.pth; logs of their training" in finding.detail
    shutil.rmtree(copy / "checkpoints/run/training")
    assert "installed from found.pth; their training is not recorded" in external_data(case_of(copy)).detail


def test_the_recipes_declare_what_they_use():
    full = recipe("baseline")
    assert {entry.name for entry in full.external} == {full.members[0].backbone.name}
    assert all(licence_class(e.licence) == "permissive" and e.address for e in full.external)
    assert recipe("baseline.mini").external == recipe("baseline.tiny").external == ()


def test_a_digest_has_64_hexadecimal_digits():
    assert config.External(**ENTRY, sha256="a" * 64).sha256 == "a" * 64
    with pytest.raises(BadInput, match="sha256"):
        config.from_dict(config.to_dict(recipe("gist")) | {"external": [ENTRY | {"sha256": "abc"}]})
