"""The kit's own first system: a contrastive network and GIST in one PCA ensemble, both tracks.

Published baselines of others are in `baselines`.

Sources: contrastive loss with cross-batch memory and weak/strong views after lyakaap (Yokoo, arXiv 2112.04323);
GIST and score normalisation after the organisers' baselines (Douze et al., arXiv 2106.09672).
"""

from __future__ import annotations

from isckit.config import (
    Backbone,
    Contrastive,
    Extract,
    Gist,
    InfoNce,
    Network,
    Optim,
    Recipe,
    Stage,
    replace,
)
from isckit.recipes.descriptor_track import hub_weights

GIST_WEIGHT = 3.0
"""GIST vectors of different images have cosines near 1: their differences need weight to count beside a network's."""


def baseline() -> Recipe:
    """Full DISC21: EfficientNetV2-S from ImageNet weights at 256 px, one pass over 1M train images a epoch.

    Command: torchrun --nproc-per-node 8 -m isckit train --recipe baseline --name baseline --data DISC21
    Cost: about 10M image pairs; not run at this scale. Score on DISC21: not measured.
    """
    network = Network(
        backbone=Backbone(name="tf_efficientnetv2_s.in21k_ft_in1k", pretrained="hub"),
        dim=256,
        gem_p=1.0,
        gem_learnable=False,
        image_size=256,
        canvas=512,
        stages=(
            Stage(
                epochs=10,
                batch_images=256,
                views=("weak", "lyakaap.intermediate"),
                loss=Contrastive(positive_margin=0.0, negative_margin=1.0, memory=20_000),
                optim=Optim(name="sgd", lr=0.1, weight_decay=1e-6, warmup_epochs=0.1, schedule="linear"),
            ),
        ),
    )
    return Recipe(
        name="baseline",
        members=(network, Gist(weight=GIST_WEIGHT)),
        extract=Extract(batch_images=64, shard_images=16_384),
        external=hub_weights([network]),
    )


def mini() -> Recipe:
    """The same code path on two CPU cores in about twenty minutes: MobileNetV4-small from random weights at 96 px.

    Command: ./run_phase1.sh --data DIR --recipe baseline.mini
    Differs from full scale where random weights ask for it: mild edits, since nothing is learnt from copies that keep
    little; a short memory, since embeddings of a young network age fast; a softmax over it instead of margins.
    """
    network = Network(
        backbone=Backbone(name="mobilenetv4_conv_small"),
        dim=256,
        gem_p=3.0,
        image_size=96,
        canvas=192,
        stages=(
            Stage(
                epochs=16,
                images_per_epoch=6_000,
                batch_images=128,
                views=("weak", "mild"),
                loss=InfoNce(temperature=0.07, memory=1_024),
                optim=Optim(name="adamw", lr=1.5e-3, weight_decay=0.05, warmup_epochs=1.0, schedule="cosine"),
            ),
        ),
    )
    return replace(
        baseline(), name="baseline.mini", members=(network, Gist(weight=GIST_WEIGHT)), extract=Extract(), external=()
    )


def tiny() -> Recipe:
    """The same code path in about a minute, for the built-in set and for tests: too short to learn much."""
    small = mini()
    network = small.members[0]
    assert isinstance(network, Network)
    (stage,) = network.stages
    short = replace(stage, epochs=4, images_per_epoch=600, batch_images=50, loss=InfoNce(temperature=0.07, memory=400))
    return replace(small, name="baseline.tiny", members=(replace(network, stages=(short,)), small.members[1]))
