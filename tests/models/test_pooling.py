import pytest
import torch

from isckit.models.pooling import GeM


def test_power_one_is_the_mean_of_the_clamped_map():
    x = torch.randn(2, 5, 3, 4)
    assert torch.allclose(GeM(1.0, learnable=False)(x), x.clamp(min=1e-6).mean((-2, -1)))


def test_a_large_power_approaches_the_maximum():
    x = torch.rand(2, 5, 3, 4) + 0.5
    assert torch.allclose(GeM(200.0, learnable=False)(x), x.amax((-2, -1)), rtol=2e-2)


@pytest.mark.parametrize("p", [2.0, 3.0, 7.0])
def test_a_constant_map_gives_its_constant(p):
    assert torch.allclose(GeM(p, learnable=True)(torch.full((1, 2, 4, 4), 0.7)), torch.full((1, 2), 0.7), atol=1e-6)


def test_power_three_equals_plain_loops():
    x = torch.rand(1, 2, 2, 3)
    expected = [(sum(float(v) ** 3 for v in x[0, c].flatten()) / 6) ** (1 / 3) for c in range(2)]
    assert GeM(3.0, learnable=False)(x)[0].tolist() == pytest.approx(expected, rel=1e-5)


def test_only_a_learnable_power_is_a_parameter_and_both_travel_with_the_weights():
    assert len(list(GeM(3.0, learnable=True).parameters())) == 1
    assert not list(GeM(3.0, learnable=False).parameters())
    assert "p" in GeM(3.0, learnable=False).state_dict()


def test_half_precision_maps_do_not_overflow():
    assert torch.isfinite(GeM(7.0, learnable=False)(torch.full((1, 1, 2, 2), 300.0, dtype=torch.bfloat16))).all()


def test_the_power_is_one_scalar():
    assert GeM(3.0, learnable=True).p.shape == ()


def test_the_power_at_test_replaces_the_learned_one_in_evaluation_only():
    x, pool = torch.rand(2, 3, 4, 4), GeM(2.0, learnable=True, at_test=5.0)
    assert torch.allclose(pool(x), GeM(2.0, learnable=False)(x))
    assert torch.allclose(pool.eval()(x), GeM(5.0, learnable=False)(x))
    assert pool.state_dict()["p"] == 2.0
