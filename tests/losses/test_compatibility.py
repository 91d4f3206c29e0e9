import copy
import os

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from starting import in_two_processes

from isckit import config
from isckit.losses.compatibility import CompatibilityObjective, agreement
from isckit.losses.objective import Batch
from isckit.models.heads import Outputs
from isckit.models.network import EmbeddingNetwork
from isckit.types import BadInput

BACKBONE = config.Backbone(name="test_resnet")
NETWORK = config.Network(backbone=BACKBONE, dim=8, image_size=32, canvas=32, stages=())
SMALL = config.Compatibility(memory=32, prototypes=6, restored_size=8)
ONLY = config.replace(SMALL, distillation=0, restoration=0)


def network(seed=0, **changes):
    torch.manual_seed(seed)
    return EmbeddingNetwork(config.replace(NETWORK, **changes))


def images(n, seed=0):
    # Large patches of colour: what survives a small network.
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 4, 4, generator=draw)
    return (255 * F.interpolate(coarse, size=32)).to(torch.uint8)


def batch_of(plain, views=3, labels=None, seed=1):
    """Each image in `views` views: a little noise on the weak one, more on the hard ones."""
    n = len(plain)
    number = torch.arange(views).repeat(n)
    noise = torch.randint(0, 30, (n * views, 3, 32, 32), generator=torch.Generator().manual_seed(seed))
    noise[number == 0] //= 4
    pixels = (plain.repeat_interleave(views, 0) + noise).clamp(max=255)
    labels = torch.arange(n) if labels is None else labels
    return Batch(pixels.to(torch.uint8), labels.repeat_interleave(views), number, plain=plain)


@pytest.fixture
def anchor():
    # Batch statistics as after a training, so that the targets differ.
    made = network(seed=5).train()
    with torch.no_grad():
        for seed in range(20):
            made(images(16, seed=seed))
    return made.eval()


def objective(anchor, settings=SMALL, student=None):
    torch.manual_seed(3)
    return CompatibilityObjective(settings, student or network(), anchor=anchor)


