import math

import pytest
import torch
from losses.making import rows

from isckit.losses.triplet import batch_hard


def by_loops(points, labels):
    losses = []
    for i, x in enumerate(points):
        distances = [(x - y).norm() if j != i else torch.zeros(()) for j, y in enumerate(points)]
        farthest = max(d for j, d in enumerate(distances) if labels[j] == labels[i])
        nearest = min(d for j, d in enumerate(distances) if labels[j] != labels[i])
        losses.append((farthest - nearest).exp().log1p())
    return sum(losses) / len(losses)


@pytest.mark.parametrize("labels", [[0, 0, 0, 1, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1, 0, 1], [0, 0, 1, 2, 3, 4, 5, 6]])
def test_value_and_gradient_equal_plain_loops_on_vectors_of_any_length(labels):
    points, twin = ((4 * rows(8, seed=5)).requires_grad_() for _ in range(2))
    loss, expected = batch_hard(points, torch.tensor(labels)), by_loops(twin, labels)
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert torch.allclose(points.grad, twin.grad, atol=1e-5)


def test_of_points_on_a_line():
    # Farthest copies and nearest others: (2, 1), (2, 1), (3, 1) and (3, 1) away.
    points, labels = torch.tensor([[0.0], [2.0], [1.0], [4.0]]), torch.tensor([0, 0, 1, 1])
    expected = (math.log1p(math.exp(2 - 1)) * 2 + math.log1p(math.exp(3 - 1)) + math.log1p(math.exp(3 - 2))) / 4
    assert float(batch_hard(points, labels)) == pytest.approx(expected, rel=1e-5)


def test_of_equal_points_it_is_log_2_with_a_finite_gradient():
    points = torch.zeros(4, 8, requires_grad=True)
    loss = batch_hard(points, torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.log(2)) and torch.isfinite(points.grad).all()


def test_one_image_alone_has_no_loss():
    points = rows(3).requires_grad_()
    loss = batch_hard(points, torch.zeros(3, dtype=torch.int64))
    loss.backward()
    assert float(loss.detach()) == 0 and not points.grad.any()
