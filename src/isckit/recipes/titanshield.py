"""A design after the leader of the Descriptor track's board: several networks that write one and the same vector.

Titanshield2 is known from three sentences of the organisers' blog: many backbones and heads, a technique of
feature compatibility by which different models give a reference the same vector, and self-supervised training with
three branches (self-distillation, restoration, compatibility). There is no paper, no code, no size, no list of edits.
Everything else here is this kit's proposal.
"""

from __future__ import annotations

from isckit.config import Backbone, Compatibility, Ensemble, Network, Optim, Recipe, Stage, replace
from isckit.recipes import lyakaap
from isckit.recipes.descriptor_track import WHOLE_IMAGES, head_start, hub_weights

COMPATIBILITY = Compatibility(
    anchor="anchor", temperature=0.05, memory=20_000, distillation=0.5, restoration=0.1,
    student_temperature=0.1, teacher_temperature=0.04, teacher_momentum=0.996, restored_size=64,
)  # fmt: skip
COMPATIBLE = Stage(
    name="compatible",
    epochs=5,
    batch_images=64,
    image_size=512,
    micro_batch=24,
    views=("lyakaap.moderate", "lyakaap.strong", "lyakaap.strong"),
    loss=COMPATIBILITY,
    optim=Optim(name="adamw", lr=5e-4, weight_decay=0.05, warmup_epochs=0.25, schedule="cosine", clip=1.0),
)
"""A weak and two hard views of each train image; targets are the anchor member's vectors of the image as it is."""
STUDENTS = {"student_s": "tf_efficientnetv2_s.in21k_ft_in1k", "student_nf": "eca_nfnet_l1.ra2_in1k"}


def titanshield() -> Recipe:
    """An anchor trained as lyakaap's first three stages, then two students that learn to write its vectors.

    Command: torchrun --nproc-per-node 8 -m isckit train --recipe titanshield --name titanshield --data DISC21
    Cost: planned, not measured: 7.7e18 FLOP in training, the anchor's passes for the students not counted, about 25
    GPU-hours at 100 TFLOP/s where loaders keep up. Memory: 24 images of 512 px at a time. Disk: vectors of all sets
    and members 6.3 GB.
    Published: uAP 0.7418, R@P90 0.7018 in phase 2 for titanshield2, whose solution was not shared; nothing says how
    much of it this design reaches. No ablation is known.
    Source: the organisers' blog for the idea, DINO (arXiv 2104.14294) for temperatures and momentum, lyakaap for
    anchor, edits and subtraction; train images alone are trained on.
    Not reproduced: all else that made up the leader's margin of ten points.
    """
    (first,) = lyakaap.train_negatives().trained
    anchor = replace(first, name="anchor", stages=first.stages[:3])
    students = tuple(
        Network(
            name=name,
            backbone=Backbone(name=backbone, pretrained="hub"),
            dim=256,
            image_size=512,
            canvas=512,
            stages=(COMPATIBLE,),
        )
        for name, backbone in STUDENTS.items()
    )
    return Recipe(
        name="titanshield",
        members=(anchor, *students),
        ensemble=Ensemble(how="shared", dim=256),
        normalise=(lyakaap.SUBTRACT,),
        matching=WHOLE_IMAGES,
        external=hub_weights((anchor, *students)),
    )


def mini() -> Recipe:
    """The same code path on two CPU cores: a ResNet of ten layers as anchor, and one that learns its vectors.

    Command: ./run_phase1.sh --data DIR --recipe titanshield.mini
    Cost: measured, at most 21 minutes of one core (beside other work; an undisturbed epoch takes half as long).
    Published: nothing at this size.
    Source: the full recipe, with a head start of the anchor in place of ImageNet's weights. The student begins from
    nothing, with the anchor's architecture but for GeM's power; smaller networks of another kind did not find the
    anchor's space in as many steps.
    """
    short = replace(
        COMPATIBLE, epochs=7, images_per_epoch=3_008, batch_images=32, image_size=96, micro_batch=0,
        views=("weak", "mild"), loss=replace(COMPATIBILITY, memory=2_048, prototypes=512, restored_size=32),
        optim=replace(COMPATIBLE.optim, lr=2e-3),
    )  # fmt: skip
    anchor = Network(
        name="anchor",
        backbone=Backbone(name="resnet10t"),
        dim=256,
        image_size=96,
        canvas=192,
        stages=(head_start(epochs=7),),
    )
    student = replace(anchor, name="student", gem_p=4.0, stages=(short,))
    return replace(titanshield(), name="titanshield.mini", members=(anchor, student), external=())
