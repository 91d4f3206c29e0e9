"""HOW with ASMK, a baseline of the organisers: local features that are learnt through their weighted sum.

Sources: Tolias, Jenicek & Chum, "Learning and aggregating deep local descriptors for instance-level recognition" (ECCV
2020), gtolias/how and jenicek/asmk (MIT); Douze et al. 2021 and the organisers' page for its use and scores on DISC21.
"""

from __future__ import annotations

from isckit.config import (
    Asmk,
    Backbone,
    Contrastive,
    Cut,
    Ensemble,
    External,
    Head,
    Matching,
    Network,
    Optim,
    Recipe,
    Stage,
    Subtract,
    replace,
)
from isckit.recipes.descriptor_track import head_start

IMAGENET = External(
    name="resnet50.tv_in1k",
    address="https://huggingface.co/timm/resnet50.tv_in1k",
    licence="BSD-3-Clause",
    use="first weights of network, torchvision's; trained on ImageNet, whose images have terms of their own: the "
    "participant certifies that they permit a prize contest",
)
BRANCH = Asmk(
    member="network",
    words=65_536,
    fit_images=20_000,
    features=2_000,
    scales=(2.0, 1.414, 1.0, 0.707, 0.5, 0.353, 0.25),
    longest=1_024,
    query_words=5,
    alpha=3.0,
    threshold=0.0,
    norm_factor=2.0,
    norm_rank=10,
    cut=Cut(by="rows", amount=10.0),
)
COPIES = Stage(
    name="copies",
    epochs=20,
    images_per_epoch=2_000,
    batch_images=5,
    image_size=1_024,
    views=("weak", "mild"),
    loss=Contrastive(positive_margin=0.0, negative_margin=0.8, memory=2_000),
    optim=Optim(name="adam", lr=1e-6, weight_decay=1e-4, warmup_epochs=0.0, schedule="constant", per="epoch"),
    micro_batch=2,
)


def how() -> Recipe:
    """ResNet-50 without its last stage, 2,000 local features an image in 65,536 visual words, scores normalised.

    Command: isckit train --recipe how --name how --data DISC21
    Cost: published, 0.11 s an image on a V100, and 7.4 s a query against a million references, twice with
    normalisation. Disk: derived, 20 bytes a word, 20 to 40 GB a million images; train lies there twice.
    Memory: derived, 9 GB while the codebook is fitted, on the GPU where there is one.
    Published: uAP 0.17327, R@P90 0.1054 raw, 0.37156 and 0.2035 normalised, phase 1 (10,000 pairs).
    Source: the released configurations; the organisers' page speaks of codes of 512 bits, the configuration of 128.
    Not reproduced: training on SfM-120k with hard negatives and batch statistics at rest, by tuples of one query, one
    positive and five negatives. In their place are edited copies of train images against a memory of others. The
    learning rate does not fall by its 1 % an epoch. The codebook is of DISC21's train images, not of SfM-120k; no query
    is limited to 10,000 references.
    """
    network = Network(
        backbone=Backbone(name="resnet50.tv_in1k", pretrained="hub", cut="last_stage", normalisation="imagenet"),
        head=Head(kind="linear", bias=True, norm=False, whitened=True),
        dim=128,
        pooling="attention",
        gem_learnable=False,
        image_size=1_024,
        canvas=1_024,
        stages=(COPIES,),
    )
    return Recipe(
        name="how",
        members=(network,),
        ensemble=Ensemble(how="shared", dim=128),
        normalise=(Subtract(),),
        matching=Matching(branches=(BRANCH,)),
        external=(IMAGENET,),
    )


def mini() -> Recipe:
    """The same code path on two CPU cores: a ResNet of ten layers from random weights, 1,024 words, 200 features.

    Command: ./run_phase1.sh --data DIR --recipe how.mini
    Cost: measured, at most 4 minutes of one core for training and 7 for the rest (beside other work).
    Published: nothing at this size.
    Source: the full recipe, with a head start in the place of ImageNet, through which the reduction is learnt as well.
    Small images have few features, and queries take 3 words each.
    """
    whole = how()
    (network,) = whole.trained
    small = replace(
        network,
        backbone=Backbone(name="resnet10t", cut="last_stage", normalisation="imagenet"),
        head=Head(kind="linear", bias=True, norm=False),
        dim=64,
        image_size=96,
        canvas=192,
        stages=(head_start(epochs=3),),
    )
    branch = replace(
        BRANCH, words=1_024, fit_images=1_500, features=200, scales=(1.0, 0.707, 0.5), longest=160, query_words=3
    )
    return replace(
        whole,
        name="how.mini",
        members=(small,),
        ensemble=Ensemble(how="shared", dim=64),
        matching=Matching(branches=(branch,)),
        external=(),
    )
