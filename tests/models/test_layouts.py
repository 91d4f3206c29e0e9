import argparse
import re

import pytest
import timm
import torch
from torch import nn

from isckit import config
from isckit.models.backbone import backbone
from isckit.models.layouts import member_keys
from isckit.models.members import load, member_weights, prefixed, read
from isckit.models.network import EmbeddingNetwork
from isckit.runs.checkpoints import read_weights
from isckit.types import BadInput

CPU = torch.device("cpu")
SIZES = {"image_size": 32, "canvas": 64, "dim": 8, "stages": ()}
LYAKAAP = config.Network(backbone=config.Backbone(name="test_efficientnet", cut="stages"), gem_p=1.0, **SIZES)
SSCD = config.Network(backbone=config.Backbone(name="resnet50"), head=config.Head(bias=True, norm=False), **SIZES)
VISIONFORCE = config.Network(
    backbone=config.Backbone(name="resnet26", stride16=True, wave=True, normalisation="imagenet"),
    head=config.Head(kind="projector", widths=(6, 10)),
    gem_p_at_test=3.0,
    **SIZES,
)


def randomised(module):
    """The module's tensors with random values, so that no two are alike by chance."""
    state = module.state_dict()
    return {k: torch.rand_like(v) if v.is_floating_point() else torch.full_like(v, 7) for k, v in state.items()}


def renamed(weights, rules):
    out = {}
    for key, value in weights.items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        out[key] = value
    return out


def without(weights, *prefixes):
    return {key: value for key, value in weights.items() if not key.startswith(prefixes)}


def lyakaap_file(weights):
    """As DataParallel and the training script leave it: timm's features layout, arguments and optimiser beside."""
    table = renamed(without(weights, "mean", "std", "pool"), [(r"^head\.", ""), (r"^", "module.")])
    arguments = argparse.Namespace(arch="tf_efficientnetv2_m_in21ft1k", input_size=512, gem_p=1.0, weight=None)
    return {"epoch": 10, "arch": arguments.arch, "state_dict": table, "optimizer": {"state": {}}, "args": arguments}


def torchvision_file(weights):
    return renamed(without(weights, "mean", "std", "pool"), [(r"^head\.", "backbone.")])


def classy_file(weights):
    stages = [(rf"^backbone\.layer{i + 1}\.(\d+)\.", rf"backbone.blocks.{i}.block{i}-\1.") for i in range(4)]
    inside = [(rf"(block\d-\d+)\.conv{i + 1}\.", rf"\1.convolutional_block.{3 * i}.") for i in range(3)]
    inside += [(rf"(block\d-\d+)\.bn{i + 1}\.", rf"\1.convolutional_block.{3 * i + 1}.") for i in range(2)]
    stem = [
        (r"^backbone\.conv1\.", "backbone.initial_block._module.0."),
        (r"^backbone\.bn1\.", "backbone.initial_block._module.1."),
    ]
    rest = [(r"(block\d-\d+)\.bn3\.", r"\1.bn."), (r"^head\.fc\.", "embeddings.1.")]
    return renamed(without(weights, "mean", "std", "pool"), [*stages, *inside, *stem, *rest])


def visionforce_file(weights):
    trunk = [("conv1", 0), ("bn1", 1), ("layer1", 4), ("layer2", 5), ("layer3", 7), ("layer4", 9)]
    rules = [(rf"^backbone\.{name}\.", f"base.{i}.") for name, i in trunk] + [
        (r"^pool\.p", "base.10.p"),
        (r"^head\.projector\.4\.", "projector_feat_bn.1."),
        (r"^head\.projector\.", "projector_feat_bn.0."),
        (r"^head\.narrow\.3\.", "matrix_feat_bn.1."),
        (r"^head\.narrow\.", "matrix_feat_bn.0."),
    ]
    table = renamed(without(weights, "mean", "std"), rules)
    return table | {"base.10.p": table["base.10.p"].reshape(1), "classifier_0.weight": torch.rand(4, 10)}


