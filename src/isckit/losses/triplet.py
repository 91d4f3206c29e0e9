"""Triplet losses: batch-hard with a soft margin (Hermans, Beyer & Leibe, 2017), and Parajuli's margins with mining."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from isckit import config
from isckit.losses.objective import Batch, Objective, Parts, exact, gathered, mean_where, processes
from isckit.models.heads import Outputs


def euclidean(rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return (n, m) distances, at least 1e-6, of (n, d) and (m, d) float32 rows.

    By a matrix product: the gradient of torch.cdist needs n * m * d values on a GPU.
    """
    squares = rows.square().sum(1)[:, None] + others.square().sum(1) - 2 * rows @ others.T
    return squares.clamp(min=1e-12).sqrt()


def batch_hard(rows: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean of softplus(farthest positive - nearest negative) over the global batch; (n, d) rows as they are.

    Rows without another of their label, or without one of another, count with a positive distance of 0, or not at all.
    """
    same = labels[:, None] == gathered(labels)
    distances = euclidean(rows, gathered(rows))
    farthest = distances.masked_fill(~same, -torch.inf).amax(1)
    nearest = distances.masked_fill(same, torch.inf).amin(1)
    return mean_where(F.softplus(farthest - nearest), ~same.all(1))


def triplet_losses(
    positive: torch.Tensor, negative: torch.Tensor, across: torch.Tensor, *, margin: float, improved: bool
) -> torch.Tensor:
    """Return losses of triplets of any shape, by squared distances anchor-positive, anchor-negative, positive-negative.

    max(0, d(a,p) - d(a,n) + margin), and where `improved` + max(0, d(a,p) - d(p,n) + margin / 2).
    """
    losses = (positive - negative + margin).relu()
    return losses + (positive - across + margin / 2).relu() if improved else losses


def is_hard(positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Return True where the negative is nearer to the anchor than the positive is."""
    return negative < positive


def is_semi_hard(positive: torch.Tensor, negative: torch.Tensor, *, margin: float) -> torch.Tensor:
    """Return True where the negative is farther than the positive, but not by the margin. The rest are easy."""
    return (positive < negative) & (negative < positive + margin)


def mined(excess: torch.Tensor, sought: torch.Tensor, *, wanted: int) -> torch.Tensor:
    """Return the numbers of `wanted` triplets: half of them sought ones, the rest random others.

    Where fewer are sought, those of the largest excess d(a,p) - d(a,n) stand in for them.

    Args:
        excess: (n,) of triplets in random order.
        sought: (n,) bool.
    """
    half = min(wanted // 2, len(excess))
    order = excess.masked_fill(sought, torch.inf).argsort(descending=True, stable=True)
    others = order[half:]
    drawn = torch.randperm(len(others), device=others.device)[: wanted - half]
    return torch.cat([order[:half], others[drawn]])


class TripletObjective(Objective):
    """Mean loss of some of the batch's triplets.

    Every view of an anchor meets a random other view of its image and a random image that is none. Of these triplets
    `triplets` count, chosen by `mining`. Where the stage brings negatives of its own (offline mining), half of what
    counts are triplets of these.
    """

    def __init__(self, settings: config.Triplet) -> None:
        super().__init__()
        self.settings = settings

    @exact
    def forward(self, outputs: Outputs, batch: Batch) -> Parts:
        """Return the loss, and the shares of hard and of semi-hard ones among the random triplets."""
        rows = gathered(outputs.embedding.float())
        triplets = _random_triplets(batch)
        anchor, positive, negative = (rows[part] for part in triplets)
        near, far = _squared(anchor, positive).detach(), _squared(anchor, negative).detach()
        hard, semi_hard = is_hard(near, far), is_semi_hard(near, far, margin=self.settings.margin)
        given = _given_triplets(batch)
        wanted = max(1, self.settings.triplets // processes()[1])
        given = given[:, torch.randperm(given.shape[1], device=given.device)[: wanted // 2]]
        kept = self._kept(near - far, hard, semi_hard, wanted=wanted - given.shape[1])
        a, p, n = (rows[part] for part in torch.cat([triplets[:, kept], given], dim=1))
        losses = triplet_losses(
            _squared(a, p), _squared(a, n), _squared(p, n), margin=self.settings.margin, improved=self.settings.improved
        )
        everywhere = torch.ones_like(hard)
        return {
            "loss": mean_where(losses, torch.ones_like(losses, dtype=torch.bool)),
            "hard": mean_where(hard.float(), everywhere),
            "semi_hard": mean_where(semi_hard.float(), everywhere),
        }

    def _kept(self, excess: torch.Tensor, hard: torch.Tensor, semi_hard: torch.Tensor, *, wanted: int) -> torch.Tensor:
        if self.settings.mining == "random":
            return torch.randperm(len(excess), device=excess.device)[:wanted]
        return mined(excess, hard if self.settings.mining == "hard" else semi_hard, wanted=wanted)


def _random_triplets(batch: Batch) -> torch.Tensor:
    """(3, n): rows of the global batch, for each view of this process's images that has both a copy and another."""
    labels, views = gathered(batch.labels), gathered(batch.views)
    own = _own(batch)[batch.views >= 0]
    same = labels[own, None] == labels
    other = ~same
    same = same & (views >= 0)
    same[torch.arange(len(own), device=own.device), own] = False
    whole = same.any(1) & other.any(1)
    triplets = torch.stack([own, _one_of(same), _one_of(other)])[:, whole]
    return triplets[:, torch.randperm(triplets.shape[1], device=own.device)]


def _given_triplets(batch: Batch) -> torch.Tensor:
    """(3, n): each anchor's first view, its second, and each negative that the stage brought for it."""
    own = _own(batch)
    first = (batch.views == 0).nonzero()[:, 0]
    negatives = (batch.views < 0).nonzero()[:, 0]
    anchors = first[(batch.views == 0).cumsum(0)[negatives] - 1]
    other = batch.labels[anchors] != batch.labels[negatives]
    return own[torch.stack([anchors, anchors + 1, negatives])[:, other]]


def _own(batch: Batch) -> torch.Tensor:
    """Rows of this process's images in the global batch."""
    return processes()[0] * len(batch.labels) + torch.arange(len(batch.labels), device=batch.labels.device)


def _one_of(where: torch.Tensor) -> torch.Tensor:
    """(n, m) bool -> (n,): a random marked column of each row."""
    return torch.rand(where.shape, device=where.device).masked_fill(~where, -1.0).argmax(1)


def _squared(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return (left - right).square().sum(-1)
