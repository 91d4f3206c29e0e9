"""The third system of the Descriptor track: one self-supervised ResNet-50, two heads, descriptor stretching.

Sources: Wang et al., "Bag of Tricks and A Strong baseline for Image Copy Detection" (arXiv 2111.08004), and its
repository WangWenhao0716/ISC-Track2-Submission (MIT). Its training code is withdrawn: weights of losses, smoothing,
decay and probabilities of edits are those of the same authors' other repositories, or proposals.
"""

from __future__ import annotations

from isckit.config import Backbone, Data, External, Head, Network, Optim, Recipe, Stage, Stretch, TwoHeads, replace
from isckit.recipes.descriptor_track import UNREDUCED, WHOLE_IMAGES, head_start

BARLOW_TWINS = External(
    name="resnet50.pth",
    address="https://dl.fbaipublicfiles.com/barlowtwins/ep1000_bs2048_lrw0.2_lrb0.0048_lambd0.0051/resnet50.pth",
    licence="MIT",
    use="first weights of network, by Barlow Twins without labels (facebookresearch/barlowtwins, CC-BY-NC-4.0 until it "
    "was put under MIT); trained by their authors on ImageNet, whose images have terms of their own: the participant "
    "certifies that they permit a prize contest",
    version="1000 epochs, batch 2048",
)

OPTIM = Optim(
    name="adam", lr=3.5e-4, weight_decay=5e-4, warmup_epochs=5.0, warmup_start=0.01, hold_epochs=5.0,
    schedule="cosine", final=0.0, per="epoch",
)  # fmt: skip
BASIC = Stage(
    name="basic",
    epochs=25,
    images_per_epoch=8_000 * 32,
    batch_images=32,
    image_size=256,
    data=Data(every=10, partners="others"),
    views=("vision_force.basic",) * 4,
    loss=TwoHeads(cross_entropy=10.0, triplet=1.0, soft=1.0, smoothing=0.1, logit_temperature=1.0),
    optim=OPTIM,
    ghost_batch=32,
)
"""32 classes by four images a step, 8,000 steps an epoch; batch statistics over 32 images, one GPU's of four."""


def vision_force_descriptor() -> Recipe:
    """Every tenth train image a class, four edited copies of it a step; queries stretched against train.

    Command: isckit train --recipe vision_force_descriptor --name NAME --data DISC21
    with `--set members.network.backbone.pretrained=FILE`, the file named under `external`.
    Cost: published, under a day on four V100; derived, 1.4e18 FLOP for 25.6M images, about 4 h at 100 TFLOP/s, where
    loaders keep up. Memory: class weights with their moments 13 GB, so a GPU of 40 GB. Disk: vectors 2.1 GB.
    Published: uAP 0.73017, R@P90 0.63975 on phase 1's public half; 0.5788 and 0.4886 in phase 2, the third prize.
    Source: paper and extraction code, which puts p = 3 in the place of the learnt power, so `gem_p_at_test` is 3; the
    paper says nothing of it (`--set members.network.gem_p_at_test=null` keeps what was learnt).
    Not reproduced: the 19 stored copies of each image, which are made anew each time. Overlay detection, 0.010 of the
    score, needs boxes that a detector has found: `--set "substitution={boxes: FILE, confidence: 0.9}"`; the published
    detector is under the GPL and is no part of this kit, so the recipe goes without.
    """
    network = Network(
        backbone=Backbone(
            name="resnet50", pretrained="resnet50.pth", stride16=True, wave=True, normalisation="imagenet"
        ),
        head=Head(kind="projector", widths=(4_096, 8_192)),
        dim=256,
        gem_p=3.0,
        gem_learnable=True,
        gem_p_at_test=3.0,
        image_size=256,
        scales=(200, 256, 320, 400),
        canvas=400,
        stages=(BASIC,),
    )
    return Recipe(
        name="vision_force_descriptor",
        members=(network,),
        ensemble=UNREDUCED,
        normalise=(Stretch(n=5, alpha=2.5),),
        substitution=None,
        matching=WHOLE_IMAGES,
        external=(BARLOW_TWINS,),
    )


def mini() -> Recipe:
    """The same code path on two CPU cores: a ResNet of ten layers from random weights, at 96 px.

    Command: ./run_phase1.sh --data DIR --recipe vision_force_descriptor.mini
    Cost: measured, 12 minutes of one core.
    Published: nothing at this size.
    Source: the full recipe, with a head start in place of Barlow Twins, and narrow heads. The scales lie about the
    sizes that it is trained at. Alpha is set by the similarities, as a median of alpha * similarity far from 1 to 2
    turns stretching round; here it is 1.3.
    """
    whole = vision_force_descriptor()
    (network,) = whole.trained
    basic = replace(
        BASIC, epochs=6, images_per_epoch=2_016, image_size=96,
        optim=replace(OPTIM, warmup_epochs=1.0, hold_epochs=2.0),
    )  # fmt: skip
    small = replace(
        network,
        backbone=Backbone(name="resnet10t", stride16=True, wave=True, normalisation="imagenet"),
        head=Head(kind="projector", widths=(512, 1_024)),
        image_size=96,
        scales=(64, 80, 96, 112),
        canvas=192,
        stages=(head_start(epochs=6), basic),
    )
    return replace(
        whole, name="vision_force_descriptor.mini", members=(small,), normalise=(Stretch(n=5, alpha=1.5),), external=()
    )
