import pytest
import torch
import torch.nn.functional as F
from losses.making import TinyNetwork, batch

from isckit import config
from isckit.losses.momentum_teacher import MomentumTeacherObjective

PIXELS = torch.randint(0, 256, (16, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network():
    return TinyNetwork().train()


@pytest.fixture
def objective(network):
    torch.manual_seed(2)
    return MomentumTeacherObjective(config.MomentumTeacher(hidden=12, width=7, momentum=0.9), network).train()


def step(objective, network, pixels=PIXELS):
    return objective(network.outputs(pixels), batch(torch.arange(8).repeat_interleave(2), pixels=pixels))["loss"]


def test_the_loss_is_that_of_each_view_predicting_the_other(objective, network):
    pooled = network.outputs(PIXELS).pooled
    # Equal weights and, at the start, the batch's statistics: the teacher's outputs are the student's.
    predicted = F.normalize(objective.predictor(objective.projector(pooled)), dim=-1)
    projected = F.normalize(objective.projector(pooled), dim=-1)
    crossed = [float((q @ projected[i ^ 1]).detach()) for i, q in enumerate(predicted)]
    assert float(step(objective, network).detach()) == pytest.approx(4 - 2 * sum(crossed) / 8, rel=1e-5)


def test_only_the_student_learns_and_nothing_is_registered_twice(objective, network):
    step(objective, network).backward()
    assert all(p.grad is not None for p in [*network.parameters(), *objective.predictor.parameters()])
    assert all(p.grad is None for p in objective.teacher.parameters())
    own = {id(p) for p in objective.parameters()}
    assert not own & {id(p) for p in network.parameters()}
    learned = {name.split(".")[0] for name, p in objective.named_parameters() if p.requires_grad}
    assert learned == {"projector", "predictor"}
    names = list(objective.state_dict())
    assert len(names) == len(set(names)) and not any(name.startswith("statistics._") for name in names)


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.1), (0.5, 0.05), (1.0, 0.0)])
def test_the_teachers_weights_follow_by_a_share_that_falls_to_nothing(objective, network, progress, share):
    before = objective.teacher.convolution.weight.clone()
    with torch.no_grad():
        network.convolution.weight += 1
        objective.projector[0].weight += 1
    projector = objective.teacher_projector[0].weight.clone()
    objective.after_step(network, progress=progress)
    assert torch.allclose(objective.teacher.convolution.weight, before + share, atol=1e-6)
    assert torch.allclose(objective.teacher_projector[0].weight, projector + share, atol=1e-6)


def test_the_teachers_statistics_are_the_batchs_at_first_then_running_then_fixed(objective, network):
    def statistics(pixels):
        maps = objective.teacher.convolution(pixels.float() / 255)
        return maps.mean((0, 2, 3)), maps.var((0, 2, 3), correction=0)

    norm, other = objective.teacher.norm, 255 - PIXELS
    with torch.no_grad():
        step(objective, network)
        first = statistics(PIXELS)
        assert torch.allclose(norm.running_mean, first[0], atol=1e-6)
        assert torch.allclose(norm.running_var, first[1], atol=1e-5)
        objective.statistics.share.fill_(0.25)
        step(objective, network, other)
        mixed = [0.75 * a + 0.25 * b for a, b in zip(first, statistics(other), strict=True)]
        assert torch.allclose(norm.running_mean, mixed[0], atol=1e-6)
        assert torch.allclose(norm.running_var, mixed[1], atol=1e-5)
        objective.after_step(network, progress=1.0)
        step(objective, network)
        assert torch.allclose(norm.running_mean, mixed[0], atol=1e-6)


def test_the_norm_gives_what_its_momentum_statistics_say(objective, network):
    step(objective, network)
    objective.statistics.share.fill_(0.5)
    maps = torch.randn(4, 5, 3, 3)
    found = objective.teacher.norm(maps)
    norm = objective.teacher.norm
    mean, variance = norm.running_mean.view(1, -1, 1, 1), norm.running_var.view(1, -1, 1, 1)
    assert torch.allclose(found, (maps - mean) / (variance + norm.eps).sqrt(), atol=1e-5)


def test_training_mode_does_not_reach_the_teachers_norms(objective):
    objective.eval()
    objective.train()
    assert objective.projector[1].training and objective.teacher.training
    assert not objective.teacher.norm.training and not objective.teacher_projector[1].training


def test_the_stage_leaves_the_teacher(objective, network):
    step(objective, network)
    with torch.no_grad():
        network.convolution.weight += 1
    left = objective.result(network)
    assert left is network
    expected = objective.teacher.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in left.state_dict().items())


def test_a_restored_state_goes_on_alike(objective, network):
    step(objective, network)
    with torch.no_grad():
        network.convolution.weight += 0.3
    objective.after_step(network, progress=0.4)
    torch.manual_seed(9)
    again = MomentumTeacherObjective(config.MomentumTeacher(hidden=12, width=7, momentum=0.9), TinyNetwork()).train()
    again.load_state_dict(objective.state_dict())
    assert torch.equal(step(objective, network), step(again, network))
    assert torch.equal(objective.teacher.norm.running_var, again.teacher.norm.running_var)


def test_byols_teacher_takes_each_batchs_statistics_and_the_student_is_what_stays(network):
    torch.manual_seed(2)
    settings = config.MomentumTeacher(hidden=12, width=7, momentum=0.9, statistics="batch")
    objective = MomentumTeacherObjective(settings, network).train()
    with torch.no_grad():
        for pixels in (PIXELS, 255 - PIXELS):  # running statistics would have those of the first
            own = objective.teacher_projector(objective.teacher.outputs(pixels).pooled)
            norm = objective.teacher.norm
            maps = objective.teacher.convolution(pixels.float() / 255)
            expected = F.batch_norm(maps, None, None, norm.weight, norm.bias, training=True, eps=norm.eps)
            assert torch.allclose(norm(maps), expected, atol=1e-5) and own.isfinite().all()
        objective.teacher.convolution.weight += 1
        kept = network.convolution.weight.clone()
        assert torch.equal(objective.result(network).convolution.weight, kept)
