"""InfoNCE over a cross-batch memory: supervised contrast (Khosla et al., NeurIPS 2020) on XBM (Wang et al. 2020)."""

from __future__ import annotations

import torch

from isckit import config
from isckit.losses.memory import Memory
from isckit.losses.objective import Batch, Objective, Parts, exact, mean_where
from isckit.models.outputs import Outputs


class InfoNceObjective(Objective):
    """Mean over rows of the mean over their positives of -log softmax among all entries but the row itself.

    Rows without a positive in the memory (raw negatives) are only what others are told from.
    """

    def __init__(self, settings: config.InfoNce, *, dim: int, batch_rows: int) -> None:
        super().__init__()
        self.temperature = settings.temperature
        self.memory = Memory(settings.memory, dim=dim, batch_rows=batch_rows)

    @exact
    def forward(self, outputs: Outputs, batch: Batch) -> Parts:
        """The loss has no parts."""
        rows = outputs.embedding.float()
        positives, negatives = self.memory.push(rows, batch.labels)
        logits = rows @ self.memory.embedding.T / self.temperature
        among = logits.masked_fill(~(positives | negatives), -torch.inf).logsumexp(1)
        count = positives.sum(1)
        mean_logit = logits.where(positives, 0.0).sum(1) / count.clamp(min=1)
        return {"loss": mean_where(among - mean_logit, count > 0)}
