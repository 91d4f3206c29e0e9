"""One step of a pair network: the outer product of a group's references and queries, in parts that fit the memory."""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F

from isckit.engine.distributed import Place
from isckit.models.pair import PairClassifier


def labels_of(size: int) -> torch.Tensor:
    """(G, G) float32, references by queries: 1 where both are made from the same image."""
    return torch.eye(size)


def backward_group(
    network: PairClassifier,
    references: torch.Tensor,
    queries: torch.Tensor,
    counted: torch.Tensor,
    *,
    place: Place,
    micro_batch: int,
    amp: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient of the mean binary cross-entropy over all counted pairs of a group.

    Each image is described once, and every pair compared. A process takes a part of the references, with all queries;
    the gradients are added up, so that their number changes nothing but rounding.

    Args:
        network: in training mode; its gradients are set.
        references, queries: (G, 3, S, S) uint8 on the device.
        counted: (G, G) bool.
        place: of this process.
        micro_batch: pairs compared at a time (0: all).
        amp: whether in mixed precision.

    Returns:
        The loss, and the logits (G, G), the same in all processes.
    """
    size = len(queries)
    share = place.share(size, "stages.NAME.group")
    own = slice(place.rank * share, (place.rank + 1) * share)
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
    table = _together(network, torch.cat(logits).view(share, size), place)
    losses = F.binary_cross_entropy_with_logits(table, labels_of(size).to(table.device), reduction="none")
    return losses[counted].mean(), table


def _together(network: PairClassifier, logits: torch.Tensor, place: Place) -> torch.Tensor:
    """Gradients summed over the processes, and their logits one below the other."""
    if place.world == 1:
        return logits
    for parameter in network.parameters():
        if parameter.requires_grad:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
    parts = [torch.empty_like(logits) for _ in range(place.world)]
    dist.all_gather(parts, logits.contiguous())
    return torch.cat(parts)


def group_statistics(logits: torch.Tensor, counted: torch.Tensor) -> dict[str, float]:
    """How well a group is told apart: mean score of copies and of others, and the chance that a copy scores higher."""
    table = logits.float().cpu().numpy()
    scores, own = 1 / (1 + np.exp(-table.astype(np.float64))), np.eye(len(table), dtype=bool)
    other = counted.cpu().numpy() & ~own
    found = {"copies": float(scores[own].mean())}
    if other.any():
        higher = table[own][:, None] - table[other][None]
        found |= {"others": float(scores[other].mean()), "auc": float((higher > 0).mean() + (higher == 0).mean() / 2)}
    return found
