"""visionForce's losses (Wang et al., 2021): classifiers on a wide and a narrow head, and a triplet loss below."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from isckit import config
from isckit.losses.objective import Batch, Objective, Parts, exact
from isckit.losses.triplet import batch_hard
from isckit.models.heads import Outputs


class TwoHeadsObjective(Objective):
    """Weighted sum of four terms, each image a class; labels are class numbers, 0 to classes - 1.

    Cross-entropy with smoothed labels of a classifier on `wide` and of one on `narrow` (one weight for both), soft
    cross-entropy of the narrow classifier against the wide one's softmax, and the batch-hard triplet loss on `pooled`.
    The triplet is that of the global batch, the others are means over this process's part. Where the wide head is the
    last (D2LV), it has the one classifier, and the parts are wide and triplet.
    """

    def __init__(self, settings: config.TwoHeads, *, wide: int, narrow: int, classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.wide = nn.Linear(wide, classes, bias=False)
        self.narrow = nn.Linear(narrow, classes, bias=False) if narrow != wide else None
        for classifier in (self.wide, self.narrow):
            if classifier is not None:
                nn.init.normal_(classifier.weight, std=0.001)

    @exact
    def forward(self, outputs: Outputs, batch: Batch) -> Parts:
        """Return the loss and its parts, before their weights: wide, narrow, soft, triplet."""
        temperature, smoothing = self.settings.logit_temperature, self.settings.smoothing
        wide = self.wide(outputs.wide.float()) / temperature
        parts = {
            "wide": F.cross_entropy(wide, batch.labels, label_smoothing=smoothing),
            "triplet": batch_hard(outputs.pooled.float(), batch.labels),
        }
        loss = self.settings.cross_entropy * parts["wide"] + self.settings.triplet * parts["triplet"]
        if self.narrow is not None:
            narrow = self.narrow(outputs.narrow.float()) / temperature
            parts["narrow"] = F.cross_entropy(narrow, batch.labels, label_smoothing=smoothing)
            parts["soft"] = soft_cross_entropy(narrow, teacher=wide)
            loss = loss + self.settings.cross_entropy * parts["narrow"] + self.settings.soft * parts["soft"]
        return {"loss": loss, **parts}


def soft_cross_entropy(logits: torch.Tensor, *, teacher: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of (n, classes) logits against the teacher's softmax, which gets no gradient."""
    return F.cross_entropy(logits, teacher.detach().softmax(1))
