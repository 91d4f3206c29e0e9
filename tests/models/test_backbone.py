import pytest
import timm
import torch
from torch import nn

from isckit import config
from isckit.models.backbone import backbone, normalisation
from isckit.models.layers import InstanceBatchNorm, WaveBlock
from isckit.types import BadInput


def on_meta(**changes):
    with torch.device("meta"):
        return backbone(config.Backbone(**changes)).eval()


def map_shape(model, side):
    return tuple(model.forward_features(torch.empty(1, 3, side, side, device="meta")).shape[1:])


def test_lyakaaps_backbone_gives_512_channels_at_stride_32_and_keeps_timms_names():
    model = on_meta(name="tf_efficientnetv2_m", cut="stages")
    assert map_shape(model, 256) == (512, 8, 8) and model.num_features == 512
    with torch.device("meta"):
        features = timm.create_model("tf_efficientnetv2_m", features_only=True)
    assert model.state_dict().keys() == features.state_dict().keys()
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(52.2e6, rel=0.01)
    assert map_shape(on_meta(name="tf_efficientnetv2_m"), 256) == (1280, 8, 8)


def test_the_cut_map_is_the_last_of_timms_feature_pyramid():
    model = backbone(config.Backbone(name="test_efficientnet", cut="stages")).eval()
    features = timm.create_model("test_efficientnet", features_only=True, out_indices=(-1,)).eval()
    features.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(model.forward_features(x), features(x)[0], atol=1e-6)


@pytest.mark.parametrize("name", ["resnet50", "resnet10t", "resnet18", "resnet50t", "resnetaa50", "resnext50_32x4d"])
def test_stride_16_gives_a_map_of_16_from_256_pixels_under_the_same_names(name):
    model, plain = on_meta(name=name, stride16=True), on_meta(name=name)
    assert map_shape(model, 256)[1:] == (16, 16) and map_shape(plain, 256)[1:] == (8, 8)
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}


def test_stride_16_is_the_plain_map_where_that_has_a_pixel():
    """Without its stride the last stage's first block computes the same at every second position."""
    plain = backbone(config.Backbone(name="resnet18")).eval()
    dense = backbone(config.Backbone(name="resnet18", stride16=True)).eval()
    dense.load_state_dict(plain.state_dict())
    x = torch.randn(1, 256, 6, 6)
    with torch.inference_mode():
        assert torch.allclose(dense.layer4[0](x)[:, :, ::2, ::2], plain.layer4[0](x), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "test_vit", "stride16": True, "wave": True}, "stride16, wave for ResNets"),
        ({"name": "test_efficientnet", "ibn": True}, "ibn for ResNets"),
        ({"name": "mobilenetv4_conv_small", "cut": "stages"}, "EfficientNets"),
        ({"name": "resnetblur50", "stride16": True}, "BlurPool2d"),
        ({"name": "resnet50", "ibn": True, "pretrained": "hub"}, "timm's weights"),
        ({"name": "resnet_of_nobody"}, "timm model name"),
    ],
)
def test_a_change_that_does_not_fit_is_refused(changes, words):
    with pytest.raises(BadInput, match=words):
        on_meta(**changes)


def test_ibn_splits_the_first_norm_of_every_block_of_three_stages():
    model = on_meta(name="resnet50", ibn=True)
    split = [name for name, module in model.named_modules() if isinstance(module, InstanceBatchNorm)]
    blocks = {1: 3, 2: 4, 3: 6}
    assert split == [f"layer{stage}.{i}.bn1" for stage, count in blocks.items() for i in range(count)]
    assert "layer1.0.bn1.IN.running_mean" not in model.state_dict()
    assert model.layer3[0].bn1.IN.weight.shape == model.layer3[0].bn1.BN.running_var.shape == (128,)


def test_ibn_is_instance_norm_of_one_half_and_batch_norm_of_the_other():
    x = torch.randn(4, 6, 5, 5) * 3 + 1
    out = InstanceBatchNorm(6)(x)
    assert torch.allclose(out[:, :3].mean((2, 3)), torch.zeros(4, 3), atol=1e-5)
    assert torch.allclose(out[:, 3:].mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert float(out.detach()[:, 3:].mean((2, 3)).abs().max()) > 0.01
    assert torch.allclose(out[:, 3:].var((0, 2, 3), unbiased=False), torch.ones(3), atol=1e-4)


def test_waves_come_after_the_second_and_third_stage_and_have_no_weights():
    model, plain = on_meta(name="resnet50", wave=True), on_meta(name="resnet50")
    waves = [name for name, module in model.named_modules() if isinstance(module, WaveBlock)]
    assert waves == ["layer2.4", "layer3.6"]
    assert model.state_dict().keys() == plain.state_dict().keys()


def test_a_changed_backbone_gives_the_same_gradient_under_checkpointing():
    torch.manual_seed(0)
    model = backbone(config.Backbone(name="test_resnet", stride16=True, ibn=True, wave=True))
    x, gradients = torch.randn(2, 3, 64, 64), []
    for checkpointing in (False, True):
        model.set_grad_checkpointing(checkpointing)
        model.zero_grad()
        torch.manual_seed(1)
        model.forward_features(x).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert torch.allclose(*gradients, atol=1e-6) and gradients[0].abs().max() > 0


def test_input_normalisation_is_the_backbones_or_imagenets():
    model = nn.Module()
    model.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    assert normalisation(model, "backbone") == {"mean": (0.5,) * 3, "std": (0.25,) * 3}
    assert normalisation(model, "imagenet") == {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    m = on_meta(name="tf_efficientnetv2_m", cut="stages")
    assert normalisation(m, "backbone") == {"mean": (0.5,) * 3, "std": (0.5,) * 3}


def test_last_blocks_are_their_mean_tokens_the_last_stage_normed():
    images = torch.rand(2, 3, 224, 224)
    torch.manual_seed(0)
    plain = backbone(config.Backbone(name="swin_tiny_patch4_window7_224")).eval()
    for norm in (module for module in plain.modules() if isinstance(module, nn.LayerNorm)):
        norm.eps = 1e-6  # EsViT's; timm's is ten times as large
    torch.manual_seed(0)
    last = backbone(config.Backbone(name="swin_tiny_patch4_window7_224", blocks=3)).eval()
    with torch.no_grad():
        means = last.forward_features(images)
        map_of_last = plain.forward_features(images)
    assert last.num_features == 384 + 768 + 768
    assert means.shape == (2, last.num_features, 1, 1)
    # timm norms the map of the last block, and nothing comes after: its mean is the third part.
    torch.testing.assert_close(means[:, -768:, 0, 0], map_of_last.mean((1, 2)), atol=1e-5, rtol=1e-5)


def test_backbones_without_blocks_are_refused_where_blocks_are_asked_for():
    with pytest.raises(BadInput, match="last 4 blocks of a backbone with 0"):
        backbone(config.Backbone(name="resnet10t", blocks=4))
