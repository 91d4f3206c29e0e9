import math

import pytest
import torch
from losses.making import batch, outputs, rows

from isckit import config
from isckit.losses.triplet import batch_hard
from isckit.losses.two_heads import TwoHeadsObjective, soft_cross_entropy

LABELS = torch.tensor([0, 0, 2, 2])
WIDE, NARROW, POOLED = rows(4, 6, seed=1), rows(4, 3, seed=2), rows(4, 5, seed=3)


def objective(**settings):
    torch.manual_seed(0)
    made = TwoHeadsObjective(config.TwoHeads(**settings), wide=6, narrow=3, classes=4)
    for classifier in (made.wide, made.narrow):
        torch.nn.init.normal_(classifier.weight)
    return made


def parts(made, wide=WIDE, narrow=NARROW):
    return made(outputs(rows(4), wide=wide, narrow=narrow, pooled=POOLED), batch(LABELS))


def by_loops(logits, labels, smoothing):
    losses = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        logs = [value - math.log(sum(math.exp(v) for v in row)) for value in row]
        target = [smoothing / len(row) + (1 - smoothing) * (number == label) for number in range(len(row))]
        losses.append(-sum(t * log for t, log in zip(target, logs, strict=True)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize(("smoothing", "temperature"), [(0.1, 1.0), (0.0, 1.0), (0.3, 2.0)])
def test_the_sum_of_the_weighted_terms_equals_plain_loops(smoothing, temperature):
    weights = {"cross_entropy": 3.0, "soft": 0.7, "triplet": 0.2}
    made = objective(smoothing=smoothing, logit_temperature=temperature, **weights)
    wide, narrow = (
        (WIDE @ made.wide.weight.T / temperature).detach(),
        (NARROW @ made.narrow.weight.T / temperature).detach(),
    )
    expected = {
        "wide": by_loops(wide, LABELS, smoothing),
        "narrow": by_loops(narrow, LABELS, smoothing),
        "soft": float(-(wide.softmax(1) * narrow.log_softmax(1)).sum(1).mean()),
        "triplet": float(batch_hard(POOLED, LABELS)),
    }
    found = parts(made)
    assert {name: float(found[name].detach()) for name in expected} == pytest.approx(expected, rel=1e-5)
    total = 3 * (expected["wide"] + expected["narrow"]) + 0.7 * expected["soft"] + 0.2 * expected["triplet"]
    assert float(found["loss"].detach()) == pytest.approx(total, rel=1e-5)


def test_the_wide_head_learns_nothing_from_being_copied():
    made = objective(cross_entropy=0.0, triplet=0.0)
    wide, narrow = WIDE.clone().requires_grad_(), NARROW.clone().requires_grad_()
    parts(made, wide, narrow)["loss"].backward()
    assert not wide.grad.any() and not made.wide.weight.grad.any()
    assert narrow.grad.any() and made.narrow.weight.grad.any()


def test_copying_is_done_where_the_softmaxes_are_equal():
    logits = rows(4, 6).requires_grad_()
    soft_cross_entropy(logits, teacher=logits + 3).backward()
    assert torch.allclose(logits.grad, torch.zeros_like(logits), atol=1e-7)


def test_classifiers_start_near_zero_so_that_every_class_is_as_likely():
    made = TwoHeadsObjective(config.TwoHeads(), wide=64, narrow=32, classes=100)
    assert made.wide.weight.std().item() == pytest.approx(0.001, rel=0.1)
    found = made(outputs(rows(4), wide=rows(4, 64), narrow=rows(4, 32), pooled=POOLED), batch(LABELS))
    assert float(found["wide"].detach()) == pytest.approx(math.log(100), rel=1e-2)
    assert {name for name, _ in made.named_parameters()} == {"wide.weight", "narrow.weight"}


def test_where_the_wide_head_is_the_last_it_is_classified_once():
    made = TwoHeadsObjective(config.TwoHeads(cross_entropy=3.0, triplet=0.2, soft=0.7), wide=6, narrow=6, classes=4)
    assert sum(parameter.numel() for parameter in made.parameters()) == 6 * 4
    found = {name: float(value.detach()) for name, value in parts(made, narrow=WIDE).items()}
    assert found.keys() == {"loss", "wide", "triplet"}
    assert found["loss"] == pytest.approx(3 * found["wide"] + 0.2 * found["triplet"], rel=1e-5)
