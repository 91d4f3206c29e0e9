import pytest
import torch
from losses.making import batch

from isckit import config
from isckit.losses.build import build
from isckit.models.network import EmbeddingNetwork
from isckit.types import BadInput

NETWORK = config.Network(
    backbone=config.Backbone(name="test_resnet"),
    head=config.Head(kind="projector", widths=(12, 24)),
    dim=8,
    image_size=32,
)
LOSSES = [
    config.Contrastive(memory=40),
    config.InfoNce(memory=40),
    config.NtXent(),
    config.ArcFace(),
    config.TwoHeads(),
    config.BarlowTwins(width=16),
    config.MomentumTeacher(hidden=16, width=8),
]
PIXELS = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return EmbeddingNetwork(NETWORK).train()


@pytest.mark.parametrize("settings", LOSSES, ids=lambda settings: settings.kind)
def test_every_loss_takes_the_networks_outputs_and_teaches_it(network, settings):
    objective = build(settings, network, classes=4, batch_rows=8).train()
    parts = objective(network.outputs(PIXELS), batch([0, 0, 1, 1, 2, 2, 3, 3], pixels=PIXELS))
    network.zero_grad()
    parts["loss"].backward()
    assert all(part.ndim == 0 and torch.isfinite(part) for part in parts.values())
    assert any(p.grad is not None and p.grad.any() for p in network.backbone.parameters())
    assert all(p.grad is not None for p in objective.parameters() if p.requires_grad)
    objective.after_step(network, progress=0.1)
    assert objective.result(network) is network


def test_compatibility_is_given_its_anchor(network):
    anchor = EmbeddingNetwork(NETWORK)
    settings = config.Compatibility(memory=40, prototypes=8, restored_size=16)
    assert build(settings, network, classes=4, batch_rows=8, anchor=anchor).wants_plain
    with pytest.raises(AssertionError, match="anchor"):
        build(settings, network, classes=4, batch_rows=8)


@pytest.mark.parametrize("settings", [config.Contrastive(memory=7), config.InfoNce(memory=7)])
def test_a_memory_of_less_than_a_batch_is_refused(network, settings):
    with pytest.raises(BadInput, match="8 embeddings a batch"):
        build(settings, network, classes=4, batch_rows=8)
