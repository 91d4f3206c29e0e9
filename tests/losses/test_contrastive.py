import pytest
import torch
from losses.making import batch, outputs, rows, unit, value_and_gradient
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import ContrastiveLoss, CrossBatchMemory

from isckit import config
from isckit.losses.contrastive import ContrastiveObjective

LABELS = [torch.tensor(labels) for labels in ([0, 1, 2, 0, 1, 2], [3, 3, 0, 0, 7, 7], [9, 8, 8, 9, 3, 0])]
MARGINS = pytest.mark.parametrize("margins", [(0.0, 1.0), (1.4, 1.3), (0.0, 0.01)])


def objective(margins=(0.0, 1.0), memory=16):
    settings = config.Contrastive(positive_margin=margins[0], negative_margin=margins[1], memory=memory)
    return ContrastiveObjective(settings, dim=8, batch_rows=6)


def by_loops(embeddings, labels, memory, own_start, positive, negative):
    """Mean over active pairs of each kind; the entry that is the anchor itself is no pair."""
    terms = {True: [], False: []}
    for i, (x, label) in enumerate(zip(embeddings, labels, strict=True)):
        for j, (m, other) in enumerate(memory):
            distance = float((x - m).norm())
            if j != own_start + i:
                same = bool(label == other)
                terms[same].append(max(0.0, distance - positive if same else negative - distance))
    active = {same: [term for term in found if term > 0] for same, found in terms.items()}
    return [sum(active[same]) / max(1, len(active[same])) for same in (True, False)]


@MARGINS
def test_equals_plain_loops_over_the_memory(margins):
    loss = objective(margins)
    first, second = unit(6, seed=1), unit(6, seed=2)
    loss(outputs(first), batch(LABELS[0]))
    memory = list(zip(torch.cat([first, second]), torch.cat(LABELS[:2]), strict=True))
    positive, negative = by_loops(second, LABELS[1], memory, 6, *margins)
    parts = loss(outputs(second), batch(LABELS[1]))
    assert float(parts["positive_loss"]) == pytest.approx(positive, rel=1e-5)
    assert float(parts["negative_loss"]) == pytest.approx(negative, rel=1e-5)
    assert float(parts["loss"]) == pytest.approx(positive + negative, rel=1e-5)


@MARGINS
def test_value_and_gradient_are_those_of_pytorch_metric_learning_while_the_memory_fills_and_turns_over(margins):
    loss = objective(margins)
    library = CrossBatchMemory(ContrastiveLoss(*margins, distance=LpDistance(normalize_embeddings=False)), 8, 16)
    for step in range(6):
        embeddings, labels = unit(6, seed=step), LABELS[step % 3]
        value, gradient = value_and_gradient(loss, embeddings, labels)
        twin = embeddings.clone().requires_grad_()
        expected = library(twin, labels)
        expected.backward()
        assert value == pytest.approx(expected.item(), rel=1e-5)
        assert torch.allclose(gradient, twin.grad, atol=1e-6)


def test_negatives_beyond_the_margin_leave_the_mean_to_the_hard_ones():
    # The first two are 1 apart, all others sqrt(2) or more: the margin takes in one pair alone.
    embeddings = torch.tensor([[1.0, 0], [0.5, 0.75**0.5], [0.0, -1.0], [-1.0, 0.0]])
    loss = ContrastiveObjective(config.Contrastive(negative_margin=1.2, memory=4), dim=2, batch_rows=4)
    assert float(loss(outputs(embeddings), batch([0, 1, 2, 3]))["loss"]) == pytest.approx(0.2, abs=1e-6)


def test_equal_copies_and_distant_others_cost_nothing_and_give_finite_gradients():
    loss = ContrastiveObjective(config.Contrastive(memory=4), dim=8, batch_rows=4)
    value, gradient = value_and_gradient(loss, torch.eye(8)[[0, 0, 1, 1]], [0, 0, 1, 1])
    assert value == pytest.approx(0, abs=2e-6) and torch.isfinite(gradient).all()


def test_mixed_precision_outside_does_not_reach_the_distances():
    embeddings = unit(6, seed=3)
    expected = float(objective()(outputs(embeddings), batch(LABELS[0]))["loss"])
    with torch.autocast("cpu", torch.bfloat16):
        assert float(objective()(outputs(embeddings), batch(LABELS[0]))["loss"]) == expected


def test_a_restored_state_gives_the_same_next_loss():
    first, second = objective(), objective()
    for seed in range(5):
        first(outputs(unit(6, seed=seed)), batch(LABELS[0]))
    second.load_state_dict(first.state_dict())
    given = outputs(unit(6, seed=9)), batch(LABELS[1])
    assert float(first(*given)["loss"]) == float(second(*given)["loss"])


def test_lengths_count_where_rows_are_not_unit():
    loss = ContrastiveObjective(config.Contrastive(memory=2), dim=8, batch_rows=2)
    one, other = 3 * rows(1, seed=1), rows(1, seed=2)
    value = loss(outputs(torch.cat([one, other])), batch([0, 0]))["loss"]
    assert float(value) == pytest.approx(float((one - other).norm()), rel=1e-5)
