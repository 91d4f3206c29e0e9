import pytest
import torch
import torch.nn.functional as F

from isckit import config
from isckit.models.heads import ShallowBranches
from isckit.models.members import build
from isckit.recipes import parajuli

SMALL = config.Network(
    backbone=config.Backbone(name="test_resnet", shallow=True),
    head=config.Head(kind="deep_rank", widths=(24, 20), dropout=0.6),
    dim=16,
    pooling="mean",
    gem_learnable=False,
    image_size=64,
    stages=(),
)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build(SMALL).eval()


@pytest.fixture(scope="module")
def images():
    return torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("size", "widths"), [(160, (864, 864)), (64, (96, 96)), (224, (1_536, 1_536))])
def test_shallow_branches_have_as_many_values_as_they_say(size, widths):
    branches = ShallowBranches(size)
    assert branches.widths == widths
    assert branches(torch.randn(2, 3, size, size)).shape == (2, sum(widths))


def test_each_shallow_branch_is_a_strided_convolution_and_maximum_at_unit_length():
    branches, x = ShallowBranches(160), torch.randn(2, 3, 160, 160)
    parts = branches(x).split(864, dim=1)
    for part, branch, (stride, window, reach, before, behind) in zip(
        parts, branches.branches, [(16, 3, 4, 0, 1), (32, 7, 2, 3, 3)], strict=True
    ):
        # TensorFlow's "same" padding, whose odd pixel stands behind.
        maps = F.conv2d(x, branch[0].weight, branch[0].bias, stride=stride)
        padded = F.pad(maps, (before, behind, before, behind), value=-torch.inf)
        expected = F.normalize(F.max_pool2d(padded, window, reach).flatten(1), dim=-1)
        assert torch.allclose(part, expected, atol=1e-6)


def test_the_embedding_is_one_layer_on_the_three_branches(network, images):
    out = network.outputs(images)
    deep, shallow = out.pooled[:, :-192], out.pooled[:, -192:]
    assert torch.allclose(deep, out.features.mean((-2, -1)), atol=1e-6)
    assert torch.allclose(shallow, network.shallow((images.float() - network.mean) / network.std), atol=1e-5)
    layers = network.head.deep
    hidden = F.relu(layers[3](F.relu(layers[0](deep))))
    joined = torch.cat([F.normalize(hidden, dim=-1), shallow], dim=1)
    assert torch.allclose(out.embedding, F.normalize(network.head.fc(joined), dim=-1), atol=1e-5)


def test_dropout_is_for_training(network, images):
    pooled = network.outputs(images).pooled
    drawn = network.head.train()(pooled)[0]
    assert not torch.allclose(drawn, network.head.eval()(pooled)[0])


@pytest.mark.parametrize(
    ("recipe", "pooled", "millions"), [(parajuli.deeprank, 2_048 + 2 * 864, 72.7), (parajuli.triplet, 51_200, 36.8)]
)
def test_the_networks_have_the_published_widths_and_about_the_published_parameters(recipe, pooled, millions):
    (settings,) = recipe().trained
    bare = config.replace(settings, backbone=config.replace(settings.backbone, pretrained="none"), stages=())
    with torch.device("meta"):
        network = build(bare)
    assert network.pooled_dim == pooled
    # Keras' convolutions have biases, which timm's have not.
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.15)


def test_shallow_branches_fit_one_size_and_want_their_head():
    with pytest.raises(ValueError, match="64 pixels only"):
        config.replace(SMALL, scales=(32, 64))
    with pytest.raises(ValueError, match="go together"):
        config.replace(SMALL, head=config.Head())
