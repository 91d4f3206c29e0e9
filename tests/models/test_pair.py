import numpy as np
import pytest
import torch
import torch.nn.functional as F

from isckit import config
from isckit.models.network import EmbeddingNetwork
from isckit.models.pair import PairClassifier, begin_with, load_pair
from isckit.types import BadInput

VIT = config.PairNetwork(backbone=config.Backbone(name="test_vit", normalisation="imagenet"), image_size=64, canvas=64)
TOKENS = config.replace(VIT, backbone=config.Backbone(name="test_resnet"), tokens=16)


def made(settings=VIT, seed=0):
    torch.manual_seed(seed)
    return PairClassifier(settings).eval()


def pictures(count=2, seed=0, height=50, width=70):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (count, 3, height, width), dtype=np.uint8))


def patches(network, references, queries):
    """(B, rows, columns, width) patch embeddings, before any attention."""
    joined = torch.cat([network.describe(references), network.describe(queries)], dim=-1)
    tokens = network.backbone.patch_embed.proj(network._normalised(joined))
    assert tokens.shape[-2:] == (4, 4)
    return tokens.permute(0, 2, 3, 1)


@torch.no_grad()
def test_patch_columns_of_the_left_half_depend_on_the_reference_alone():
    network, (first, second, third) = made(), (pictures(1, seed) for seed in range(3))
    base, other_query = patches(network, first, second), patches(network, first, third)
    other_reference = patches(network, third, second)
    half = base.shape[2] // 2
    torch.testing.assert_close(base[:, :, :half], other_query[:, :, :half], rtol=0, atol=0)
    torch.testing.assert_close(base[:, :, half:], other_reference[:, :, half:], rtol=0, atol=0)
    assert not torch.equal(base[:, :, half:], other_query[:, :, half:])
    assert not torch.equal(base[:, :, :half], other_reference[:, :, :half])


def test_the_published_grid_has_seven_columns_a_side():
    settings = config.PairNetwork()
    assert (settings.image_size // 2) % 16 == 0 and settings.image_size // 16 == 14


@torch.no_grad()
def test_the_picture_is_the_two_squeezed_images_side_by_side_in_imagenets_statistics():
    network, white, black = made(), torch.full((1, 3, 9, 30), 255, dtype=torch.uint8), torch.zeros(1, 3, 30, 9).byte()
    seen = []
    network.backbone.forward_features = lambda x: seen.append(x) or torch.zeros(1, 17, network.backbone.num_features)
    network(white, black)
    (picture,) = seen
    assert picture.shape == (1, 3, 64, 64)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    torch.testing.assert_close(picture[0, :, :, :32], ((1 - mean) / std).expand(3, 64, 32))
    torch.testing.assert_close(picture[0, :, :, 32:], (-mean / std).expand(3, 64, 32))


@torch.no_grad()
def test_the_logit_is_linear_in_the_class_token_without_bias():
    network, (a, b) = made(), (pictures(2, 1), pictures(2, 2))
    assert network.logit.bias is None
    joined = torch.cat([network.describe(a), network.describe(b)], dim=-1)
    token = network.backbone.forward_features(network._normalised(joined))[:, 0]
    torch.testing.assert_close(network(a, b), (token @ network.logit.weight.T)[:, 0])


@torch.no_grad()
@pytest.mark.parametrize("settings", [VIT, TOKENS])
def test_grey_networks_see_no_colour_and_others_do(settings):
    colour = pictures(2)
    luma = (colour.float() * torch.tensor([0.2989, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    grey = luma.round().byte().expand(-1, 3, -1, -1).contiguous()
    for wanted in (True, False):
        network = made(config.replace(settings, grey=wanted))
        first, second = (network.describe(side).float() for side in (colour, grey))
        difference = float((first - second).abs().mean() / first.std())
        assert (difference < 0.05) is wanted, difference


@torch.no_grad()
@pytest.mark.parametrize("settings", [VIT, TOKENS])
def test_a_score_does_not_depend_on_the_other_pairs_of_the_batch(settings):
    network, (a, b) = made(settings), (pictures(5, 1), pictures(5, 2))
    together = network(a, b)
    alone = torch.cat([network(a[i : i + 1], b[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_attention_finds_each_token_in_the_other_image_whatever_the_order():
    network = made(TOKENS)
    tokens = F.normalize(torch.randn(1, 6, 16), dim=-1)
    other = F.normalize(torch.randn(1, 6, 16), dim=-1)
    torch.nn.init.normal_(network.attention.logit.weight)
    shuffled = network.compare(tokens, other[:, torch.randperm(6)])
    torch.testing.assert_close(network.compare(tokens, other), shuffled)
    network.attention.sharpness.fill_(6.0)
    found = network.attention._found(tokens, tokens.flip(1), tokens @ tokens.flip(1).transpose(1, 2))
    itself = network.attention.evidence(torch.cat([tokens * tokens * 16, torch.full((1, 6, 1), 4.0)], dim=-1))
    torch.testing.assert_close(found[0], torch.ones(1, 1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[1], itself.mean(1), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_comparing_tokens_begins_as_the_mean_of_their_best_cosines():
    network = made(TOKENS)
    tokens, other = (F.normalize(torch.randn(3, count, 16), dim=-1) for count in (6, 5))
    wanted = []
    for a, b in zip(tokens, other, strict=True):
        cosines = a @ b.T
        wanted.append(10 * (cosines.max(1).values.mean() + cosines.max(0).values.mean()) - 15)
    torch.testing.assert_close(network.compare(tokens, other), torch.stack(wanted), rtol=1e-4, atol=1e-4)


def test_training_leaves_batch_statistics_as_they_are():
    network = made(TOKENS).train()
    before = {key: value.clone() for key, value in network.named_buffers()}
    network(pictures(4, 1), pictures(4, 2)).sum().backward()
    assert all(torch.equal(before[key], value) for key, value in network.named_buffers())
    assert any("running_mean" in key for key in before)


def test_a_network_begins_with_the_backbone_of_a_member_of_its_kind():
    member = EmbeddingNetwork(config.Network(backbone=config.Backbone(name="test_resnet"), dim=8, stages=()))
    network = made(TOKENS, seed=4)
    begin_with(network, member.state_dict())
    assert all(torch.equal(v, network.backbone.state_dict()[k]) for k, v in member.backbone.state_dict().items())
    with pytest.raises(BadInput, match="do not fit"):
        begin_with(made(VIT), member.state_dict())


def test_loading_takes_the_networks_own_tensors_and_names_what_is_wrong():
    network = made(VIT, seed=3)
    table = {f"pairs.{key}": value for key, value in network.state_dict().items()} | {"other.x": torch.zeros(1)}
    loaded = load_pair(VIT, table, device=torch.device("cpu"))
    a, b = pictures(1, 1), pictures(1, 2)
    assert torch.equal(loaded(a, b), network(a, b)) and not loaded.training
    del table["pairs.logit.weight"]
    with pytest.raises(BadInput, match=r"logit\.weight"):
        load_pair(VIT, table, device=torch.device("cpu"))
