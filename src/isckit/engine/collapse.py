"""Early signs that a training goes wrong: embeddings that collapse, pairs of which nothing is learnt."""

from __future__ import annotations

from collections.abc import Mapping

import torch

ALIKE = 0.95
GAP = 0.02
SPREAD = 0.02
NOTHING_LEARNT = 0.55
"""Below this chance that a copy scores higher than a look-alike, an epoch has taught nothing."""
REMEDY = (
    "lower optim.lr, lengthen optim.warmup_epochs, set optim.clip=1, or take more batch_images or memory; "
    "more epochs do not undo it"
)


@torch.no_grad()
def statistics(embeddings: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Return what shows a collapse, in O(n d min(n, d)): no table of all pairs is made for large batches.

    positive, negative: mean cosine of pairs of one label and of different labels; left out where there is no such pair.
    spread: participation ratio of the covariance, (sum of its eigenvalues)^2 / sum of their squares, which is the
    number of directions in use, as a share of the min(n - 1, d) that n rows can use; 0 where all are the same.

    Args:
        embeddings: (n, d) unit rows, n at least 2.
        labels: (n,) int64.
    """
    x = embeddings.detach().double()
    n = len(x)
    _, group = labels.unique(return_inverse=True)
    sums = x.new_zeros(int(group.max()) + 1, x.shape[1]).index_add_(0, group, x)
    sizes = torch.bincount(group)
    # The squared length of a sum of vectors is the sum of all products of two of them.
    own, same, every = x.square().sum(), sums.square().sum(), x.sum(0).square().sum()
    pairs, same_pairs = n * (n - 1), int((sizes * (sizes - 1)).sum())
    found = {"spread": _spread(x)}
    if same_pairs:
        found["positive"] = float((same - own) / same_pairs)
    if pairs > same_pairs:
        found["negative"] = float((every - same) / (pairs - same_pairs))
    return found


def _spread(x: torch.Tensor) -> float:
    n, d = x.shape
    centred = x - x.mean(0)
    gram = centred.T @ centred if d < n else centred @ centred.T
    # A thousandth of a percent of unit vectors' variance is rounding, not direction.
    if float(gram.trace()) < 1e-5 * n:
        return 0.0
    return float(gram.trace() ** 2 / gram.square().sum()) / min(n - 1, d)


def warning(record: Mapping[str, float]) -> str | None:
    """Return what is wrong and what to do, from a line of the training log; None where nothing is.

    Args:
        record: an epoch's means of `statistics` or of `pair_steps.group_statistics`, as far as there are any, and
            "epoch", counted from 0. That copies are no closer than others is a sign only after the first epoch.
    """
    if record.get("auc", 1.0) < NOTHING_LEARNT:
        return (
            f"epoch {record['epoch'] + 1:g}: copies are not told from look-alikes (AUC {record['auc']:.3f}). "
            "What to do: begin with trained weights (backbone.pretrained or weights_of), raise optim.lr, or choose a "
            "milder view"
        )
    positive, negative, spread = (record.get(key) for key in ("positive", "negative", "spread"))
    signs = []
    if negative is not None and negative > ALIKE:
        signs.append(f"different images have a mean cosine of {negative:.3f} (above {ALIKE})")
    if positive is not None and negative is not None and record["epoch"] > 0 and positive - negative < GAP:
        signs.append(f"copies are no closer than others: {positive:.3f} against {negative:.3f}")
    if spread is not None and spread < SPREAD:
        signs.append(f"embeddings use {spread:.1%} of the directions they could")
    if not signs:
        return None
    return f"epoch {record['epoch'] + 1:g}: the embeddings are collapsing: {'; '.join(signs)}. What to do: {REMEDY}"
