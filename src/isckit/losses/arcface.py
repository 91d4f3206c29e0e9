"""ArcFace (Deng et al., CVPR 2019) with every image a class, as S-square trained with it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from isckit import config
from isckit.losses.objective import Batch, Objective, Parts, exact
from isckit.models.heads import Outputs


class ArcFaceObjective(Objective):
    """Cross-entropy of scale * cosines to the class weights, the right class's angle enlarged by the margin.

    Where that angle would pass pi, the cosine is lowered by margin * sin(margin) instead, so that it goes on falling.
    Labels are class numbers, 0 to classes - 1.
    """

    def __init__(self, settings: config.ArcFace, *, dim: int, classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.weight = nn.Parameter(F.normalize(torch.randn(classes, dim), dim=-1))

    def start_from(self, centroids: torch.Tensor) -> None:
        """Set the class weights to (classes, dim) rows as they are: lengths count for the steps, not for the loss."""
        assert centroids.shape == self.weight.shape, (centroids.shape, self.weight.shape)
        with torch.no_grad():
            self.weight.copy_(centroids)

    @exact
    def forward(self, outputs: Outputs, batch: Batch) -> Parts:
        """Return the loss, which has no parts."""
        # The cosines are divided, not the weights: of a million classes there are far more weights than logits.
        lengths = self.weight.norm(dim=1).clamp(min=1e-12)
        products = outputs.embedding.float() @ self.weight.T
        labels = batch.labels[:, None]
        right = self._with_margin(products.gather(1, labels) / lengths[labels])
        logits = products * (self.settings.scale / lengths)
        logits.scatter_(1, labels, self.settings.scale * right)
        return {"loss": F.cross_entropy(logits, batch.labels)}

    def _with_margin(self, cosine: torch.Tensor) -> torch.Tensor:
        margin = self.settings.margin
        sine = (1 - cosine.square()).clamp(min=1e-7).sqrt()
        enlarged = cosine * math.cos(margin) - sine * math.sin(margin)
        return torch.where(cosine > -math.cos(margin), enlarged, cosine - margin * math.sin(margin))
