"""Pair losses against a cross-batch memory (XBM; Wang et al., CVPR 2020): lyakaap's margins, and InfoNCE."""

from __future__ import annotations

import torch

from isckit import config
from isckit.losses.memory import Memory
from isckit.losses.objective import Batch, Objective, Parts, exact, mean_where
from isckit.losses.triplet import euclidean
from isckit.models.heads import Outputs


class ContrastiveObjective(Objective):
    """Mean of relu(D - positive_margin) over active positive pairs, plus of relu(negative_margin - D) over negative.

    D is the L2 distance of an embedding and an entry of the memory, which takes in the batch first. A pair is active
    where its term is above zero, so the few hard negatives drive the loss however many easy ones there are.

    The gradient is that of the global batch however many processes share it. lyakaap's code had it divided by their
    number, so his learning rates are to be divided by it here.
    """

    def __init__(self, settings: config.Contrastive, *, dim: int, batch_rows: int) -> None:
        super().__init__()
        self.settings = settings
        self.memory = Memory(settings.memory, dim=dim, batch_rows=batch_rows)

    @exact
    def forward(self, outputs: Outputs, batch: Batch) -> Parts:
        """Return the loss and its parts positive_loss, negative_loss."""
        rows = outputs.embedding.float()
        positives, negatives = self.memory.push(rows, batch.labels)
        distances = euclidean(rows, self.memory.embedding)
        too_far = (distances - self.settings.positive_margin).relu()
        too_near = (self.settings.negative_margin - distances).relu()
        positive = mean_where(too_far, positives & (too_far > 0))
        negative = mean_where(too_near, negatives & (too_near > 0))
        return {"loss": positive + negative, "positive_loss": positive, "negative_loss": negative}


class InfoNceObjective(Objective):
    """Mean over rows of the mean over their positives of -log softmax among all entries but the row itself.

    Rows without a positive in the memory (raw negatives) only serve as negatives of others.
    """

    def __init__(self, settings: config.InfoNce, *, dim: int, batch_rows: int) -> None:
        super().__init__()
        self.temperature = settings.temperature
        self.memory = Memory(settings.memory, dim=dim, batch_rows=batch_rows)

    @exact
    def forward(self, outputs: Outputs, batch: Batch) -> Parts:
        """Return the loss, which has no parts."""
        rows = outputs.embedding.float()
        positives, negatives = self.memory.push(rows, batch.labels)
        logits = rows @ self.memory.embedding.T / self.temperature
        among = logits.masked_fill(~(positives | negatives), -torch.inf).logsumexp(1)
        count = positives.sum(1)
        mean_logit = logits.where(positives, 0.0).sum(1) / count.clamp(min=1)
        return {"loss": mean_where(among - mean_logit, count > 0)}