PUBLISHED = [
    pytest.param(LYAKAAP, lyakaap_file, id="lyakaap"),
    pytest.param(SSCD, torchvision_file, id="sscd-torchvision"),
    pytest.param(SSCD, classy_file, id="sscd-classy"),
    pytest.param(VISIONFORCE, visionforce_file, id="visionforce"),
]


@pytest.fixture(scope="module")
def tables():
    """Random weights of each network."""
    networks = (LYAKAAP, SSCD, VISIONFORCE)
    return {network: randomised(EmbeddingNetwork(network)) for network in networks}


def expected(tables, network):
    """The file's values, and those that only the recipe says."""
    said = EmbeddingNetwork(network).state_dict()
    own = [k for k in said if k in ("mean", "std") or (k == "pool.p" and network is not VISIONFORCE)]
    return tables[network] | {key: said[key] for key in own}


@pytest.mark.parametrize(("network", "file"), PUBLISHED)
def test_a_published_network_becomes_a_member(tmp_path, tables, network, file):
    torch.save(file(tables[network]), tmp_path / "w.pth.tar")
    found, right = member_weights(tmp_path / "w.pth.tar", network), expected(tables, network)
    assert found is not None and found.keys() == right.keys()
    assert all(torch.equal(found[key], value) for key, value in right.items())
    recipe = config.Recipe(name="t", members=(network, config.Gist()))
    loaded = load(recipe, read(recipe, tmp_path / "w.pth.tar"), device=CPU)[0]
    assert all(torch.equal(loaded.state_dict()[key], value) for key, value in right.items())


@pytest.mark.parametrize(("network", "file"), PUBLISHED)
def test_its_backbone_alone_can_be_where_training_begins(tmp_path, tables, network, file):
    torch.save(file(tables[network]), tmp_path / "w.pth.tar")
    settings = config.replace(network.backbone, pretrained=str(tmp_path / "w.pth.tar"))
    assert all(
        torch.equal(value, tables[network][f"backbone.{key}"]) for key, value in backbone(settings).state_dict().items()
    )


@pytest.mark.parametrize(("network", "file"), PUBLISHED)
def test_one_missing_tensor_is_named(tmp_path, tables, network, file):
    lost = next(key for key in tables[network] if key.startswith("backbone.") and key.endswith("running_mean"))
    weights = {key: value for key, value in tables[network].items() if key != lost}
    torch.save(file(weights), tmp_path / "w.pth")
    with pytest.raises(BadInput, match=re.escape(f"{lost} missing")):
        member_weights(tmp_path / "w.pth", network)
    with pytest.raises(BadInput, match=re.escape(lost.removeprefix("backbone."))):
        backbone(config.replace(network.backbone, pretrained=str(tmp_path / "w.pth")))


def test_weights_of_another_width_are_refused_by_name(tmp_path, tables):
    torch.save(lyakaap_file(tables[LYAKAAP]), tmp_path / "w.pth")
    with pytest.raises(BadInput, match=r"head\.fc\.weight \(8, 64\) instead of \(16, 64\)"):
        member_weights(tmp_path / "w.pth", config.replace(LYAKAAP, dim=16))


def test_the_kits_own_file_comes_as_it_is_and_may_begin_another_network(tmp_path, tables):
    own = prefixed("network", tables[LYAKAAP])
    torch.save(own, tmp_path / "w.pth")
    recipe = config.Recipe(name="t", members=(LYAKAAP,))
    assert read(recipe, tmp_path / "w.pth").keys() == own.keys()
    assert member_weights(tmp_path / "w.pth", LYAKAAP).keys() == tables[LYAKAAP].keys()


