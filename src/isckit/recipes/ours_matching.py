"""The kit's own matching system: embeddings of views find what looks alike, local features what fits together.

Sources: views of both images, penalties and score normalisation after D2LV (arXiv 2111.07090) and the organisers'
baselines (arXiv 2106.09672); local features and their verification after imgFp (arXiv 2112.02373); the descriptor is
that of `ours`.
"""

from __future__ import annotations

from isckit.config import Cut, Local, Matching, Recipe, Views, Weighted, replace
from isckit.recipes import baseline, ours

VIEWS = Views(cut=Cut(by="share", amount=0.003))
"""A fixed share, so that no pair is left out for the sake of others: thirty candidates a query of 3,000 references."""
LOCAL = Local(candidates=("views",))
# What a pair without a row of views counts is a little below the score that the share ends at.
MATCHING = Matching(
    branches=(VIEWS, LOCAL),
    fusion=Weighted(weights=(2.0, 1.0), absent=(-0.25, 0.0), logarithmic=(False, True)),
)


def ours_matching() -> Recipe:
    """The descriptor of `ours`, its views, and local features.

    Command: torchrun --nproc-per-node 16 -m isckit train --recipe ours_matching --name ours_matching --data DISC21
    Cost: that of ours, and an index of about a thousand points an image: not run at this scale.
    Score: not measured.
    Source: see above; weights of the two branches, and a score for pairs that one of them lacks, are the kit's.
    """
    return replace(ours.ours(), name="ours_matching", matching=MATCHING)


def mini() -> Recipe:
    """On two CPU cores, with the small network of `ours.mini`.

    Command: ./run_phase1.sh --data DIR --recipe ours_matching.mini
    Cost: measured, 14 minutes of one core for training, as for ours.mini, and about 22 ms an image for its points.
    Score: docs/matching_systems.md.
    Source: the full recipe.
    """
    return replace(ours.mini(), name="ours_matching.mini", matching=MATCHING)


def tiny() -> Recipe:
    """The same code path in a minute or two, for the built-in set and for tests: too short to learn much."""
    return replace(baseline.tiny(), name="ours_matching.tiny", matching=MATCHING)
