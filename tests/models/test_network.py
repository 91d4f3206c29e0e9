import numpy as np
import pytest
import torch
from torchvision.transforms.v2.functional import InterpolationMode, resize

from isckit import config
from isckit.models.members import load, prefixed
from isckit.models.network import EmbeddingNetwork
from isckit.types import BadInput
from isckit.views.geometry import view_set

SMALL = config.Network(backbone=config.Backbone(name="test_resnet"), dim=16, image_size=32, canvas=64, stages=())
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
    model = EmbeddingNetwork(config.replace(SMALL, backbone=config.Backbone(name=backbone), image_size=side)).eval()
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


def test_normalisation_travels_with_the_weights():
    imagenet = config.Backbone(name="test_vit", normalisation="imagenet")
    weights = EmbeddingNetwork(config.replace(SMALL, backbone=imagenet)).state_dict()
    assert weights["mean"].flatten().tolist() == pytest.approx([0.485 * 255, 0.456 * 255, 0.406 * 255])
    assert weights["std"].flatten().tolist() == pytest.approx([0.229 * 255, 0.224 * 255, 0.225 * 255])
    own = EmbeddingNetwork(config.replace(SMALL, backbone=config.Backbone(name="test_vit"))).state_dict()
    assert own["mean"].flatten().tolist() == pytest.approx([127.5] * 3)


def test_outputs_are_the_steps_to_the_embedding(network):
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        out = network.outputs(images)
        again, direct = network(images), network.head(out.pooled)[0]
    assert torch.equal(again, out.embedding) and torch.allclose(out.narrow, direct)
    assert out.features.shape == (3, network.pooled_dim, 1, 1)
    assert torch.allclose(out.pooled, out.features.flatten(1).clamp(min=1e-6), rtol=1e-4)
    assert out.wide is out.pooled and network.wide_dim == network.pooled_dim == 96
    assert torch.allclose(out.embedding, out.narrow / out.narrow.norm(dim=-1, keepdim=True), atol=1e-6)


def test_the_projector_is_between_the_pooled_features_and_the_embedding():
    head = config.Head(kind="projector", widths=(24, 48))
    model = EmbeddingNetwork(config.replace(SMALL, head=head))
    out = model.outputs(torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8))
    assert [tuple(part.shape) for part in out[:4]] == [(4, 16), (4, 16), (4, 48), (4, 96)]
    assert (model.dim, model.wide_dim, model.pooled_dim) == (16, 48, 96)


def test_the_power_at_test_holds_in_evaluation_only(network):
    other = EmbeddingNetwork(config.replace(SMALL, gem_p=3.0, gem_p_at_test=1.0)).eval()
    other.load_state_dict(network.state_dict())
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    with torch.inference_mode():
        features = network.outputs(images).features
        assert torch.allclose(other.outputs(images).pooled, features.clamp(min=1e-6).mean((2, 3)), atol=1e-6)
        assert not torch.allclose(network.outputs(images).pooled, other.outputs(images).pooled, atol=1e-3)


@pytest.mark.parametrize("flip", [False, True])
def test_scales_are_the_mean_of_unit_vectors_made_one_by_one(network, flip):
    several = EmbeddingNetwork(config.replace(SMALL, scales=(24, 32, 64), flip=flip)).eval()
    several.load_state_dict(network.state_dict())
    canvas = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    views = view_set(("quarters",))
    with torch.inference_mode():
        vectors = several.embed(canvas, views)
        quarter = canvas[:, :, 32:, :32]
        parts = []
        for side in (24, 32, 64):
            sized = resize(quarter, [side, side], interpolation=InterpolationMode.BICUBIC, antialias=True)
            parts += [network(sized), network(sized.flip(-1))] if flip else [network(sized)]
        mean = torch.stack(parts).mean(0)
    expected = mean / mean.norm(dim=-1, keepdim=True)
    assert torch.allclose(vectors[:, [v.name for v in views].index("quarter_10")], expected, atol=1e-5)


