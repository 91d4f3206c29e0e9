"""NT-Xent and KoLeo over the global batch: SSCD (Pizzi et al., CVPR 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from isckit import config
from isckit.augment.batched import overlapping
from isckit.losses.objective import Batch, Objective, Parts, exact, gathered, mean_where, own_rows
from isckit.models.heads import Outputs


class NtXentObjective(Objective):
    """L = nce + koleo weight * koleo, over the embeddings of all processes, which all have their gradient.

    nce: mean over rows i of the mean over their positives j of -log of e_ij / (e_ij + sum of e_in over non-matches n),
    e = exp(cosine / temperature): other positives are not in the denominator.
    koleo: mean of -log of the distance to the nearest non-match, which spreads the embeddings out.
    """

    def __init__(self, settings: config.NtXent) -> None:
        super().__init__()
        self.temperature, self.koleo = settings.temperature, settings.koleo

    @exact
    def forward(self, outputs: Outputs, batch: Batch) -> Parts:
        """Return the loss and its parts nce, koleo (before its weight)."""
        own = outputs.embedding.float()
        cosines = own @ gathered(own).T
        matches = matching(batch)
        itself = torch.zeros_like(matches)
        itself[:, own_rows(len(own))].fill_diagonal_(True)
        nce = self._nce(cosines, matches, matches & ~itself)
        koleo = _koleo(cosines, matches)
        return {"loss": nce + self.koleo * koleo, "nce": nce, "koleo": koleo}

    def _nce(self, cosines: torch.Tensor, matches: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
        logits = cosines / self.temperature
        others = logits.masked_fill(matches, -torch.inf).logsumexp(1, keepdim=True)
        count = positives.sum(1)
        rows = F.softplus(others - logits).where(positives, 0.0).sum(1) / count.clamp(min=1)
        return mean_where(rows, count > 0)


def _koleo(cosines: torch.Tensor, matches: torch.Tensor) -> torch.Tensor:
    nearest = cosines.masked_fill(matches, -1.0).amax(1)
    rows = -(2 - 2 * nearest).clamp(min=1e-6).log() / 2
    return mean_where(rows, ~matches.all(1))


def matching(batch: Batch) -> torch.Tensor:
    """Return (n, N) bool: True where the (n) own and (N) gathered images match, themselves included.

    Unmixed ones match where their labels are equal; those of a mixed batch where any of their sources have one label.
    The sources of another process's images are not known here, so across processes only the label counts.
    """
    matches = batch.labels[:, None] == gathered(batch.labels)
    if batch.weights is not None:
        matches[:, own_rows(len(batch.labels))] = overlapping(batch.weights, batch.labels)
    return matches
