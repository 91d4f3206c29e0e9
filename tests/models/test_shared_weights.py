"""Members that use the weights of another, weight files with parts that are no members, and networks that see grey."""

import numpy as np
import pytest
import torch
from PIL import Image

from isckit import config
from isckit.models.members import load, prefixed, read
from isckit.models.network import EmbeddingNetwork, greyed
from isckit.runs.checkpoints import write_weights
from isckit.types import BadInput
from isckit.views.geometry import view_set

SMALL = config.Network(backbone=config.Backbone(name="test_resnet"), dim=16, image_size=32, canvas=64, stages=())
LARGER = config.replace(SMALL, name="larger", image_size=64, weights_of="network")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return EmbeddingNetwork(SMALL).eval()


def recipe(*members, **settings):
    return config.Recipe(name="t", members=members, **settings)


def images(count=3, size=64):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, size, size), dtype=np.uint8))


def test_a_member_with_the_weights_of_another_has_its_tensors_at_its_own_settings(network):
    members = load(recipe(SMALL, LARGER), prefixed("network", network.state_dict()), device=CPU)
    for key, tensor in members[0].state_dict().items():
        assert members[1].state_dict()[key].data_ptr() == tensor.data_ptr(), key
    with torch.inference_mode():
        vectors = members[1].embed(images(), view_set(()))[:, 0]
        assert torch.allclose(vectors, network(images()), atol=1e-6)
        assert not torch.allclose(vectors, members[0].embed(images(), view_set(()))[:, 0], atol=1e-3)


def test_tensors_of_a_member_that_has_none_of_its_own_are_left_over(network):
    weights = prefixed("network", network.state_dict()) | prefixed("larger", network.state_dict())
    with pytest.raises(BadInput, match="no member"):
        load(recipe(SMALL, LARGER), weights, device=CPU)


@pytest.mark.parametrize(
    "members",
    [
        (config.replace(SMALL, weights_of="nowhere"),),
        (LARGER, SMALL),
        (config.Gist(name="network"), LARGER),
        (SMALL, LARGER, config.replace(LARGER, name="third", weights_of="larger")),
    ],
    ids=["unknown", "later", "without weights", "borrowed"],
)
def test_only_an_earlier_network_with_weights_of_its_own_lends_them(network, members):
    weights = prefixed("network", network.state_dict()) if SMALL in members else {}
    with pytest.raises(BadInput, match="uses the weights of"):
        load(recipe(*members), weights, device=CPU)


def test_weights_of_another_shape_are_refused_under_the_name_of_the_borrower(network):
    wider = config.replace(LARGER, dim=8)
    with pytest.raises(BadInput, match="weights of larger"):
        load(recipe(SMALL, wider), prefixed("network", network.state_dict()), device=CPU)


def test_a_published_network_is_read_though_two_members_use_it(network, tmp_path):
    write_weights(tmp_path / "w.safetensors", network.state_dict(), recipe="{}")
    weights = read(recipe(SMALL, LARGER), tmp_path / "w.safetensors")
    assert len(load(recipe(SMALL, LARGER), weights, device=CPU)) == 2


def test_tensors_of_the_detector_and_of_pair_networks_are_left_to_them(network):
    pairs = config.Pairs(networks=(config.PairNetwork(name="both"),), candidates=("views",))
    whole = recipe(SMALL, detector=config.Detector(), matching=config.Matching(branches=(config.Views(), pairs)))
    weights = prefixed("network", network.state_dict())
    more = {"detector.head.weight": torch.zeros(1), "both.head.weight": torch.zeros(1)}
    assert len(load(whole, weights | more, device=CPU)) == 1
    with pytest.raises(BadInput, match="other"):
        load(whole, weights | more | {"other.weight": torch.zeros(1)}, device=CPU)
    with pytest.raises(BadInput, match="detector"):
        load(recipe(SMALL), weights | more, device=CPU)


@pytest.mark.parametrize("training", [False, True])
def test_a_grey_network_sees_what_another_sees_of_the_grey_picture(network, training):
    grey = EmbeddingNetwork(config.replace(SMALL, grey=True))
    grey.load_state_dict(network.state_dict())
    plain = EmbeddingNetwork(SMALL)
    plain.load_state_dict(network.state_dict())
    pixels = images()
    channels = greyed(pixels).byte()
    luma = np.stack([np.asarray(Image.fromarray(p).convert("L")) for p in pixels.permute(0, 2, 3, 1).numpy()])
    far = np.abs(luma[:, None].astype(int) - channels.numpy())  # Pillow's luma is of fractions of 16 bits
    assert far.max() <= 1 and (far > 0).mean() < 0.01
    with torch.inference_mode():
        of_colour, of_grey = grey.train(training)(pixels), plain.train(training)(channels)
        assert torch.equal(of_colour, of_grey)
        assert not torch.allclose(of_colour, plain(pixels), atol=1e-2)
