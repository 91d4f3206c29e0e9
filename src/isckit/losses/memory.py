"""A cross-batch memory: the newest embeddings and their labels (XBM; Wang et al., CVPR 2020)."""

from __future__ import annotations

import torch
from torch import nn

from isckit.losses.objective import gathered, own_rows
from isckit.types import BadInput


class Memory(nn.Module):
    """First in, first out, without gradient; every process holds that of the global batch.

    All of it is in buffers: a resumed run goes on with the same memory. Nothing is read back from the device.
    """

    embedding: torch.Tensor
    label: torch.Tensor
    position: torch.Tensor
    filled: torch.Tensor

    def __init__(self, size: int, *, dim: int, batch_rows: int) -> None:
        """Make an empty memory of `size` embeddings of `dim` values, for global batches of `batch_rows`.

        Raises:
            BadInput: not even one batch has room.
        """
        super().__init__()
        if size < batch_rows:
            raise BadInput(
                seen=f"loss.memory {size} with {batch_rows} embeddings a batch",
                allowed="a memory of at least one whole batch (all views and negatives of its anchors)",
                remedy="raise the stage's loss.memory, or lower its batch_images",
            )
        self.register_buffer("embedding", torch.zeros(size, dim))
        self.register_buffer("label", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    def push(self, rows: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Take in the (n, dim) rows of every process.

        Returns:
            The positive and the negative pairs of this process's rows and the memory: (n, size) bool each.
            A row and its own entry are neither; neither is a place that has not been filled yet.
        """
        everybody, everyones = gathered(rows.detach()), gathered(labels)
        size, n = len(self.embedding), len(everybody)
        assert n <= size, f"{n} embeddings for a memory of {size}"
        places = torch.arange(size, device=rows.device)
        slots = (self.position + places[:n]) % size
        self.embedding[slots], self.label[slots] = everybody, everyones
        self.position.add_(n).remainder_(size)
        self.filled.add_(n).clamp_(max=size)
        itself = slots[own_rows(len(rows)), None] == places
        same = labels[:, None] == self.label
        known = places < self.filled
        return same & known & ~itself, ~same & known
