import numpy as np
import pytest
import torch

from isckit import config
from isckit.models.members import load, prefixed
from isckit.models.network import EmbeddingNetwork
from isckit.types import BadInput
from isckit.views.geometry import view_set

SMALL = config.Network(backbone="test_resnet", dim=16, image_size=32, canvas=64, train=None)
CPU = torch.device("cpu")


def recipe(network=SMALL):
    return config.Recipe(name="t", members=(network, config.Gist()))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return EmbeddingNetwork(SMALL).eval()


@pytest.mark.parametrize(
    "backbone", ["test_resnet", "test_vit", "test_convnext", "mobilenetv4_conv_small", "swin_tiny_patch4_window7_224"]
)
def test_convolutional_token_and_windowed_backbones_give_unit_vectors(backbone):
    side = 224 if "swin" in backbone else 160 if "vit" in backbone else 64
    model = EmbeddingNetwork(config.replace(SMALL, backbone=backbone, image_size=side)).eval()
    with torch.inference_mode():
        out = model(torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8))
    assert out.shape == (2, 16) and out.dtype == torch.float32
    assert torch.allclose(out.norm(dim=-1), torch.ones(2), atol=1e-5)


def test_a_vector_does_not_depend_on_its_batch(network):
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        together, alone = network(images), torch.cat([network(image[None]) for image in images])
    assert torch.allclose(together, alone, atol=1e-5)


def test_the_whole_view_is_the_canvas_resized_and_a_window_is_cut_from_it(network):
    image = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    views = view_set(("quarters",))
    prepared = torch.from_numpy(network.prepare(image, views))[None]
    assert prepared.shape == (1, 3, 64, 64)
    with torch.inference_mode():
        vectors = network.embed(prepared, views)[0]
        # A quarter of the canvas has exactly the network's size, so it goes in as it is.
        quarter = network(prepared[:, :, 32:, :32])[0]
    assert torch.allclose(vectors[[v.name for v in views].index("quarter_10")], quarter, atol=1e-5)


def test_normalisation_travels_with_the_weights(network):
    weights = network.state_dict()
    assert weights["mean"].flatten().tolist() == pytest.approx([0.485 * 255, 0.456 * 255, 0.406 * 255], abs=0.6) or (
        weights["mean"].flatten().tolist() == pytest.approx([127.5] * 3)
    )


def test_weights_come_back_under_their_members_names(network):
    members = load(recipe(), prefixed("network", network.state_dict()), device=CPU)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(members[0](images), network(images))


@pytest.mark.parametrize("change", ["missing", "unknown", "shape", "foreign"])
def test_weights_that_do_not_fit_are_refused_by_name(network, change):
    weights = prefixed("network", network.state_dict())
    if change == "missing":
        del weights["network.fc.weight"]
    elif change == "unknown":
        weights["network.extra"] = torch.zeros(1)
    elif change == "shape":
        weights["network.fc.weight"] = weights["network.fc.weight"][:, :-1]
    else:
        weights["other.fc.weight"] = torch.zeros(1)
    with pytest.raises(BadInput, match=r"fc\.weight|extra"):
        load(recipe(), weights, device=CPU)


def test_a_local_weight_file_initialises_the_backbone_and_its_classifier_is_left_out(tmp_path):
    import timm

    source = timm.create_model("test_resnet", pretrained=False, num_classes=10)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    model = EmbeddingNetwork(config.replace(SMALL, pretrained=str(tmp_path / "weights.pth")))
    loaded = model.backbone.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in source.state_dict().items() if key in loaded)


def test_a_weight_file_of_another_backbone_is_refused(tmp_path):
    torch.save({"something.weight": torch.zeros(3)}, tmp_path / "weights.pth")
    with pytest.raises(BadInput, match="missing"):
        EmbeddingNetwork(config.replace(SMALL, pretrained=str(tmp_path / "weights.pth")))


def test_an_unknown_backbone_is_refused():
    with pytest.raises(BadInput, match="timm model name"):
        EmbeddingNetwork(config.replace(SMALL, backbone="resnet_of_nobody"))
