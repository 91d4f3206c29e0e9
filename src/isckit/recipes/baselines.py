"""Published baselines: PDQ and pHash, whose bits both tracks compare, and the organisers' GIST and MultiGrain."""

from __future__ import annotations

from typing import Any

from isckit.config import (
    Backbone,
    Ensemble,
    External,
    Gist,
    Hash,
    Head,
    Matching,
    Network,
    Recipe,
    Space,
    Views,
    replace,
)
from isckit.recipes.descriptor_track import head_start

AS_THEY_ARE = Matching(branches=(Views(query_views=(), reference_views=(), norm_factor=0.0),))
"""Whole images, and the similarity itself as the score."""


def pdq() -> Recipe:
    """PDQ, 256 bits (Davis & Rosen, Facebook 2019): the score is 1 - 2 * Hamming distance / 256.

    Command: ./run_phase1.sh --recipe pdq --data DISC21
    Cost: about 4 ms of one core an image of 512 x 384 pixels.
    Published: the hash, and no score on DISC21. Two pictures are taken for copies up to a distance of 31 bits.
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
    Published: the hash, and no score on DISC21.
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


MULTIGRAIN = External(
    name="multigrain_joint_3B_0.5.pth",
    address="https://dl.fbaipublicfiles.com/multigrain/multigrain_models/joint_3B_0.5.pth",
    licence="CC-BY-NC-4.0",
    use="weights of network (facebookresearch/multigrain), trained by their authors on ImageNet, whose images have "
    "terms of their own: the participant certifies that they permit a prize contest",
    version="joint training, 3 repetitions, lambda 0.5",
)


def gist() -> Recipe:
    """GIST: 960 values as they are for matching, PCA to 256 fitted on train for descriptors; no normalisation.

    Command: ./run_phase1.sh --recipe gist --data DISC21
    Cost: published, 0.88 ms of one of 20 processes an image, 10 to 20 min a million.
    Published: 960-d uAP 0.1442, with PCA and without unit length behind it 0.1555, Recall@P90 0.1137 (all 50,000
    phase-1 queries); 960-d on the organisers' subset_1 0.2706.
    Source: Oliva & Torralba 2001, and facebookresearch/isc2021, GIST_baseline.py.
    Not reproduced: the reduced vectors keep their length there; here they are L2-normalised like those of every
    ensemble. Train images for the PCA are drawn by the recipe's seed.
    """
    return Recipe(
        name="gist",
        members=(Gist(),),
        ensemble=Ensemble(fit_images=10_000, whiten=0.0),
        normalise=(),
        matching=Matching(branches=(Views(query_views=(), reference_views=(), norm_factor=0.0, space=Space(dim=0)),)),
    )


def multigrain() -> Recipe:
    """MultiGrain (Berman et al. 2019): ResNet-50, GeM with p=7, no head, PCA to 1500 with whitening, normalised scores.

    Command: ./run_phase1.sh --recipe multigrain --data DISC21
    Cost: 24 ms of a V100 an image, as published; not run here.
    Published: uAP 0.1647 / Recall@P90 0.0636 without score normalisation, 0.3642 / 0.2720 with it (all 50,000 phase-1
    queries); 0.5631 / 0.4137 on subset_1, without it.
    Source: facebookresearch/isc2021, GeM_baseline.py and score_normalization.py.
    Not reproduced: images there keep their aspect, the longer side at most 512 pixels; here they are reduced, or
    enlarged, to a square of 512. Pooled features are set to unit length before the PCA. Train images for it are drawn
    by the recipe's seed. The Descriptor track, which the organisers did not enter, has the first 256 components.
    """
    network = Network(
        backbone=Backbone(name="resnet50", pretrained=MULTIGRAIN.name, normalisation="imagenet"),
        head=Head(kind="none"),
        dim=2_048,
        gem_p=7.0,
        gem_learnable=False,
        image_size=512,
        canvas=512,
        stages=(),
    )
    views = Views(
        query_views=(),
        reference_views=(),
        space=Space(dim=1_500, whiten=0.5, fit_images=10_000),
        norm_factor=2.0,
        norm_first=10,
        norm_last=10,
    )
    return Recipe(
        name="multigrain",
        members=(network,),
        ensemble=Ensemble(whiten=0.5, fit_images=10_000),
        normalise=(),
        matching=Matching(branches=(views,)),
        external=(MULTIGRAIN,),
    )


def multigrain_mini() -> Recipe:
    """The same code path on two CPU cores: a ResNet of ten layers, trained from random weights at 64 px.

    Command: ./run_phase1.sh --data DIR --recipe multigrain.mini
    Cost: measured, at most 6 minutes of one core for training (beside other work).
    Published: nothing at this size.
    Source: the full recipe; the head start stands for MultiGrain's own training, which is not reproduced. Its space has
    128 values.
    """
    whole = multigrain()
    (network,) = whole.members
    views: Any
    (views,) = whole.matching.branches
    assert isinstance(network, Network)
    small = replace(
        network,
        backbone=Backbone(name="resnet10t", normalisation="imagenet"),
        dim=512,
        gem_p=3.0,
        image_size=96,
        canvas=192,
        stages=(head_start(epochs=3),),
    )
    views = replace(views, space=Space(dim=128, whiten=0.5, fit_images=10_000))
    return replace(
        whole,
        name="multigrain.mini",
        members=(small,),
        ensemble=Ensemble(dim=128, whiten=0.5, fit_images=10_000),
        matching=Matching(branches=(views,)),
        external=(),
    )
