import pytest
import torch
import torch.nn.functional as F

from isckit import config
from isckit.models.backbone import backbone
from isckit.models.heads import head
from isckit.models.members import build, read
from isckit.models.network import EmbeddingNetwork
from isckit.recipes import baselines
from isckit.types import BadInput


def published_file(path):
    """As MultiGrain's training leaves it: torchvision's names under features., classifier and sampler beside."""
    torch.manual_seed(1)
    trunk = {k: torch.rand_like(v) if v.is_floating_point() else v for k, v in backbone_tensors().items()}
    others = {"classifier.weight": torch.rand(4, 2_048), "classifier.bias": torch.rand(4), "beta": torch.rand(1)}
    table = {f"features.{key}": value for key, value in trunk.items()} | others
    torch.save({"model_state": table, "epoch": 119, "optimizer_state": {"lr": 0.2}}, path)
    return trunk


def backbone_tensors():
    return backbone(config.Backbone(name="resnet50")).state_dict()


def small_recipe(**changed):
    recipe = baselines.multigrain()
    (network,) = recipe.members
    return config.replace(recipe, members=(config.replace(network, image_size=32, canvas=32, **changed),))


def test_published_weights_are_the_trunk_of_the_recipe_whether_they_are_installed_or_named(tmp_path):
    path = tmp_path / "joint_3B_0.5.pth"
    trunk = published_file(path)
    installed = read(small_recipe(), path)
    assert {key for key in installed if not key.startswith("network.backbone.")} == {
        "network.mean",
        "network.std",
        "network.pool.p",
    }
    assert float(installed["network.pool.p"]) == 7
    named = build(small_recipe(backbone=config.Backbone(name="resnet50", pretrained=str(path))).members[0])
    for key, value in trunk.items():
        assert torch.equal(installed[f"network.backbone.{key}"], value)
        assert torch.equal(named.backbone.state_dict()[key], value)


def test_the_embedding_is_the_seventh_power_mean_of_the_map_at_unit_length():
    torch.manual_seed(0)
    settings = small_recipe(backbone=config.Backbone(name="test_resnet", normalisation="imagenet"), dim=96).members[0]
    dim = int(backbone(settings.backbone).num_features)
    network = EmbeddingNetwork(config.replace(settings, dim=dim)).eval()
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    out = network.outputs(images)
    pooled = out.features.double().clamp(min=1e-6).pow(7).mean((-2, -1)).pow(1 / 7)
    assert torch.allclose(out.embedding.double(), F.normalize(pooled, dim=-1), atol=1e-5)


def test_no_head_gives_the_pooled_features_and_has_nothing_to_learn():
    pooled, nothing = torch.randn(3, 6), head(config.Head(kind="none"), pooled_dim=6, dim=6)
    assert nothing(pooled) == (pooled, pooled) and not nothing.state_dict() and nothing.wide_dim == 6


def test_another_width_than_that_of_the_pooled_features_is_refused():
    with pytest.raises(BadInput, match="dim=6"):
        head(config.Head(kind="none"), pooled_dim=6, dim=4)


def test_the_dense_head_is_dropout_a_normed_hidden_layer_and_a_layer():
    torch.manual_seed(0)
    dense = head(config.Head(kind="dense", widths=(10, 3), dropout=0.5), pooled_dim=6, dim=4)
    pooled = torch.randn(8, 6)
    assert not torch.allclose(dense(pooled)[0], dense(pooled)[0])
    first, norm, last = (dense.layers[i] for i in (1, 3, 4))
    narrow, wide = dense.eval()(pooled)
    hidden = F.batch_norm(F.relu(first(pooled)), norm.running_mean, norm.running_var, norm.weight, norm.bias)
    assert first.weight.shape == (10, 6) and narrow.shape == (8, 4) and wide is pooled
    assert torch.allclose(narrow, last(hidden), atol=1e-6)


def test_flatten_keeps_every_position_and_is_for_one_size():
    settings = config.Network(
        backbone=config.Backbone(name="test_resnet"),
        head=config.Head(kind="dense", widths=(8, 8)),
        pooling="flatten",
        dim=4,
        image_size=80,
        gem_learnable=False,
        stages=(),
    )
    torch.manual_seed(0)
    network = EmbeddingNetwork(settings).eval()
    out = network.outputs(torch.randint(0, 256, (2, 3, 80, 80), dtype=torch.uint8))
    assert out.features.shape[-2:] == (3, 3) and network.pooled_dim == 9 * network.backbone.num_features
    assert torch.equal(out.pooled, out.features.reshape(2, -1))
    with pytest.raises(ValueError, match="80 pixels only"):
        config.replace(settings, scales=(64,))
