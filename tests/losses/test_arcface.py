import math

import pytest
import torch
import torch.nn.functional as F
from losses.making import batch, outputs, rows, unit, value_and_gradient
from pytorch_metric_learning.losses import ArcFaceLoss

from isckit import config
from isckit.losses.arcface import ArcFaceObjective

LABELS = torch.tensor([0, 3, 3, 1])


def objective(weight=None, *, classes=5, **settings):
    made = ArcFaceObjective(config.ArcFace(**settings), dim=8, classes=classes)
    made.start_from(3 * rows(classes, seed=7) if weight is None else weight)
    return made


def by_loops(embeddings, labels, weight, scale, margin):
    losses = []
    for x, label in zip(embeddings, labels.tolist(), strict=True):
        logits = []
        for number, w in enumerate(weight):
            cosine = float(x @ w / w.norm())
            if number == label and cosine > math.cos(math.pi - margin):
                cosine = math.cos(math.acos(cosine) + margin)
            elif number == label:
                cosine -= margin * math.sin(margin)
            logits.append(scale * cosine)
        losses.append(math.log(sum(math.exp(logit - logits[label]) for logit in logits)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize(("scale", "margin"), [(40.0, 0.4), (5.0, 0.0), (10.0, 1.2)])
def test_equals_plain_loops(scale, margin):
    made = objective(scale=scale, margin=margin)
    # The first row lies opposite to its class, where the margin can no longer be added to the angle.
    embeddings = torch.cat([-F.normalize(made.weight.detach()[:1] + 0.2, dim=-1), unit(3)])
    expected = by_loops(embeddings, LABELS, made.weight.detach(), scale, margin)
    assert value_and_gradient(made, embeddings, LABELS)[0] == pytest.approx(expected, rel=1e-4)


def test_value_and_gradients_are_those_of_pytorch_metric_learning():
    made, library = objective(), ArcFaceLoss(5, 8, margin=math.degrees(0.4), scale=40)
    library.W.data = made.weight.detach().T.clone()
    embeddings = unit(4)
    value, gradient = value_and_gradient(made, embeddings, LABELS)
    twin = embeddings.clone().requires_grad_()
    expected = library(twin, LABELS)
    expected.backward()
    along = gradient - (gradient * embeddings).sum(1, keepdim=True) * embeddings
    assert value == pytest.approx(expected.item(), rel=1e-5)
    assert torch.allclose(along, twin.grad, atol=1e-4)
    assert torch.allclose(made.weight.grad, library.W.grad.T, atol=1e-4)


def test_without_margin_it_is_the_cross_entropy_of_the_cosines():
    made = objective(torch.eye(8), classes=8, margin=0.0, scale=2.0)
    value, _ = value_and_gradient(made, torch.eye(8), torch.arange(8))
    assert value == pytest.approx(math.log(1 + 7 * math.exp(-2)), rel=1e-4)


def test_lengths_of_class_weights_do_not_count():
    embeddings = unit(4)
    long, short = (value_and_gradient(objective(f * rows(5, seed=7)), embeddings, LABELS) for f in (9.0, 0.1))
    assert long[0] == pytest.approx(short[0], rel=1e-5) and torch.allclose(long[1], short[1], atol=1e-4)


def test_centroids_are_taken_as_they_are_and_class_weights_start_as_unit_vectors():
    made = ArcFaceObjective(config.ArcFace(), dim=8, classes=5)
    assert torch.allclose(made.weight.norm(dim=1), torch.ones(5))
    centroids = 0.3 * unit(5)
    made.start_from(centroids)
    assert torch.equal(made.weight.detach(), centroids) and made.weight.requires_grad
    assert torch.equal(made.state_dict()["weight"], centroids)


def test_gradients_are_finite_on_and_opposite_to_a_class():
    embeddings = torch.eye(8)[[0, 1]] * torch.tensor([[1.0], [-1.0]])
    made = objective(torch.eye(8), classes=8)
    made(outputs(embeddings.requires_grad_()), batch([0, 1]))["loss"].backward()
    assert torch.isfinite(embeddings.grad).all() and torch.isfinite(made.weight.grad).all()
