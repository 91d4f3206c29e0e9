import pytest
import torch
from torch.utils.checkpoint import checkpoint

from isckit.models.layers import WaveBlock

WAVE = WaveBlock()


def kept(x, out):
    """Which rows were left as they are; all others must be 1.5 times as loud, all over the batch."""
    rows = (out == x).all(dim=(0, 1, 3))
    assert torch.allclose(out[:, :, ~rows], 1.5 * x[:, :, ~rows])
    return rows


def test_evaluation_leaves_everything_as_it_is():
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(WaveBlock().eval()(x), x)


@pytest.mark.parametrize(("height", "band"), [(32, 10), (16, 5), (10, 3), (1, 0)])
def test_one_band_of_full_rows_is_kept_and_the_others_are_louder(height, band):
    for _ in range(10):
        rows = kept(x := torch.rand(2, 3, height, 4) + 0.1, WAVE(x))
        where = rows.nonzero().flatten()
        assert len(where) == band and (band == 0 or int(where[-1] - where[0]) == band - 1)


def test_the_band_reaches_both_ends_and_every_start():
    x = torch.rand(1, 1, 10, 2) + 0.1
    starts = {int(kept(x, WAVE(x)).nonzero()[0]) for _ in range(200)}
    assert starts == set(range(8))


def test_calls_draw_independently():
    x = torch.rand(1, 1, 32, 2) + 0.1
    pairs = {tuple(int(kept(x, WAVE(x)).nonzero()[0]) for _ in range(2)) for _ in range(60)}
    assert len({first == second for first, second in pairs}) == 2


def test_a_pass_repeated_for_checkpointing_draws_the_same():
    x = torch.rand(1, 1, 32, 2, requires_grad=True)
    out = checkpoint(WAVE, x, use_reentrant=False)
    out.sum().backward()
    assert torch.allclose(out, x * x.grad)


def test_half_precision_stays():
    assert WAVE(torch.rand(1, 1, 8, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16
