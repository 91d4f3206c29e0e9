import pytest
import torch
from losses.making import outputs, unit

from isckit import config
from isckit.losses.build import build
from isckit.losses.objective import Batch
from isckit.losses.triplet import is_hard, is_semi_hard, mined, triplet_losses


def numbers(*values):
    return torch.tensor(values)


def batch(labels, views):
    labels = torch.tensor(labels)
    return Batch(torch.zeros(len(labels), 3, 2, 2, dtype=torch.uint8), labels, torch.tensor(views))


def objective(**settings):
    return build(config.Triplet(**settings), None, classes=0, batch_rows=0)


def test_the_loss_is_the_margin_by_which_the_negative_is_not_farther():
    positive, negative, across = numbers(0.5, 0.5, 0.5), numbers(0.4, 0.6, 0.9), numbers(0.45, 0.55, 2.0)
    plain = triplet_losses(positive, negative, across, margin=0.2, improved=False)
    assert torch.allclose(plain, numbers(0.3, 0.1, 0.0))
    improved = triplet_losses(positive, negative, across, margin=0.2, improved=True)
    assert torch.allclose(improved, numbers(0.3 + 0.15, 0.1 + 0.05, 0.0))


def test_triplets_are_hard_semi_hard_or_easy():
    positive, negative = numbers(0.5, 0.5, 0.5, 0.5), numbers(0.4, 0.6, 0.69, 0.71)
    assert is_hard(positive, negative).tolist() == [True, False, False, False]
    assert is_semi_hard(positive, negative, margin=0.2).tolist() == [False, True, True, False]


def test_half_of_what_counts_is_sought_and_the_rest_is_random():
    excess, sought = torch.linspace(1, 0, 100), torch.zeros(100, dtype=torch.bool)
    sought[60:90] = True
    draws = [mined(excess, sought, wanted=20) for _ in range(50)]
    assert all(len(kept) == len(kept.unique()) == 20 for kept in draws)
    assert all(torch.equal(kept[:10], torch.arange(60, 70)) for kept in draws)
    assert len(torch.cat([kept[10:] for kept in draws]).unique()) > 80


def test_where_too_few_are_sought_those_of_the_largest_excess_stand_in():
    excess, sought = numbers(0.1, 0.9, -0.5, 0.3, 0.8, -0.9), torch.tensor([False, False, True, False, False, False])
    assert mined(excess, sought, wanted=6)[:3].tolist() == [2, 1, 4]
    assert sorted(mined(excess, sought, wanted=40).tolist()) == [0, 1, 2, 3, 4, 5]


LABELS, VIEWS = [0, 0, 1, 1, 2, 2], [0, 1] * 3


def every_triplet(rows, labels, margin):
    """Losses of all triplets of a batch by loops."""
    losses = []
    for a in range(len(rows)):
        for p in range(len(rows)):
            for n in range(len(rows)):
                if a != p and labels[a] == labels[p] and labels[a] != labels[n]:
                    near, far, across = ((rows[i] - rows[j]).square().sum() for i, j in ((a, p), (a, n), (p, n)))
                    losses.append(float((near - far + margin).relu() + (near - across + margin / 2).relu()))
    return losses


def test_random_triplets_are_a_copy_and_another_image_of_the_batch():
    torch.manual_seed(0)
    rows, margin = unit(6), 1.5
    losses = every_triplet(rows, LABELS, margin)
    one = objective(margin=margin, mining="random", triplets=1)
    drawn = [float(one(outputs(rows), batch(LABELS, VIEWS))["loss"]) for _ in range(400)]
    assert {round(value, 4) for value in drawn} == {round(value, 4) for value in losses}
    assert sum(drawn) / 400 == pytest.approx(sum(losses) / len(losses), rel=0.1)


def test_all_triplets_count_where_more_are_wanted_and_shares_are_told():
    # Copies lie at 0 and 1 on a circle of three images: every negative of image 0 is hard, none of the others.
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6], [0.8, 0.6], [0.8, 0.6], [0.8, 0.6]])
    parts = objective(margin=0.2, improved=False, mining="hard", triplets=64)(
        outputs(rows), batch([0, 0, 1, 1, 1, 1], [0, 1, 0, 1, 2, 3])
    )
    # Anchors: two views of image 0 (squared distances 2 to the copy, 0.4 or 0.8 to others), four of image 1.
    assert float(parts["hard"]) == pytest.approx(2 / 6)
    assert float(parts["loss"]) == pytest.approx((2 - 0.4 + 0.2 + 2 - 0.8 + 0.2) / 6, rel=1e-5)
    assert float(parts["semi_hard"]) == 0


def test_half_of_what_counts_are_the_negatives_that_the_stage_brings():
    # Two anchors, and a negative each that lies on the anchor; other images of the batch lie far away.
    rows = torch.tensor([[1.0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1.0, 0], [0, 1, 0], [0, 1, 0]])
    labels, views = [0, 0, 5, 1, 1, 6], [0, 1, -1, 0, 1, -1]
    far = objective(margin=1.0, improved=False, mining="random", triplets=4)
    values = {round(float(far(outputs(rows), batch(labels, views))["loss"]), 4) for _ in range(60)}
    # Two given triplets cost the margin of 1; each of the two random ones costs 0 or, on the own negative, 1.
    assert values == {0.5, 0.75, 1.0}


def test_the_gradient_draws_the_positive_near_and_pushes_the_negative_away():
    rows = unit(6).requires_grad_()
    torch.manual_seed(0)
    loss = objective(margin=2.0, triplets=64)(outputs(rows), batch(LABELS, VIEWS))["loss"]
    loss.backward()
    moved = (rows - 0.05 * rows.grad).detach()
    torch.manual_seed(0)
    assert objective(margin=2.0, triplets=64)(outputs(moved), batch(LABELS, VIEWS))["loss"] < loss


def test_a_batch_of_one_image_has_no_loss_but_a_gradient():
    rows = unit(2).requires_grad_()
    loss = objective()(outputs(rows), batch([3, 3], [0, 1]))["loss"]
    loss.backward()
    assert float(loss.detach()) == 0 and not rows.grad.any()


def test_a_stage_of_triplets_takes_two_views():
    with pytest.raises(ValueError, match="two views"):
        config.Stage(loss=config.Triplet(), views=("weak",))
