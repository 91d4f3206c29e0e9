import copy

import pytest
import timm
import torch
import torch.distributed as dist
from starting import in_two_processes
from timm.layers import BatchNormAct2d
from torch import nn

from isckit.models.batch_norm import synchronised, with_ghost_batches


def small():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        BatchNormAct2d(4, act_layer=nn.SiLU),
        nn.Conv2d(4, 5, 3),
        nn.BatchNorm2d(5, momentum=0.3),
        nn.Flatten(),
        nn.Linear(45, 6),
        nn.BatchNorm1d(6, affine=False),
    )


def batch(rows=8):
    return 3 * torch.randn(rows, 3, 7, 7, generator=torch.Generator().manual_seed(1)) + 1


def weighted(out, first=0):
    """A sum whose gradient differs from row to row of the whole batch, of which `out` begins with row `first`."""
    factors = torch.linspace(-1, 1, 8 * 6, dtype=out.dtype).view(8, 6)[first : first + len(out)]
    return (out * factors).sum() + out.pow(3).sum()


def tensors_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("rows", [8, 6])
def test_ghost_batches_equal_separate_calls(rows):
    x, layers = batch(rows), (small()[1], small()[3], small()[6])
    for layer, inputs in zip(
        layers, (x[:, [0, 1, 2, 0]], x[:, [0, 1, 2, 0, 1]], x[:, :, 0, :2].flatten(1)), strict=True
    ):
        separate, ghost = layer, with_ghost_batches(copy.deepcopy(layer), 4)
        expected = torch.cat([separate(part.clone()) for part in inputs.split(4)])
        assert torch.allclose(ghost(inputs.clone()), expected, atol=1e-6)
        assert all(torch.equal(value, separate.state_dict()[key]) for key, value in ghost.state_dict().items())


def test_ghost_batches_of_a_network_give_the_gradient_of_its_groups():
    together, apart = with_ghost_batches(small(), 4), small()
    torch.cat([apart(part) for part in batch().split(4)]).pow(3).sum().backward()
    together(batch()).pow(3).sum().backward()
    for (name, got), expected in zip(together.named_parameters(), apart.parameters(), strict=True):
        assert torch.allclose(got.grad, expected.grad, rtol=1e-4, atol=1e-4), name


def test_ghost_batches_differ_from_the_whole_batch_and_not_in_evaluation():
    plain, ghost = small(), with_ghost_batches(small(), 4)
    assert not torch.allclose(plain(batch()), ghost(batch()), atol=1e-2)
    ghost.load_state_dict(plain.state_dict())
    assert torch.equal(plain.eval()(batch()), ghost.eval()(batch()))


def test_names_shapes_and_copies_stay():
    plain = timm.create_model("test_efficientnet", num_classes=0)
    ghost = copy.deepcopy(with_ghost_batches(copy.deepcopy(plain), 2))
    assert {k: v.shape for k, v in plain.state_dict().items()} == {k: v.shape for k, v in ghost.state_dict().items()}
    x = torch.randn(4, 3, 32, 32)
    assert not torch.allclose(plain.train()(x), ghost.train()(x), atol=1e-3)


def test_alone_nothing_is_synchronised():
    module = small()
    assert synchronised(module) is module and type(module[3]) is nn.BatchNorm2d


def _rank(rank, port, folder, parts):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    start = sum(parts[:rank])
    x = batch()[start : start + parts[rank]].double().requires_grad_()
    module = synchronised(small().double())
    out = module(x)
    weighted(out, first=start).backward()
    found = {name: p.grad for name, p in module.named_parameters()}
    state = {"out": out.detach(), "x": x.grad, "gradients": found, "state": tensors_of(module)}
    torch.save(state | {"eval": module.eval()(batch().double()).detach()}, folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=[(4, 4), (5, 3)], ids=str)
def two(request, tmp_path_factory):
    """What two processes with the two parts of a batch give."""
    folder = tmp_path_factory.mktemp("two")
    in_two_processes(_rank, folder, request.param)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_two_processes_with_parts_of_a_batch_equal_one_with_the_whole(two):
    module, x = small().double(), batch().double().requires_grad_()
    out = module(x)
    weighted(out).backward()
    assert torch.allclose(torch.cat([part["out"] for part in two]), out, atol=1e-9)
    assert torch.allclose(torch.cat([part["x"] for part in two]), x.grad, atol=1e-9)
    for name, parameter in module.named_parameters():
        summed = two[0]["gradients"][name] + two[1]["gradients"][name]
        assert torch.allclose(summed, parameter.grad, atol=1e-9), name
    for part in two:
        assert all(torch.allclose(part["state"][name], value) for name, value in module.state_dict().items())
        assert torch.allclose(part["eval"], module.eval()(batch().double()))
