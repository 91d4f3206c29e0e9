import pytest
import torch
from losses.making import rows

from isckit.losses.objective import gathered, mean_where, own_rows, processes, two_views


def test_alone_gathering_changes_nothing():
    table = rows(4)
    assert processes() == (0, 1) and gathered(table) is table and table[own_rows(4)].equal(table)


def test_two_views_stand_side_by_side_anchor_by_anchor():
    first, second = two_views(torch.arange(6)[:, None])
    assert first.flatten().tolist() == [0, 2, 4] and second.flatten().tolist() == [1, 3, 5]
    with pytest.raises(AssertionError, match="two views"):
        two_views(rows(5))


def test_a_mean_takes_the_marked_values_alone_and_is_zero_without_any():
    values = torch.tensor([1.0, 2.0, torch.inf], requires_grad=True)
    mean = mean_where(values, torch.tensor([True, True, False]))
    mean.backward()
    assert float(mean.detach()) == 1.5 and values.grad.tolist() == [0.5, 0.5, 0.0]
    assert float(mean_where(values, torch.zeros(3, dtype=torch.bool)).detach()) == 0
