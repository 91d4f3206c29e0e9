import pytest
import torch
from losses.making import batch, outputs, rows

from isckit import config
from isckit.losses.barlow_twins import BarlowTwinsObjective, redundancy


def standardised(table):
    return (table - table.mean(0)) / table.std(0, correction=0)


def by_loops(first, second):
    n, width = first.shape
    diagonal = off_diagonal = 0.0
    for a in range(width):
        for b in range(width):
            correlation = sum(float(first[i, a] * second[i, b]) for i in range(n)) / n
            if a == b:
                diagonal += (1 - correlation) ** 2
            else:
                off_diagonal += correlation**2
    return diagonal, off_diagonal


def test_redundancy_equals_plain_loops():
    first, second = standardised(rows(12, 5, seed=1)), standardised(rows(12, 5, seed=2))
    diagonal, off_diagonal = redundancy(first, second)
    assert (float(diagonal), float(off_diagonal)) == pytest.approx(by_loops(first, second), rel=1e-4)


def test_equal_views_without_correlation_between_columns_cost_nothing():
    # Columns of a Hadamard matrix: mean 0, variance 1, orthogonal.
    two = torch.tensor([[1.0, 1], [1, -1]])
    columns = torch.kron(torch.kron(two, two), two)[:, 1:]
    assert [float(part) for part in redundancy(columns, columns)] == pytest.approx([0, 0], abs=1e-5)
    assert [float(part) for part in redundancy(columns, -columns)] == pytest.approx([4 * 7, 0], abs=1e-5)


def test_the_objective_projects_each_view_alone_and_standardises_it():
    made = BarlowTwinsObjective(config.BarlowTwins(width=6, off_diagonal=0.3), pooled=8)
    pooled = rows(24, seed=4)
    parts = made(outputs(pooled), batch(torch.arange(12).repeat_interleave(2)))
    first, second = (standardised(made.projector[:-1](view).detach()) for view in (pooled[0::2], pooled[1::2]))
    diagonal, off_diagonal = by_loops(first, second)
    assert float(parts["diagonal"].detach()) == pytest.approx(diagonal, rel=1e-2)
    assert float(parts["off_diagonal"].detach()) == pytest.approx(off_diagonal, rel=1e-2)
    assert float(parts["loss"].detach()) == pytest.approx(diagonal + 0.3 * off_diagonal, rel=1e-2)


def test_equal_views_have_a_diagonal_of_one():
    made = BarlowTwinsObjective(config.BarlowTwins(width=6), pooled=8)
    parts = made(outputs(rows(32).repeat_interleave(2, 0)), batch(torch.arange(32).repeat_interleave(2)))
    assert float(parts["diagonal"].detach()) == pytest.approx(0, abs=1e-3)
