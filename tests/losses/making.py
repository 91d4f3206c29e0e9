"""Outputs and batches by hand."""

import torch
import torch.nn.functional as F
from torch import nn

from isckit.losses.objective import Batch
from isckit.models.heads import Outputs


def rows(n, dim=8, *, seed=0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


def unit(n, dim=8, *, seed=0):
    return F.normalize(rows(n, dim, seed=seed), dim=-1)


def outputs(embedding, *, narrow=None, wide=None, pooled=None):
    given = (embedding, *(embedding if other is None else other for other in (narrow, wide, pooled)))
    return Outputs(*given, torch.zeros(len(embedding), 1, 1, 1))


def batch(labels, *, weights=None, pixels=None):
    labels = torch.as_tensor(labels)
    pixels = torch.zeros(len(labels), 3, 2, 2, dtype=torch.uint8) if pixels is None else pixels
    return Batch(pixels, labels, torch.zeros_like(labels), weights)


def value_and_gradient(objective, embedding, labels, **kwargs):
    """(loss, gradient in the embeddings) of one step."""
    embedding = embedding.clone().requires_grad_()
    loss = objective(outputs(embedding), batch(labels, **kwargs))["loss"]
    loss.backward()
    return float(loss.detach()), embedding.grad


class TinyNetwork(nn.Module):
    """A convolution and a batch norm."""

    def __init__(self, dim=5):
        super().__init__()
        torch.manual_seed(1)
        self.dim = self.pooled_dim = dim
        self.convolution, self.norm = nn.Conv2d(3, dim, 3), nn.BatchNorm2d(dim)

    def outputs(self, pixels):
        features = self.norm(self.convolution(pixels.float() / 255)).relu()
        pooled = features.mean((-2, -1))
        return Outputs(F.normalize(pooled, dim=-1), pooled, pooled, pooled, features)
