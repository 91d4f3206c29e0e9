"""The kit's own choice among the published pieces.

Sources: network, stages and subtraction of lyakaap (arXiv 2112.04323), without its public pairs; entropy term and score
normalisation of SSCD (arXiv 2202.10261); GIST beside a small network, after the organisers (arXiv 2106.09672).
"""

from __future__ import annotations

from isckit.config import (
    Backbone,
    Ensemble,
    Extract,
    Gist,
    Network,
    NtXent,
    Offset,
    Optim,
    Recipe,
    Stage,
    Stretch,
    Subtract,
    replace,
)
from isckit.recipes import lyakaap
from isckit.recipes.baseline import GIST_WEIGHT
from isckit.recipes.descriptor_track import head_start, hub_weights


def ours() -> Recipe:
    """EfficientNetV2-M through lyakaap's first three stages, negatives from train; whitened, subtracted, offset.

    Command: torchrun --nproc-per-node 16 -m isckit train --recipe ours --name ours --data DISC21
    Cost: derived, not measured: that of lyakaap without its last stage, tens of A100-hours.
    Score: not measured. lyakaap's paper has uAP 0.6435 after these stages, before anything is normalised; it trains on
    references there. No query and no reference is trained on here, so the public labels stay a measure.
    Source: see above; the order "subtract, then one score normalisation" is the one that leaves unit vectors between.
    """
    (first,) = lyakaap.train_negatives().members
    assert isinstance(first, Network)
    network = replace(first, stages=first.stages[:3])
    return Recipe(
        name="ours",
        members=(network,),
        extract=Extract(batch_images=64, shard_images=16_384),
        ensemble=Ensemble(how="pca", dim=255, whiten=0.25),
        normalise=(lyakaap.SUBTRACT, Offset(beta=1.0, n=3)),
        external=hub_weights([network]),
    )


def mini() -> Recipe:
    """On two CPU cores: a small network from random weights, sharpened at 96 px, beside GIST.

    Command: ./run_phase1.sh --data DIR --recipe ours.mini
    Cost: measured, 14 minutes of one core.
    Score: docs/descriptor_systems.md.
    Source: the full recipe; a head start stands in for ImageNet's weights, GIST for what a small network misses.
    """
    sharpen = Stage(
        name="sharpen",
        epochs=4,
        images_per_epoch=6_000,
        batch_images=128,
        image_size=96,
        views=("weak", "mild"),
        loss=NtXent(temperature=0.05, koleo=1.0),
        optim=Optim(name="adamw", lr=1e-3, weight_decay=0.05, warmup_epochs=0.1, schedule="cosine"),
    )
    network = Network(
        backbone=Backbone(name="resnet10t"),
        dim=256,
        gem_p=3.0,
        image_size=128,
        canvas=192,
        flip=True,
        stages=(head_start(epochs=10), sharpen),
    )
    return replace(
        ours(),
        name="ours.mini",
        members=(network, Gist(weight=GIST_WEIGHT)),
        extract=Extract(),
        ensemble=Ensemble(),
        normalise=(Subtract(), Stretch()),
        external=(),
    )
