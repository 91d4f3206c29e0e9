import pytest
import torch
import torch.nn.functional as F

from isckit import config
from isckit.engine.local_features import local_features
from isckit.models.backbone import backbone
from isckit.models.network import EmbeddingNetwork
from isckit.models.pooling import AttentionPool, smoothed, strengths
from isckit.runs.checkpoints import write_weights
from isckit.types import BadInput

SETTINGS = config.Network(
    backbone=config.Backbone(name="test_resnet", cut="last_stage"),
    head=config.Head(bias=True, norm=False),
    dim=12,
    pooling="attention",
    image_size=64,
    canvas=64,
)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    made = EmbeddingNetwork(SETTINGS).eval()
    torch.nn.init.normal_(made.head.fc.bias)
    return made


def photo(*shape, seed=0):
    noise = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return (F.interpolate(noise, size=shape, mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)


def test_the_strength_of_a_feature_is_its_length():
    features = torch.tensor([[[[3.0, 0.0]], [[4.0, 0.0]]]])
    torch.testing.assert_close(strengths(features), torch.tensor([[[5.0, 1e-5]]]))


def test_smoothing_is_the_mean_of_the_neighbours_that_exist():
    row = torch.tensor([[[[3.0, 0.0, 6.0, 9.0]]]])
    torch.testing.assert_close(smoothed(row), torch.tensor([[[[1.5, 3.0, 5.0, 7.5]]]]))


def test_the_embedding_is_the_unit_sum_of_weighted_reduced_local_features(network):
    image = photo(64, 64)
    with torch.no_grad():
        features, found = local_features(network, image, scales=(1.0,), count=10_000)
        expected = F.normalize((features * found[:, None]).sum(0), dim=0)
        torch.testing.assert_close(network(image)[0], expected, atol=1e-5, rtol=1e-4)
        raw = network.outputs(image).features
    assert len(features) == raw.shape[-1] * raw.shape[-2] == 16


def test_a_local_feature_is_the_reduced_mean_of_its_neighbours_and_the_strongest_come_first(network):
    image = photo(48, 80, seed=3)
    with torch.no_grad():
        raw = network.outputs(image).features[0]
        features, found = local_features(network, image, scales=(1.0,), count=7)
    places = sorted(((float(raw[:, y, x].norm()), y, x) for y in range(3) for x in range(5)), reverse=True)[:7]
    torch.testing.assert_close(found, torch.tensor([length for length, _, _ in places]))
    weight, bias = network.head.fc.weight, network.head.fc.bias
    for feature, (_, y, x) in zip(features, places, strict=True):
        around = raw[:, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].flatten(1).mean(1)
        torch.testing.assert_close(feature, weight @ around + bias, atol=1e-5, rtol=1e-4)


def test_the_strongest_are_chosen_over_all_scales(network):
    image = photo(64, 96, seed=5)
    with torch.no_grad():
        parts = [local_features(network, image, scales=(scale,), count=10_000) for scale in (2.0, 1.0, 0.5)]
        features, found = local_features(network, image, scales=(2.0, 1.0, 0.5), count=40)
    assert [len(part[0]) for part in parts] == [8 * 12, 4 * 6, 2 * 3]
    every = torch.cat([part[1] for part in parts])
    torch.testing.assert_close(found, every.sort(descending=True)[0][:40])
    expected = torch.cat([part[0] for part in parts])[every.argsort(descending=True)[:40]]
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 3)])
def test_an_image_of_any_shape_has_a_feature(network, shape):
    with torch.no_grad():
        features, found = local_features(network, photo(*shape), scales=(1.0, 0.25), count=50)
    assert len(features) == len(found) >= 2 and features.isfinite().all()


def test_the_pool_is_the_weighted_mean_in_any_precision():
    maps = torch.rand(2, 5, 4, 3)
    pooled = AttentionPool()(maps)
    weights = maps.norm(dim=1)
    expected = torch.stack([(smoothed(maps)[i] * weights[i]).sum((-2, -1)) / weights[i].sum() for i in range(2)])
    torch.testing.assert_close(pooled, expected)
    assert AttentionPool()(maps.bfloat16()).dtype == torch.float32


def test_a_resnet_without_its_last_stage_has_the_map_before_it_and_takes_whole_weight_files(tmp_path):
    whole = backbone(config.Backbone(name="test_resnet"))
    path = tmp_path / "whole.safetensors"
    write_weights(path, {f"backbone.{key}": value for key, value in whole.state_dict().items()}, recipe="")
    cut = backbone(config.Backbone(name="test_resnet", cut="last_stage", pretrained=str(path)))
    maps = []
    whole.layer3.register_forward_hook(lambda module, inputs, output: maps.append(output))
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        whole.eval().forward_features(image)
        found = cut.eval().forward_features(image)
    assert torch.equal(found, maps[0])
    assert found.shape == (2, cut.num_features, 4, 4)
    assert not any(key.startswith("layer4") for key in cut.state_dict())
    cut.set_grad_checkpointing(True)
    assert cut.train().forward_features(image).shape == found.shape


def test_only_resnets_lose_their_last_stage():
    with pytest.raises(BadInput, match="cut=last_stage"):
        backbone(config.Backbone(name="test_efficientnet", cut="last_stage"))
    with pytest.raises(ValueError, match="no last stage"):
        config.Backbone(name="resnet50", cut="last_stage", stride16=True)


def test_a_whitened_reduction_is_not_trained_and_needs_a_bare_layer():
    settings = config.replace(SETTINGS, head=config.Head(bias=True, norm=False, whitened=True))
    made = EmbeddingNetwork(settings)
    assert not any(parameter.requires_grad for parameter in made.head.parameters())
    assert all(parameter.requires_grad for parameter in made.backbone.parameters())
    for wrong in ({"norm": True}, {"bias": False}, {"kind": "projector"}):
        with pytest.raises(ValueError, match="whitened is for a linear head"):
            config.Head(**({"bias": True, "norm": False, "whitened": True} | wrong))


def test_a_grey_network_has_grey_local_features(network):
    grey = EmbeddingNetwork(config.replace(SETTINGS, grey=True)).eval()
    grey.load_state_dict(network.state_dict())
    image = photo(64, 64, seed=7)
    with torch.no_grad():
        features, found = local_features(grey, image, scales=(1.0,), count=100)
        expected = F.normalize((features * found[:, None]).sum(0), dim=0)
        torch.testing.assert_close(grey(image)[0], expected, atol=1e-5, rtol=1e-4)
        assert not torch.allclose(features, local_features(network, image, scales=(1.0,), count=100)[0], atol=1e-3)
