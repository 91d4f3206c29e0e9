import pytest
import torch

from isckit import config
from isckit.models.members import build
from isckit.types import BadInput


def network(**backbone):
    settings = config.Network(
        backbone=config.Backbone(name="test_resnet", **backbone), dim=8, image_size=32, canvas=64, stages=()
    )
    torch.manual_seed(0)
    return build(settings).train()


def changed(model):
    """Names of the parameters and buffers of the backbone that one step of training changes."""
    before = {key: value.clone() for key, value in model.backbone.state_dict().items()}
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    model(images).square().mul(torch.randn(8)).sum().backward()
    optimiser.step()
    after = model.backbone.state_dict()
    return {key for key in before if not torch.equal(before[key], after[key])}


def test_a_backbone_is_trained_whole_where_nothing_is_frozen():
    names = changed(network())
    assert any(name.startswith("conv1") for name in names) and any(name.startswith("layer4") for name in names)


def test_all_but_the_last_stage_keeps_weights_and_statistics_of_the_others():
    names = changed(network(frozen="but_last"))
    assert names and all(name.startswith("layer4") for name in names)
    assert any("running_mean" in name for name in names)


def test_a_frozen_backbone_keeps_everything():
    assert changed(network(frozen="all")) == set()


def test_frozen_statistics_stay_when_training_begins_again():
    model = network(frozen="all")
    assert not model.eval().train().backbone.bn1.training and model.head.training


def test_all_but_the_last_stage_is_for_resnets():
    settings = config.Backbone(name="test_efficientnet", frozen="but_last")
    with pytest.raises(BadInput, match="but_last"):
        build(config.Network(backbone=settings, dim=8, stages=()))