def seen_by_loops(objective, outputs, batch, targets, memory):
    """Compatibility by plain loops; `memory` is a list of (target, label)."""
    embedding = outputs.embedding.detach()
    weak = [1 - float(embedding[i] @ targets[i // 3]) for i in range(len(batch.views)) if batch.views[i] == 0]
    hard = []
    for i in range(len(batch.views)):
        if batch.views[i] > 0:
            own = embedding[i] @ targets[i // 3]
            rest = [embedding[i] @ t for t, label in memory if label != batch.labels[i]]
            logits = torch.stack([own, *rest]) / objective.settings.temperature
            hard.append(float(logits.logsumexp(0) - logits[0]))
    return sum(weak) / len(weak) + sum(hard) / len(hard)


def test_compatibility_equals_plain_loops_over_the_remembered_targets(anchor):
    loss, student = objective(anchor, ONLY), network()
    memory = []
    for step, labels in enumerate(([0, 1, 2, 3], [4, 1, 5, 6], [0, 7, 8, 9])):
        batch = batch_of(images(4, seed=step), labels=torch.tensor(labels))
        targets = anchor(batch.plain)
        memory += list(zip(targets, labels, strict=True))
        outputs = student.outputs(batch.pixels)
        parts = loss(outputs, batch)
        assert set(parts) == {"loss", "compatibility", "agreement"}
        assert parts["loss"].item() == pytest.approx(seen_by_loops(loss, outputs, batch, targets, memory), rel=1e-4)


def test_the_memory_forgets_the_oldest_targets(anchor):
    loss, student = objective(anchor, config.replace(ONLY, memory=6)), network()
    for step in range(2):
        batch = batch_of(images(4, seed=step), labels=torch.arange(4) + 4 * step)
        outputs = student.outputs(batch.pixels)
        value = loss(outputs, batch)["loss"]
    newest = list(zip(anchor(images(4, seed=0))[2:], (2, 3), strict=True))
    newest += list(zip(anchor(batch.plain), (4, 5, 6, 7), strict=True))
    expected = seen_by_loops(loss, outputs, batch, anchor(batch.plain), newest)
    assert value.item() == pytest.approx(expected, rel=1e-4)


def test_the_loss_is_the_weighted_sum_of_its_parts(anchor):
    loss = objective(anchor, config.replace(SMALL, distillation=0.7, restoration=0.3))
    batch = batch_of(images(4))
    parts = loss(network().outputs(batch.pixels), batch)
    expected = parts["compatibility"] + 0.7 * parts["distillation"] + 0.3 * parts["restoration"]
    assert parts["loss"].item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_other_parts_get_the_weak_views_teaching_and_the_plain_image_by_resemblance(anchor):
    student = network()
    loss = objective(anchor, student=student)
    batch = batch_of(images(4))
    outputs = student.outputs(batch.pixels)
    before = copy.deepcopy(loss)
    parts = loss(outputs, batch)
    hard, anchors = batch.views > 0, torch.arange(4).repeat_interleave(2)
    taught = before.distillation.teacher(batch.pixels[batch.views == 0])
    torch.testing.assert_close(parts["distillation"], before.distillation(outputs.embedding[hard], taught, anchors))
    resemblance = (outputs.embedding[hard] * anchor(batch.plain)[anchors]).sum(-1)
    assert float(resemblance.min()) < 0 < float(resemblance.max())
    expected = before.restoration(outputs.features[hard], batch.plain[anchors], resemblance.detach().clamp(min=0))
    torch.testing.assert_close(parts["restoration"], expected)
    assert torch.autograd.grad(parts["restoration"], outputs.embedding, allow_unused=True, retain_graph=True) == (None,)


def test_negatives_beside_the_anchors_change_nothing(anchor):
    student, batch = network().eval(), batch_of(images(2))
    spread = torch.tensor([0, 1, 2, 6, 3, 4, 5, 6])
    pixels = torch.cat([batch.pixels, images(1, seed=9)])[spread]
    labels, views = torch.cat([batch.labels, torch.tensor([7])])[spread], torch.cat([batch.views, torch.tensor([-1])])
    mixed = Batch(pixels, labels, views[spread], plain=batch.plain)
    alone = objective(anchor)(student.outputs(batch.pixels), batch)
    beside = objective(anchor)(student.outputs(mixed.pixels), mixed)
    for name, value in alone.items():
        torch.testing.assert_close(beside[name], value)


def test_gradient_reaches_network_prototypes_and_decoder_only(anchor):
    student = network()
    loss = objective(anchor, student=student)
    weights = copy.deepcopy(anchor.state_dict())
    batch = batch_of(images(4))
    loss(student.outputs(batch.pixels), batch)["loss"].backward()
    assert all(p.grad is not None for p in student.parameters())
    assert {name.split(".")[0] for name, p in loss.named_parameters() if p.grad is not None} == {
        "distillation",
        "restoration",
    }
    assert all(
        p.grad is None and not p.requires_grad for p in (*anchor.parameters(), *loss.distillation.teacher.parameters())
    )
    assert all(torch.equal(value, weights[key]) for key, value in anchor.state_dict().items())


def test_the_anchor_is_no_part_of_the_objective(anchor):
    loss = objective(anchor).train()
    assert not anchor.training
    own = {id(p) for p in (*loss.parameters(), *loss.buffers())}
    assert not own & {id(p) for p in (*anchor.parameters(), *anchor.buffers())}
    assert not any("anchor" in key for key in loss.state_dict())


def train(student, loss, plain, steps):
    stepper = torch.optim.AdamW([*student.parameters(), *(p for p in loss.parameters() if p.requires_grad)], lr=3e-3)
    values = []
    for step in range(steps):
        batch = batch_of(plain, seed=step)
        parts = loss(student.outputs(batch.pixels), batch)
        stepper.zero_grad()
        parts["loss"].backward()
        stepper.step()
        loss.after_step(student, progress=step / steps)
        values.append({name: float(part) for name, part in parts.items()})
    return values


def test_training_draws_the_network_near_to_the_anchor(anchor):
    student, plain = network(), images(16)
    loss = objective(anchor, config.replace(SMALL, memory=64), student=student)
    before = agreement(student, anchor, plain)
    values = train(student, loss, plain, 30)
    assert values[-1]["compatibility"] < 0.6 * values[0]["compatibility"]
    assert values[-1]["agreement"] > values[0]["agreement"] + 0.3
    assert agreement(student, anchor, plain) > before + 0.3
    assert loss.result(student) is student


def test_a_restored_state_gives_the_same_next_loss(anchor):
    student = network()
    first = objective(anchor, student=student)
    train(student, first, images(8), 3)
    second = objective(anchor, student=network(seed=8))
    second.load_state_dict(first.state_dict())
    batch = batch_of(images(8, seed=4), labels=torch.arange(8) + 8)
    outputs = Outputs(*(value.detach() for value in student.outputs(batch.pixels)))
    assert {k: float(v) for k, v in first(outputs, batch).items()} == {
        k: float(v) for k, v in second(outputs, batch).items()
    }


def test_agreement_describes_as_in_extraction_and_leaves_the_modes(anchor):
    mirrored = network(seed=5, flip=True)
    mirrored.load_state_dict(anchor.state_dict())
    student = network().train()
    x = images(4)
    target = F.normalize(anchor(x) + anchor(x.flip(-1)), dim=-1)
    running = student.head.bn.running_mean.clone()
    value = agreement(student, mirrored, x)
    expected = (copy.deepcopy(student).eval()(x) * target).sum(-1).mean()
    assert value == pytest.approx(float(expected), abs=1e-5)
    assert student.training and torch.equal(running, student.head.bn.running_mean)
    assert agreement(anchor, anchor, x) == pytest.approx(1, abs=1e-5)


def test_networks_of_different_dimensions_are_refused(anchor):
    with pytest.raises(BadInput, match="16 dimensions"):
        objective(anchor, student=network(dim=16))


def test_batches_that_it_cannot_use_are_refused_with_what_to_do(anchor):
    student, batch = network(), batch_of(images(4))
    outputs = student.outputs(batch.pixels)
    mixed = Batch(batch.pixels, batch.labels, batch.views, weights=torch.eye(12), plain=batch.plain)
    with pytest.raises(BadInput, match="mix"):
        objective(anchor)(outputs, mixed)
    single = batch_of(images(4), views=1)
    with pytest.raises(BadInput, match="two or more pipelines"):
        objective(anchor)(student.outputs(single.pixels), single)
    with pytest.raises(BadInput, match=r"loss\.memory"):
        objective(anchor, config.replace(SMALL, memory=3))(outputs, batch)


def _step(anchor, batch):
    """Gradient of the decoder and prototypes, and the state, after a step on a batch."""
    student = network().eval()
    loss = objective(anchor, student=student)
    loss(student.outputs(batch.pixels), batch)["loss"].backward()
    gradient = {"fc": next(student.head.parameters()).grad, "prototypes": loss.distillation.prototypes.grad}
    return gradient, {"memory": loss.memory.embedding.clone(), "centre": loss.distillation.centre.clone()}


def _rank(rank, port, anchor, folder):
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=2)
    whole = batch_of(images(4))
    part = Batch(
        *(x[6 * rank : 6 * rank + 6] for x in (whole.pixels, whole.labels, whole.views)),
        plain=whole.plain[2 * rank :][:2],
    )
    gradient, state = _step(anchor, part)
    for value in gradient.values():
        dist.all_reduce(value)
        value.div_(2)
    torch.save({**gradient, **state}, folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_give_the_gradient_and_the_state_of_one(anchor, tmp_path):
    in_two_processes(_rank, anchor, tmp_path)
    gradient, state = _step(anchor, batch_of(images(4)))
    for rank in range(2):
        for key, value in torch.load(tmp_path / f"{rank}.pt", weights_only=True).items():
            torch.testing.assert_close(value, {**gradient, **state}[key], rtol=1e-4, atol=1e-5)
