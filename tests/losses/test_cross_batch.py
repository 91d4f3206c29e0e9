import pytest
import torch
import torch.nn.functional as F

from isckit.config import Loss
from isckit.losses.cross_batch import CrossBatchLoss
from isckit.types import BadInput


def unit(rows, dim=8, seed=0):
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)


def contrastive_by_loops(batch, labels, memory, memory_labels, own_start, positive, negative):
    """Mean over active pairs of each kind; the entry that is the anchor itself is no pair."""
    pos, neg = [], []
    for i, (x, label) in enumerate(zip(batch, labels, strict=True)):
        for j, (m, other) in enumerate(zip(memory, memory_labels, strict=True)):
            if j == own_start + i:
                continue
            distance = float((x - m).norm())
            if label == other:
                pos.append(max(0.0, distance - positive))
            else:
                neg.append(max(0.0, negative - distance))
    mean = lambda values: sum(values) / max(1, len(values))  # noqa: E731
    return mean([v for v in pos if v > 0]) + mean([v for v in neg if v > 0])


@pytest.mark.parametrize("margins", [(0.0, 1.0), (0.2, 1.3)])
def test_contrastive_equals_plain_loops_over_the_memory(margins):
    loss = CrossBatchLoss(Loss(positive_margin=margins[0], negative_margin=margins[1], memory=16), dim=8, batch_rows=6)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    first, second = unit(6, seed=1), unit(6, seed=2)
    loss(first, labels)
    memory, memory_labels = torch.cat([first, second]), labels.repeat(2)
    expected = contrastive_by_loops(second, labels, memory, memory_labels, 6, *margins)
    assert float(loss(second, labels)) == pytest.approx(expected, rel=1e-5)


def test_infonce_of_identical_embeddings_is_the_log_of_the_candidates():
    loss = CrossBatchLoss(Loss(kind="infonce", memory=8), dim=4, batch_rows=8)
    same = F.normalize(torch.ones(8, 4), dim=-1)
    value = loss(same, torch.arange(4).repeat(2))
    assert float(value) == pytest.approx(torch.log(torch.tensor(7.0)).item(), rel=1e-4)


def test_the_memory_keeps_the_newest_rows_and_brings_no_gradient():
    loss = CrossBatchLoss(Loss(memory=8), dim=8, batch_rows=6)
    loss(unit(6, seed=1), torch.arange(3).repeat(2))
    batch = unit(6, seed=2).requires_grad_()
    loss(batch, torch.arange(3).repeat(2)).backward()
    assert batch.grad is not None and torch.isfinite(batch.grad).all()
    assert not loss.memory.embedding_memory.requires_grad
    stored = {tuple(row) for row in loss.memory.embedding_memory.tolist()}
    assert {tuple(row) for row in batch.detach().tolist()} <= stored


def test_a_restored_state_gives_the_same_next_loss():
    settings = Loss(kind="infonce", memory=20)
    first = CrossBatchLoss(settings, dim=8, batch_rows=6)
    for seed in range(5):
        first(unit(6, seed=seed), torch.arange(3).repeat(2))
    second = CrossBatchLoss(settings, dim=8, batch_rows=6)
    second.load(first.state())
    batch, labels = unit(6, seed=9), torch.arange(3).repeat(2)
    assert float(first(batch, labels)) == float(second(batch, labels))
    assert first.state()["next"] == second.state()["next"] and second.state()["full"]


def test_a_memory_smaller_than_a_batch_is_refused():
    with pytest.raises(BadInput, match="batch_images"):
        CrossBatchLoss(Loss(memory=5), dim=8, batch_rows=6)
