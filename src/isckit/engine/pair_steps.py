"""One step of a pair network: the outer product of a group's references and queries, in parts that fit the memory."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F

from isckit import config
from isckit.augment.pipelines import find, view_rng
from isckit.data.image_sets import ImageSet
from isckit.data.items import GroupItems, LookAlikes, groups_of
from isckit.engine.describe import Describer
from isckit.engine.distributed import Process
from isckit.models.pair import PairClassifier
from isckit.views.geometry import view_set


def labels_of(size: int) -> torch.Tensor:
    """Return (G, G) float32, references by queries: 1 where both are made from the same image."""
    return torch.eye(size)


def backward_group(
    network: PairClassifier,
    references: torch.Tensor,
    queries: torch.Tensor,
    counted: torch.Tensor,
    *,
    process: Process,
    micro_batch: int,
    amp: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradient of the mean binary cross-entropy over all counted pairs of a group.

    Each image is described once, and every pair compared. A process takes a part of the references, with all queries;
    the gradients are added up, so that their number changes nothing but rounding.

    Args:
        network: in training mode; its gradients are set.
        references, queries: (G, 3, S, S) uint8 on the device.
        counted: (G, G) bool.
        process: this one.
        micro_batch: pairs compared at a time (0: all).
        amp: whether in mixed precision.

    Returns:
        The loss, and the logits (G, G), the same in all processes.
    """
    size = len(queries)
    share = process.share(size, "stages.NAME.group")
    own = slice(process.rank * share, (process.rank + 1) * share)
    weights = (counted.float() / counted.sum())[own].flatten()
    labels = labels_of(size).to(queries.device)[own].flatten()
    with torch.autocast(queries.device.type, torch.bfloat16, enabled=amp):
        described = [network.describe(side) for side in (references[own], queries)]
    leaves = [part.detach().requires_grad_(part.requires_grad) for part in described]
    pairs = torch.cartesian_prod(torch.arange(share), torch.arange(size)).to(queries.device)
    logits = []
    for chosen in torch.arange(len(pairs), device=queries.device).split(micro_batch or len(pairs)):
        with torch.autocast(queries.device.type, torch.bfloat16, enabled=amp):
            part = network.compare(leaves[0][pairs[chosen, 0]], leaves[1][pairs[chosen, 1]])
        losses = F.binary_cross_entropy_with_logits(part, labels[chosen], reduction="none")
        (losses * weights[chosen]).sum().backward()
        logits.append(part.detach())
    if described[0].requires_grad:
        torch.autograd.backward(described, [leaf.grad for leaf in leaves])
    table = _together(network, torch.cat(logits).view(share, size), process)
    losses = F.binary_cross_entropy_with_logits(table, labels_of(size).to(table.device), reduction="none")
    return losses[counted].mean(), table


def _together(network: PairClassifier, logits: torch.Tensor, process: Process) -> torch.Tensor:
    """Return the gradients summed over the processes, and their logits one below the other."""
    if process.world == 1:
        return logits
    for parameter in network.parameters():
        if parameter.requires_grad:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
    parts = [torch.empty_like(logits) for _ in range(process.world)]
    dist.all_gather(parts, logits.contiguous())
    return torch.cat(parts)


def group_statistics(logits: torch.Tensor, counted: torch.Tensor) -> dict[str, float]:
    """Return how well a group is told apart: mean score of copies and of others, and the chance that a copy scores
    higher.
    """
    table = logits.float().cpu().numpy()
    scores, own = 1 / (1 + np.exp(-table.astype(np.float64))), np.eye(len(table), dtype=bool)
    other = counted.cpu().numpy() & ~own
    found = {"copies": float(scores[own].mean())}
    if other.any():
        higher = table[own][:, None] - table[other][None]
        found |= {"others": float(scores[other].mean()), "auc": float((higher > 0).mean() + (higher == 0).mean() / 2)}
    return found


@dataclass(frozen=True)
class HeldOut:
    """Scores of the pairs of all groups, by two judges.

    Attributes:
        copies: (p,) bool, whether query and reference are made from one image.
        network: (p,) float32, logits of the pair network.
        cosine: (p,) float32, cosines of a member's descriptors of the same pixels.
    """

    copies: np.ndarray
    network: np.ndarray
    cosine: np.ndarray

    def precision(self) -> dict[str, float]:
        """Average precision over all pairs, by judge."""
        from sklearn.metrics import average_precision_score

        return {
            name: float(average_precision_score(self.copies, getattr(self, name))) for name in ("network", "cosine")
        }


@torch.inference_mode()
def held_out(
    network: PairClassifier,
    member: Describer,
    images: ImageSet,
    look_alikes: LookAlikes,
    stage: config.PairStage,
    *,
    seed: int,
    process: Process,
) -> HeldOut:
    """Score all pairs of the groups of a stage, as in training, by the network and by a member's descriptors.

    Args:
        network, member: in evaluation mode, on the device.
        images: train images that neither was trained on.
        look_alikes: of these images.
        stage: groups, their size, and the views.
        seed: of the edits.
        process: this one.
    """
    items = GroupItems(
        images,
        groups_of(stage, images, look_alikes),
        stage=stage,
        plain=find(stage.plain),
        view=find(stage.view),
        size=network.settings.image_size,
        rng=functools.partial(view_rng, seed, 0),
    )
    labels = np.eye(stage.group, dtype=bool).ravel()
    logits, cosines = [], []
    for number in range(len(items)):
        references, queries, _ = (part.to(process.device) for part in items[number])
        described = [network.describe(side) for side in (references, queries)]
        first, second = torch.cartesian_prod(*[torch.arange(stage.group)] * 2).T.to(process.device)
        logits.append(network.compare(described[0][first], described[1][second]).cpu().numpy())
        left, right = (member.embed(side, view_set(()))[:, 0] for side in (references, queries))
        cosines.append((left @ right.T).float().cpu().numpy().ravel())
    return HeldOut(np.tile(labels, len(items)), np.concatenate(logits), np.concatenate(cosines))
