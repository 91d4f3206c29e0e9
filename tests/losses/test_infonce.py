import math

import pytest
import torch
from losses.making import batch, outputs, unit, value_and_gradient
from pytorch_metric_learning.losses import CrossBatchMemory, SupConLoss

from isckit import config
from isckit.losses.contrastive import InfoNceObjective

LABELS = [torch.tensor(labels) for labels in ([0, 1, 2, 0, 1, 2], [3, 3, 0, 0, 7, 7], [9, 8, 8, 5, 3, 0])]


def objective(temperature=0.05, memory=16, batch_rows=6, dim=8):
    return InfoNceObjective(config.InfoNce(temperature=temperature, memory=memory), dim=dim, batch_rows=batch_rows)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_value_and_gradient_are_those_of_pytorch_metric_learning_while_the_memory_fills_and_turns_over(temperature):
    loss = objective(temperature)
    library = CrossBatchMemory(SupConLoss(temperature), 8, 16)
    for step in range(6):
        embeddings, labels = unit(6, seed=step), LABELS[step % 3]
        value, gradient = value_and_gradient(loss, embeddings, labels)
        twin = embeddings.clone().requires_grad_()
        expected = library(twin, labels)
        expected.backward()
        assert value == pytest.approx(expected.item(), rel=1e-5)
        # The library's cosine normalises once more; of unit rows the gradient along the sphere is what counts.
        along = gradient - (gradient * embeddings).sum(1, keepdim=True) * embeddings
        assert torch.allclose(along, twin.grad, atol=1e-5)


def test_of_identical_embeddings_it_is_the_log_of_the_candidates():
    same = torch.eye(4)[[0] * 8]
    value = objective(memory=8, batch_rows=8, dim=4)(outputs(same), batch([0, 0, 1, 1, 2, 2, 3, 3]))["loss"]
    assert float(value) == pytest.approx(math.log(7), rel=1e-5)


def test_rows_without_a_positive_only_stand_against_others():
    embeddings = torch.eye(8)[[0, 0, 1, 2]]
    value = objective(1.0, batch_rows=4)(outputs(embeddings), batch([0, 0, 1, 2]))["loss"]
    assert float(value) == pytest.approx(math.log(math.e + 2) - 1, rel=1e-5)


def test_without_any_positive_there_is_no_loss():
    value, gradient = value_and_gradient(objective(batch_rows=2), unit(2), [0, 1])
    assert value == 0 and not gradient.any()
