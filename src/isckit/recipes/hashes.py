"""Perceptual hashes as baselines: no weights, nothing fitted, no normalisation; both tracks compare the bits."""

from __future__ import annotations

from isckit.config import Ensemble, Hash, Matching, Recipe, Views

AS_THEY_ARE = Matching(branches=(Views(query_views=(), reference_views=(), norm_factor=0.0),))
"""Whole images, and the similarity itself as the score."""


def pdq() -> Recipe:
    """PDQ, 256 bits (Davis & Rosen, Facebook 2019): the score is 1 - 2 * Hamming distance / 256.

    Command: ./run_phase1.sh --recipe pdq --data DISC21
    Cost: about 4 ms of one core an image of 512 x 384 pixels.
    Published: nothing on DISC21. Two pictures are taken for copies up to a distance of 31 bits.
    Source: facebook/ThreatExchange, pdq/cpp.
    Not reproduced: pictures of more than 512 pixels are averaged down, where the authors' program takes the nearest.
    """
    return Recipe(
        name="pdq",
        members=(Hash(method="pdq"),),
        ensemble=Ensemble(how="shared", dim=256),
        normalise=(),
        matching=AS_THEY_ARE,
    )


def phash() -> Recipe:
    """pHash, 64 bits (Zauner 2010, as in imagehash): the score is 1 - 2 * Hamming distance / 64.

    Command: ./run_phase1.sh --recipe phash --data DISC21
    Cost: about 1 ms of one core an image of 512 x 384 pixels.
    Published: nothing on DISC21.
    Source: JohannesBuchner/imagehash, phash().
    Not reproduced: frequencies below a hundredth of a grey level count as 0, so that flat pictures get one hash.
    """
    return Recipe(
        name="phash",
        members=(Hash(method="phash"),),
        ensemble=Ensemble(how="shared", dim=64),
        normalise=(),
        matching=AS_THEY_ARE,
    )
