import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from isckit.config import Compatibility
from isckit.losses.distillation import SelfDistillation


class Net(nn.Module):
    dim = 4

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 4)
        self.bn = nn.BatchNorm1d(4)


def unit(rows, seed):
    return F.normalize(torch.randn(rows, 4, generator=torch.Generator().manual_seed(seed)), dim=-1)


def part(**changes):
    torch.manual_seed(0)
    return SelfDistillation(Compatibility(prototypes=5, **changes), Net())


def test_the_loss_is_the_cross_entropy_of_centred_sharpened_shares():
    loss = part(student_temperature=0.2, teacher_temperature=0.05)
    loss.centre.copy_(torch.linspace(-0.1, 0.1, 5))
    centre = loss.centre.clone()
    loss.prototypes_of_teacher.copy_(3 * unit(5, 7))
    given, taught, anchors = unit(4, 1), unit(2, 2), torch.tensor([0, 0, 1, 1])
    total = 0.0
    for row, anchor in zip(given, anchors, strict=True):
        wanted = torch.softmax((unit(5, 7) @ taught[anchor] - centre) / 0.05, 0)
        total -= float((wanted * torch.log_softmax(F.normalize(loss.prototypes, dim=-1) @ row / 0.2, 0)).sum())
    assert float(loss(given, taught, anchors)) == pytest.approx(total / 4, rel=1e-5)


def test_the_centre_is_the_running_mean_of_the_teachers_logits():
    loss = part(centre_momentum=0.75)
    expected = torch.zeros(5)
    for seed in range(3):
        taught = unit(2, seed)
        loss(unit(2, 9), taught, torch.arange(2))
        expected = 0.75 * expected + 0.25 * (taught @ F.normalize(loss.prototypes_of_teacher, dim=-1).T).mean(0)
        torch.testing.assert_close(loss.centre, expected)


@pytest.mark.parametrize(("progress", "momentum"), [(0.0, 0.9), (0.5, 0.95), (1.0, 1.0)])
def test_the_teacher_follows_with_a_momentum_that_rises_to_one(progress, momentum):
    loss, network = part(teacher_momentum=0.9), Net()
    network.bn.running_mean.fill_(3)
    with torch.no_grad():
        loss.prototypes.add_(1)
    before, old = copy.deepcopy(loss.teacher), loss.prototypes_of_teacher.clone()
    loss.after_step(network, progress=progress)
    for now, was, new in zip(loss.teacher.parameters(), before.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(now, momentum * was + (1 - momentum) * new)
    torch.testing.assert_close(loss.prototypes_of_teacher, momentum * old + (1 - momentum) * loss.prototypes.detach())
    assert torch.equal(loss.teacher.bn.running_mean, torch.full((4,), 3.0))


def test_gradient_reaches_students_and_prototypes_but_not_the_teacher():
    loss = part()
    given, taught = unit(2, 1).requires_grad_(), unit(2, 2).requires_grad_()
    loss(given, taught, torch.arange(2)).backward()
    assert given.grad is not None and loss.prototypes.grad is not None and taught.grad is None
    assert not any(p.requires_grad for p in loss.teacher.parameters())


def test_the_teacher_stays_in_evaluation_mode():
    loss = part().train()
    assert loss.training and not loss.teacher.training and not loss.teacher.bn.training
