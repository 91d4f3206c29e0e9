"""The organisers' GIST baseline (Douze et al., arXiv 2106.09672): no weights, no normalisation."""

from __future__ import annotations

from isckit.config import Ensemble, Gist, Matching, Recipe, Views


def gist() -> Recipe:
    """GIST 960-d -> PCA 256 fitted on train.

    Command: ./run_phase1.sh --recipe gist --data DISC21
    Published, without re-normalisation after PCA: uAP 0.1556, Recall@P90 0.1137 (all 50,000 phase-1 queries).
    Here the reduced vectors are L2-normalised like those of every ensemble.
    """
    return Recipe(
        name="gist",
        members=(Gist(),),
        ensemble=Ensemble(fit_images=10_000),
        normalise=(),
        matching=Matching(branches=(Views(query_views=(), reference_views=(), norm_factor=0.0),)),
    )
