"""Objectives on pairs are those of the global batch, however many processes share it."""

import os

import pytest
import torch
import torch.distributed as dist
from losses.making import TinyNetwork, batch, outputs, rows
from starting import in_two_processes

from isckit import config
from isckit.losses.barlow_twins import BarlowTwinsObjective
from isckit.losses.contrastive import ContrastiveObjective, InfoNceObjective
from isckit.losses.momentum_teacher import MomentumTeacherObjective
from isckit.losses.ntxent import NtXentObjective
from isckit.losses.objective import Objective
from isckit.losses.triplet import batch_hard

# Unequal numbers of positives in the two halves; labels 1 and 9 occur in both.
LABELS = torch.tensor([[0, 0, 1, 1, 9, 2], [1, 3, 3, 9, 4, 5]])
WEIGHTS = torch.eye(6)
# Row 1 is of two images that the other process does not have.
WEIGHTS[1] = torch.tensor([0, 0.5, 0, 0, 0, 0.5])
PIXELS = torch.randint(0, 256, (12, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
STEPS = [torch.nn.functional.normalize(rows(12, seed=seed), dim=-1) for seed in range(3)]


class Triplet(Objective):
    def forward(self, outputs, batch):
        return {"loss": batch_hard(outputs.pooled, batch.labels)}


def objectives(batch_rows=12):
    torch.manual_seed(0)
    return {
        "contrastive": ContrastiveObjective(config.Contrastive(memory=20), dim=8, batch_rows=batch_rows),
        "infonce": InfoNceObjective(config.InfoNce(temperature=0.5, memory=20), dim=8, batch_rows=batch_rows),
        "ntxent": NtXentObjective(config.NtXent(temperature=0.5, koleo=2)),
        "ntxent of mixed images": NtXentObjective(config.NtXent(temperature=0.5, koleo=2)),
        "triplet": Triplet(),
        "barlow_twins": BarlowTwinsObjective(config.BarlowTwins(width=4), pooled=8),
        "momentum_teacher": MomentumTeacherObjective(config.MomentumTeacher(hidden=12, width=6), TinyNetwork(8)),
    }


def run(name, objective, part):
    """(loss, gradient in this process's rows, in the parameters) after three steps; `part` None for all rows."""
    for step in STEPS:
        given = (step if part is None else step.chunk(2)[part]).clone().requires_grad_()
        labels = LABELS.flatten() if part is None else LABELS[part]
        weights = torch.block_diag(WEIGHTS, WEIGHTS)[: len(given), : len(given)] if "mixed" in name else None
        objective.zero_grad()
        pixels = PIXELS if part is None else PIXELS.chunk(2)[part]
        loss = objective(outputs(given), batch(labels, weights=weights, pixels=pixels))["loss"]
        loss.backward()
        objective.after_step(TinyNetwork(8), progress=0.5)
    return loss.detach(), given.grad, [p.grad for p in objective.parameters() if p.requires_grad]


def _process(rank, port, folder):
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    found = {name: run(name, objective, rank) for name, objective in objectives().items()}
    torch.save(found, folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    in_two_processes(_process, folder)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", objectives())
def test_two_processes_have_the_loss_and_the_averaged_gradient_of_one(name, halves):
    value, gradient, weights = run(name, objectives()[name], None)
    losses = [float(half[name][0]) for half in halves]
    if name == "momentum_teacher":  # A loss of single images: each process has that of its part.
        assert sum(losses) / 2 == pytest.approx(float(value), rel=1e-6)
    else:
        assert losses == pytest.approx([float(value)] * 2, rel=1e-6)
    # Gradients of parameters are averaged over processes: what each process gives its rows counts half.
    shared = torch.cat([half[name][1] for half in halves]) / 2
    assert_close(shared, gradient)
    for one, other, alone in zip(*(half[name][2] for half in halves), weights, strict=True):
        assert_close((one + other) / 2, alone, within=3e-6)  # small differences of large sums


def assert_close(one, other, *, within=1e-6):
    assert (one - other).abs().max() <= within * max(1.0, float(other.abs().max()))
