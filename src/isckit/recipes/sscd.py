"""SSCD, after the contest: contrastive learning with an entropy term, copies' edits and mixed images, no labels.

Sources: Pizzi et al., "A Self-Supervised Descriptor for Image Copy Detection" (CVPR 2022, arXiv 2202.10261), and its
repository facebookresearch/sscd-copy-detection (MIT).
"""

from __future__ import annotations

from isckit.config import (
    Backbone,
    Ensemble,
    Head,
    Matching,
    Mix,
    Network,
    NtXent,
    Offset,
    Optim,
    Recipe,
    Space,
    Stage,
    replace,
)
from isckit.recipes.descriptor_track import WHOLE, WHOLE_IMAGES, head_start

BATCH = 4_096

LARS = Optim(
    name="lars", lr=0.3 * BATCH / 256, momentum=0.9, weight_decay=1e-6, trust=0.001, warmup_epochs=5.0,
    schedule="cosine", per="step",
)  # fmt: skip
MIXED = Stage(
    name="mixed",
    epochs=100,
    batch_images=BATCH,
    image_size=224,
    views=("sscd.advanced", "sscd.advanced"),
    mix=Mix(probability=0.05, beta=2.0),
    loss=NtXent(temperature=0.05, koleo=30.0),
    optim=LARS,
)


def sscd() -> Recipe:
    """ResNet-50 from random weights, two edited and sometimes mixed views; whitened, scores normalised.

    Command: torchrun --nproc-per-node 8 -m isckit train --recipe sscd --name sscd --data DISC21
    Cost: published, 100 epochs on 32 GPUs; planned, 4.9e18 FLOP in training for 200M views, about 14 GPU-hours at 100
    TFLOP/s where loaders keep up. Memory: 8,192 views a step, 1,024 a GPU of eight; `--set
    members.network.stages.mixed.micro_batch` takes fewer at a time. Disk: vectors of all sets 4.2 GB.
    Published: uAP 0.7243, R@P90 0.631 on phase 1's public half (512 values, whitened, normalised; ten neighbours a
    query); 0.6094 and 0.377 as they are.
    Source: the released code and its table for disc_mixup; the paper's table has 0.725 for the same model.
    Not reproduced: 512 values (sscd.wide has them). The track allows 256: the network keeps its published width, PCA
    whitens to 255 and the score's normalisation is the last coordinate; no number is published for it. Mixing is within
    a process's batch, as published, so its partners depend on the number of processes. The entropy term's weight of 30
    holds with the network's last norms starting at zero, as timm's ResNets do, and large batches: begin with 10
    elsewhere.
    """
    network = Network(
        backbone=Backbone(name="resnet50", normalisation="imagenet"),
        head=Head(bias=True, norm=False),
        dim=512,
        gem_p=3.0,
        gem_learnable=False,
        image_size=288,
        canvas=288,
        stages=(MIXED,),
    )
    return Recipe(
        name="sscd",
        members=(network,),
        ensemble=Ensemble(how="pca", dim=255, whiten=0.5),
        normalise=(Offset(beta=1.0, n=3),),
        matching=WHOLE_IMAGES,
    )


def wide() -> Recipe:
    """The same with its 512 values whitened, in the Matching track, whose spaces may be of any width.

    Command: torchrun --nproc-per-node 8 -m isckit train --recipe sscd.wide --name NAME --data DISC21
    with `--checkpoint sscd_disc_mixup.torchvision.pt` instead of the training: the released weights.
    Cost: that of sscd.
    Published: uAP 0.7243, R@P90 0.631 on phase 1's public half.
    Source: the released code and its table: whitening on train, the mean of three neighbours there.
    Not reproduced: lists of ten references a query, by which a score would depend on other references (rule 5.4); the
    best pairs of all queries are listed. The Descriptor track has the 256 values of sscd.
    """
    whitened = replace(WHOLE, space=Space(dim=512, whiten=0.5, fit_images=1_000_000))
    return replace(sscd(), name="sscd.wide", matching=Matching(branches=(whitened,)))


def large() -> Recipe:
    """The same with ResNeXt-101 and 1,024 values.

    Command: torchrun --nproc-per-node 16 -m isckit train --recipe sscd.large --name NAME --data DISC21
    Cost: planned, 9.6e18 FLOP in training, twice that of sscd.
    Published: uAP 0.637, normalised 0.753, on phase 1's public half (the paper's table, recalled and not confirmed).
    Source: the released code and the paper's table.
    """
    whole = sscd()
    (network,) = whole.trained
    backbone = replace(network.backbone, name="resnext101_32x4d")
    return replace(whole, name="sscd.large", members=(replace(network, backbone=backbone, dim=1_024),))


def mini() -> Recipe:
    """The same code path on two CPU cores: a ResNet of ten layers at 64 and 96 px, batches of 128.

    Command: ./run_phase1.sh --data DIR --recipe sscd.mini
    Cost: measured, 8 minutes of one core.
    Published: nothing at this size.
    Source: the full recipe. The published network starts from random weights too, but learns for 24,400 steps: a head
    start with mild edits stands in for the first of them. Learning rate by the published rule, entropy at 10 as its
    authors advise for other batches.
    """
    whole = sscd()
    (network,) = whole.trained
    batch = 128
    mixed = replace(
        MIXED, epochs=5, images_per_epoch=6_000, batch_images=batch, image_size=64,
        loss=NtXent(temperature=0.05, koleo=10.0), optim=replace(LARS, lr=0.3 * batch / 256, warmup_epochs=1.0),
    )  # fmt: skip
    small = replace(
        network,
        backbone=Backbone(name="resnet10t", normalisation="imagenet"),
        image_size=96,
        canvas=192,
        stages=(head_start(epochs=5), mixed),
    )
    return replace(whole, name="sscd.mini", members=(small,))
