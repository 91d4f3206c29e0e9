import copy

import pytest
import torch
from torch import nn

from isckit.config import Optim
from isckit.engine.optimisers import optimiser

NAMES = ["adamw", "adam", "sgd", "lars"]


class Mixed(nn.Module):
    """A parameter of every kind that networks have."""

    def __init__(self, seed=0):
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        shapes = {"matrix": (5, 7), "conv": (4, 3, 3, 3), "bias": (6,), "gain": (4, 1, 1, 1), "power": ()}
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.randn(shape, generator=draw) + 0.1))


def give_gradients(module, seed):
    draw = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=draw)


def values(module):
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def test_lars_equals_its_closed_form_with_momentum_after_the_scaling():
    module = Mixed()
    lr, decay, trust, momentum = 4.0, 0.03, 0.01, 0.9
    stepper = optimiser([module], Optim(name="lars", lr=lr, weight_decay=decay, trust=trust, momentum=momentum))
    expected, velocity = values(module), {name: 0.0 for name, _ in module.named_parameters()}
    for step in range(3):
        give_gradients(module, step)
        rate = lr / (1 + step)
        for name, parameter in module.named_parameters():
            w, g = expected[name], parameter.grad
            if name in ("matrix", "conv"):
                g = (g + decay * w) * trust * w.norm() / (g.norm() + decay * w.norm())
            velocity[name] = momentum * velocity[name] + g
            expected[name] = w - rate * velocity[name]
        for group in stepper.param_groups:
            group["lr"] = rate
        stepper.step()
    for name, value in values(module).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)


def test_lars_scales_matrices_without_weight_decay_too():
    module = Mixed()
    before = values(module)
    give_gradients(module, 1)
    optimiser([module], Optim(name="lars", lr=1.0, weight_decay=0.0, trust=0.01)).step()
    moved = (values(module)["matrix"] - before["matrix"]).norm()
    assert float(moved / before["matrix"].norm()) == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_takes_weight_decay_into_the_gradient_and_adamw_beside_it(name):
    module = Mixed()
    before = values(module)
    give_gradients(module, 1)
    optimiser([module], Optim(name=name, lr=0.01, weight_decay=0.5)).step()
    w, g = before["matrix"], module.matrix.grad
    if name == "adam":
        g = g + 0.5 * w
    else:
        w = w * (1 - 0.01 * 0.5)
    torch.testing.assert_close(module.matrix.detach(), w - 0.01 * g / (g.abs() + 1e-8))


@pytest.mark.parametrize("name", NAMES)
def test_parameters_along_one_axis_do_not_decay(name):
    module = Mixed()
    before = values(module)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser([module], Optim(name=name, lr=0.1, weight_decay=0.5)).step()
    changed = {key for key, value in values(module).items() if not torch.equal(value, before[key])}
    assert changed == {"matrix", "conv"}


def test_sgd_keeps_momentum():
    module = Mixed()
    before = values(module)["bias"]
    stepper = optimiser([module], Optim(name="sgd", lr=0.1, weight_decay=0.0, momentum=0.5))
    for _ in range(2):
        give_gradients(module, 1)
        stepper.step()
    torch.testing.assert_close(module.bias.detach(), before - 0.1 * 2.5 * module.bias.grad)


@pytest.mark.parametrize("name", NAMES)
def test_frozen_parameters_are_left_out_and_shared_ones_are_stepped_once(name):
    module, frozen = Mixed(), Mixed(seed=1).requires_grad_(False)
    sharing = nn.ModuleList([module, frozen])
    stepper = optimiser([module, sharing], Optim(name=name))
    held = [id(p) for group in stepper.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in module.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_optimiser_takes_the_same_next_step(name):
    module, settings = Mixed(), Optim(name=name)
    stepper = optimiser([module], settings)
    for step in range(2):
        give_gradients(module, step)
        stepper.step()
    other = copy.deepcopy(module)
    restored = optimiser([other], settings)
    restored.load_state_dict(copy.deepcopy(stepper.state_dict()))
    for each, its in ((module, stepper), (other, restored)):
        give_gradients(each, 9)
        its.step()
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_a_step_gives_the_same_bits_with_any_number_of_threads(name):
    threads, results = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            layer = nn.Linear(301, 1003)
            with torch.no_grad():
                layer.weight.copy_(torch.randn(1003, 301, generator=torch.Generator().manual_seed(0)))
            stepper = optimiser([layer], Optim(name=name))
            for step in range(3):
                give_gradients(layer, step)
                stepper.step()
            results.append(layer.weight.detach())
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])