@pytest.mark.parametrize("classifier", [True, False], ids=["torchvision", "barlow_twins"])
def test_torchvisions_layout_is_a_backbone_and_no_member(tmp_path, classifier):
    from torchvision.models import resnet50

    weights = randomised(resnet50(weights=None))
    torch.save(weights if classifier else without(weights, "fc."), tmp_path / "w.pth")
    assert member_weights(tmp_path / "w.pth", SSCD) is None
    model = backbone(config.Backbone(name="resnet50", pretrained=str(tmp_path / "w.pth"), stride16=True))
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


def test_whole_files_of_timm_fit_a_cut_backbone(tmp_path):
    weights = randomised(timm.create_model("test_efficientnet", num_classes=10))
    torch.save(weights, tmp_path / "w.pth")
    model = backbone(config.replace(LYAKAAP.backbone, pretrained=str(tmp_path / "w.pth")))
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert "conv_head.weight" in weights and "conv_head.weight" not in model.state_dict()


def test_ibn_weights_load_in_their_authors_names(tmp_path):
    settings = config.Backbone(name="resnet26", ibn=True)
    weights = randomised(backbone(settings))
    assert {"layer1.0.bn1.IN.weight", "layer1.0.bn1.BN.running_mean", "layer4.0.bn1.running_mean"} <= weights.keys()
    torch.save(weights | {"fc.weight": torch.rand(10, 2048), "fc.bias": torch.rand(10)}, tmp_path / "w.pth")
    model = backbone(config.replace(settings, pretrained=str(tmp_path / "w.pth")))
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    with pytest.raises(BadInput, match=r"layer1\.0\.bn1\.weight"):
        backbone(config.replace(settings, ibn=False, pretrained=str(tmp_path / "w.pth")))


def test_an_unknown_name_stays_and_is_refused(tmp_path, tables):
    torch.save(lyakaap_file(tables[LYAKAAP] | {"backbone.extra": torch.zeros(1)}), tmp_path / "w.pth")
    with pytest.raises(BadInput, match=r"backbone\.extra unknown"):
        member_weights(tmp_path / "w.pth", LYAKAAP)


class Scripted(nn.Module):
    """A trunk and an embedding under SSCD's names."""

    def __init__(self):
        super().__init__()
        initial = nn.Module()
        initial._module = nn.Sequential(nn.Conv2d(3, 4, 7, bias=False), nn.BatchNorm2d(4))
        self.backbone = nn.Module()
        self.backbone.initial_block = initial
        self.embeddings = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Linear(4, 2))

    def forward(self, x):
        for part in self.backbone.initial_block._module:
            x = part(x)
        return self.embeddings[1](self.embeddings[0](x).flatten(1))


def test_a_torchscript_archive_gives_its_tensors_by_name(tmp_path):
    model = Scripted().eval()
    traced = torch.jit.trace(model, torch.rand(1, 3, 16, 16))
    torch.jit.save(traced, tmp_path / "w.torchscript.pt")
    found = read_weights(tmp_path / "w.torchscript.pt")
    assert found.keys() == model.state_dict().keys()
    assert torch.equal(found["embeddings.1.weight"], model.embeddings[1].weight)
    assert {"backbone.conv1.weight", "backbone.bn1.bias", "head.fc.weight"} <= member_keys(found).keys()


def test_a_frozen_torchscript_archive_is_refused_with_its_reason(tmp_path):
    traced = torch.jit.trace(Scripted().eval(), torch.rand(1, 3, 16, 16))
    torch.jit.save(torch.jit.freeze(traced), tmp_path / "w.pt")
    with pytest.raises(BadInput, match="frozen"):
        read_weights(tmp_path / "w.pt")


class Foreign:
    """A training script's own class."""


def test_a_training_scripts_own_classes_are_refused_with_the_way_to_convert(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1)}, "args": Foreign()}, tmp_path / "w.pth.tar")
    with pytest.raises(BadInput, match=r"torch\.save\(model\.state_dict\(\)\)"):
        read_weights(tmp_path / "w.pth.tar")
