"""The kit's own matching system: embeddings of views find similar images, local features verify geometry.

Sources: views of both images, penalties and score normalisation after D2LV (arXiv 2111.07090) and the organisers'
baselines (arXiv 2106.09672); local features and their verification after imgFp (arXiv 2112.02373); the descriptor is
that of `ours`.
"""

from __future__ import annotations

from isckit.config import Cut, External, Local, Matching, Recipe, Views, Vote, Weighted, replace
from isckit.recipes import baseline, ours

VIEWS = Views(cut=Cut(by="share", amount=0.003))
"""A fixed share, so that no pair is left out for the sake of others: thirty candidates a query of 3,000 references."""
LOCAL = Local(vote=Vote(index="codes", lists=0, probes=8, bits=14, least_votes=3), candidates=("views",))
# A pair without a row of views counts a little below the score that the share ends at.
MATCHING = Matching(
    branches=(VIEWS, LOCAL),
    fusion=Weighted(weights=(2.0, 1.0), absent=(-0.25, 0.0), logarithmic=(False, True)),
)

# Training images of the shipped weights: photographs that are no part of the contest's data.
SHIPPED = (
    External(
        name="Caltech 101",
        address="https://data.caltech.edu/records/mzrjq-6wc02",
        licence="CC-BY-4.0",
        use="training images of the weights in checkpoints/default (network, fisher)",
    ),
    External(
        name="Clothing dataset",
        address="https://github.com/alexeygrigorev/clothing-dataset",
        licence="CC0-1.0",
        use="training images of the weights in checkpoints/default (network, fisher)",
    ),
)


def ours_matching() -> Recipe:
    """The default of both tracks: the descriptor of `ours`, its views, and local features.

    Command: ./run_phase1.sh --data DIR --recipe ours_matching
    Cost: that of ours for training; none with the weights that the kit ships.
    Score: docs/default_model.md.
    Source: see above; weights of the two branches, and a score for pairs that one of them lacks, are the kit's.
    """
    return replace(ours.ours(), name="ours_matching", matching=MATCHING)


def default() -> Recipe:
    """`ours_matching`, for the weights that the kit ships: with them as --checkpoint nothing is trained.

    Command: ./run_phase1.sh --data DIR --recipe ours_default --checkpoint checkpoints/default/weights.safetensors
    Cost: none but inference.
    Score: docs/default_model.md.
    Source: ./train_default.sh makes the weights.
    """
    return replace(ours_matching(), name="ours_default", external=SHIPPED)


def mini() -> Recipe:
    """The same with the shorter training of `ours.mini`.

    Command: ./run_phase1.sh --data DIR --recipe ours_matching.mini
    Cost: that of ours.mini for training, and about 22 ms an image for its points.
    Score: docs/matching_systems.md.
    Source: the full recipe.
    """
    return replace(ours.mini(), name="ours_matching.mini", matching=MATCHING)


def large() -> Recipe:
    """The descriptor of `ours.large`, its views, and local features.

    Command: torchrun --nproc-per-node 16 -m isckit train --recipe ours_matching.large --name large --data DISC21
    Cost: that of ours.large, and an index of about a thousand points an image: not run at this scale.
    Score: not measured.
    Source: see above.
    """
    return replace(ours.large(), name="ours_matching.large", matching=MATCHING)


def tiny() -> Recipe:
    """The same code path in a minute or two, for the built-in set and for tests: too short to learn much."""
    return replace(baseline.tiny(), name="ours_matching.tiny", matching=MATCHING)
