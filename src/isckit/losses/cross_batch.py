"""Metric losses over the batch and a cross-batch memory (XBM; Wang et al., CVPR 2020), from pytorch-metric-learning."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import ContrastiveLoss, CrossBatchMemory, SupConLoss
from pytorch_metric_learning.utils.distributed import DistributedLossWrapper, is_distributed
from torch import nn

from isckit import config
from isckit.types import BadInput


class CrossBatchLoss(nn.Module):
    """Loss of unit embeddings and image labels against all pairs in the memory; the batch itself is enqueued first.

    contrastive: mean over active positive pairs of relu(D - positive_margin) plus mean over active negative pairs of
    relu(negative_margin - D), D the L2 distance (lyakaap's use of the library).
    infonce: cross-entropy of the positive among all memory entries at a temperature (SupCon with one positive).

    Under several processes the batch is gathered, so batch, negatives and gradient are those of the global batch.
    """

    def __init__(self, settings: config.Loss, *, dim: int, batch_rows: int) -> None:
        super().__init__()
        if settings.memory < batch_rows:
            raise BadInput(
                seen=f"loss.memory {settings.memory} with {batch_rows} embeddings a batch",
                allowed="a memory of at least one whole batch (two views an image)",
                remedy="raise train.loss.memory or lower train.batch_images",
            )
        if settings.kind == "contrastive":
            loss: nn.Module = ContrastiveLoss(
                pos_margin=settings.positive_margin, neg_margin=settings.negative_margin, distance=LpDistance()
            )
        else:
            loss = SupConLoss(temperature=settings.temperature)
        self.memory = CrossBatchMemory(loss, embedding_size=dim, memory_size=settings.memory)

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """(n, d) unit float32 rows with gradient and (n,) int64 labels -> scalar."""
        if is_distributed():
            return DistributedLossWrapper(self.memory)(embeddings, labels)
        return self.memory(embeddings, labels)

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs to go on with the same loss; the memory is not in the library's state_dict."""
        return {
            "embeddings": self.memory.embedding_memory,
            "labels": self.memory.label_memory,
            "next": self.memory.queue_idx,
            "full": self.memory.has_been_filled,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take up the state of an interrupted run."""
        self.memory.embedding_memory.copy_(state["embeddings"])
        self.memory.label_memory.copy_(state["labels"])
        self.memory.queue_idx, self.memory.has_been_filled = state["next"], state["full"]