def test_a_scale_larger_than_the_canvas_is_refused():
    with pytest.raises(BadInput, match="canvas of 64 pixels"):
        EmbeddingNetwork(config.replace(SMALL, scales=(32, 65)))


def test_a_256_pixel_image_gives_visionforces_network_a_map_of_16():
    backbone = config.Backbone(name="resnet10t", stride16=True, wave=True)
    model = EmbeddingNetwork(config.replace(SMALL, backbone=backbone))
    assert model.outputs(torch.zeros(2, 3, 256, 256, dtype=torch.uint8)).features.shape[1:] == (512, 16, 16)
    assert model.state_dict()["pool.p"].shape == ()


def test_weights_come_back_under_their_members_names(network):
    members = load(recipe(), prefixed("network", network.state_dict()), device=CPU)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(members[0](images), network(images))


@pytest.mark.parametrize("change", ["missing", "unknown", "shape", "foreign"])
def test_weights_that_do_not_fit_are_refused_by_name(network, change):
    weights = prefixed("network", network.state_dict())
    if change == "missing":
        del weights["network.head.fc.weight"]
    elif change == "unknown":
        weights["network.extra"] = torch.zeros(1)
    elif change == "shape":
        weights["network.head.fc.weight"] = weights["network.head.fc.weight"][:, :-1]
    else:
        weights["other.head.fc.weight"] = torch.zeros(1)
    with pytest.raises(BadInput, match=r"fc\.weight|extra"):
        load(recipe(), weights, device=CPU)


def test_a_local_weight_file_initialises_the_backbone_and_its_classifier_is_left_out(tmp_path):
    import timm

    source = timm.create_model("test_resnet", pretrained=False, num_classes=10)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    settings = config.Backbone(name="test_resnet", pretrained=str(tmp_path / "weights.pth"))
    model = EmbeddingNetwork(config.replace(SMALL, backbone=settings))
    loaded = model.backbone.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in source.state_dict().items() if key in loaded)


def test_a_weight_file_of_another_backbone_is_refused(tmp_path):
    torch.save({"something.weight": torch.zeros(3)}, tmp_path / "weights.pth")
    settings = config.Backbone(name="test_resnet", pretrained=str(tmp_path / "weights.pth"))
    with pytest.raises(BadInput, match="missing"):
        EmbeddingNetwork(config.replace(SMALL, backbone=settings))


def test_members_are_loaded_without_their_first_weights(tmp_path, network):
    gone = config.Backbone(name="test_resnet", pretrained=str(tmp_path / "gone.pth"))
    weights = prefixed("network", network.state_dict())
    assert load(recipe(config.replace(SMALL, backbone=gone)), weights, device=CPU)[0].training is False


def test_class_token_pooling_takes_the_first_token_and_nothing_else():
    settings = config.Network(backbone=config.Backbone(name="test_vit"), pooling="token", dim=8, stages=())
    network = EmbeddingNetwork(settings).eval()
    tokens = torch.randn(3, 101, 64)
    network.backbone.forward_features = lambda x: tokens
    other = tokens.clone()
    other[:, 1:] += 1.0
    images = torch.zeros(3, 3, 160, 160, dtype=torch.uint8)
    before = network.outputs(images)
    torch.testing.assert_close(before.pooled, tokens[:, 0])
    network.backbone.forward_features = lambda x: other
    assert torch.equal(network(images), before.embedding)


def test_mean_pooling_keeps_negative_features():
    settings = config.Network(backbone=config.Backbone(name="test_resnet"), pooling="mean", dim=8, stages=())
    network = EmbeddingNetwork(settings).eval()
    features = -torch.rand(2, network.pooled_dim, 4, 4)
    network.backbone.forward_features = lambda x: features
    pooled = network.outputs(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).pooled
    torch.testing.assert_close(pooled, features.mean((-2, -1)))
