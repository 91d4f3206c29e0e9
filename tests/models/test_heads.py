import pytest
import torch
import torch.nn.functional as F
from torch import nn

from isckit import config
from isckit.models.heads import head


def test_the_linear_head_of_a_recipe_has_the_parts_it_names():
    plain = head(config.Head(bias=True, norm=False), pooled_dim=6, dim=4)
    assert set(plain.state_dict()) == {"fc.weight", "fc.bias"}
    assert torch.equal(plain.fc.bias, torch.zeros(4))
    normed = head(config.Head(), pooled_dim=6, dim=4)
    assert "fc.bias" not in normed.state_dict() and "bn.running_var" in normed.state_dict()


def test_the_linear_head_starts_xavier_normal():
    weight = head(config.Head(), pooled_dim=512, dim=256).fc.weight
    assert float(weight.detach().std()) == pytest.approx((2 / (512 + 256)) ** 0.5, rel=0.02)


def test_the_linear_head_gives_its_result_and_the_pooled_features():
    pooled = torch.randn(8, 6)
    linear = head(config.Head(bias=True), pooled_dim=6, dim=4)
    narrow, wide = linear(pooled)
    assert wide is pooled and linear.wide_dim == 6
    expected = F.batch_norm(F.linear(pooled, linear.fc.weight, linear.fc.bias), None, None, training=True)
    assert torch.allclose(narrow, expected, atol=1e-6)


@pytest.fixture
def projector():
    torch.manual_seed(0)
    return head(config.Head(kind="projector", widths=(10, 20)), pooled_dim=6, dim=4)


def test_the_projector_has_the_published_order(projector):
    kinds = [type(part) for part in projector.projector]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.LeakyReLU, nn.Linear, nn.BatchNorm1d]
    assert [type(part) for part in projector.narrow] == [nn.BatchNorm1d, nn.LeakyReLU, nn.Linear, nn.BatchNorm1d]
    shapes = [tuple(p.weight.shape) for p in [*projector.projector, *projector.narrow] if hasattr(p, "weight")]
    assert shapes == [(10, 6), (10,), (20, 10), (20,), (20,), (4, 20), (4,)]


def test_the_projector_equals_its_formula(projector):
    def bn(x):
        return (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt()

    def leaky(x):
        return torch.where(x > 0, x, 0.2 * x)

    pooled = torch.randn(16, 6)
    first, second, third = projector.projector[0], projector.projector[3], projector.narrow[2]
    e_wide = bn(leaky(bn(pooled @ first.weight.T + first.bias)) @ second.weight.T + second.bias)
    e_narrow = bn(leaky(bn(e_wide)) @ third.weight.T + third.bias)
    narrow, wide = projector(pooled)
    assert torch.allclose(wide, e_wide, atol=1e-5) and torch.allclose(narrow, e_narrow, atol=1e-5)


def test_the_last_norms_keep_a_zero_bias_and_learn_the_rest(projector):
    frozen = {name for name, parameter in projector.named_parameters() if not parameter.requires_grad}
    assert frozen == {"projector.4.bias", "narrow.3.bias"}
    assert all(not projector.get_parameter(name).any() for name in frozen)
    assert all(bool((projector.get_parameter(name.replace("bias", "weight")) == 1).all()) for name in frozen)


@pytest.mark.parametrize("dim", [8, 12])
def test_a_projector_as_wide_as_the_embedding_has_nothing_behind_it(dim):
    torch.manual_seed(0)
    made = head(config.Head(kind="projector", widths=(6, 12)), pooled_dim=5, dim=dim).eval()
    embedding, wide = made(torch.randn(3, 5))
    assert embedding.shape == (3, dim) and wide.shape == (3, 12)
    assert any(key.startswith("narrow") for key in made.state_dict()) == (dim != 12)
    if dim == 12:
        assert torch.equal(embedding, wide)
