"""Pre-training without labels: first weights for other recipes, on DISC21's train images or on any folder of images.

Where `--data` has no train images of DISC21, all images below it are trained on, as external data that rule 5.6 wants
declared under `external`; ImageNet's own folders are such. What is trained begins another recipe by
`--set members.NAME.backbone.pretrained=checkpoints/RUN/weights.safetensors`.
"""

from __future__ import annotations

from isckit.config import (
    Backbone,
    BarlowTwins,
    Head,
    MomentumTeacher,
    Network,
    Optim,
    Recipe,
    Stage,
    replace,
)
from isckit.recipes.descriptor_track import WHOLE_IMAGES

VIEWS = ("byol.first", "byol.second")


def barlow_twins() -> Recipe:
    """ResNet-50, 1,000 epochs of 2,048 images a step: the weights that visionForce and D2LV begin with.

    Command: torchrun --nproc-per-node 8 -m isckit train --recipe pretrain.barlow_twins --name NAME --data FOLDER
    Cost: not run; the authors' weights are to be had, see vision_force_descriptor.
    Published: no copies; 73.2 % of ImageNet's validation images by a linear classifier.
    Source: Zbontar et al., "Barlow Twins" (ICML 2021), section 2.2, and the name of the released file for its rates.
    Not reproduced: the lower rate of biases and norms (0.0048 for each 256 images), which take that of the weights.
    """
    return _recipe(
        "pretrain.barlow_twins",
        Backbone(name="resnet50", normalisation="imagenet"),
        Stage(
            name="barlow_twins",
            epochs=1_000,
            batch_images=2_048,
            views=VIEWS,
            loss=BarlowTwins(off_diagonal=0.0051, width=8_192),
            optim=Optim(name="lars", lr=1.6, weight_decay=1.5e-6, warmup_epochs=10.0, final=0.001),
        ),
    )


def byol() -> Recipe:
    """ResNet-50, 1,000 epochs of 4,096 images a step, a teacher with statistics of its batches.

    Command: torchrun --nproc-per-node 8 -m isckit train --recipe pretrain.byol --name NAME --data FOLDER
    Cost: not run; published, eight hours on 512 TPU v3 cores.
    Published: no copies; 74.3 % of ImageNet's validation images by a linear classifier.
    Source: Grill et al., "Bootstrap Your Own Latent" (NeurIPS 2020), section 3.2 and appendix B.
    Not reproduced: nothing that is known.
    """
    return _recipe(
        "pretrain.byol",
        Backbone(name="resnet50", normalisation="imagenet"),
        Stage(
            name="byol",
            epochs=1_000,
            batch_images=4_096,
            views=VIEWS,
            loss=MomentumTeacher(momentum=0.996, hidden=4_096, width=256, statistics="batch"),
            optim=Optim(name="lars", lr=3.2, weight_decay=1.5e-6, warmup_epochs=10.0),
        ),
    )


def momentum_teacher() -> Recipe:
    """ResNet-152, 300 epochs of 512 images a step: the weights of D2LV's networks of 152 layers.

    Command: torchrun --nproc-per-node 8 -m isckit train --recipe pretrain.momentum_teacher --name NAME --data FOLDER
    with `--set members.network.backbone.name=resnet50 --set members.network.backbone.ibn=true` and
    `--set members.network.stages.momentum_teacher.batch_images=1024 --set
    members.network.stages.momentum_teacher.optim.lr=0.2` those of its networks with instance normalisation.
    Cost: not run; published, two weeks on eight V100, and a week for the other.
    Published: the weights, and no score of these alone.
    Source: Li et al., "Momentum^2 Teacher" (arXiv 2101.07525); settings of D2LV's pre-training code.
    Not reproduced: nothing that is known.
    """
    return _recipe(
        "pretrain.momentum_teacher",
        Backbone(name="resnet152", normalisation="imagenet"),
        Stage(
            name="momentum_teacher",
            epochs=300,
            batch_images=512,
            views=VIEWS,
            loss=MomentumTeacher(momentum=0.99, hidden=4_096, width=256),
            optim=Optim(name="sgd", lr=0.1, weight_decay=1e-4, warmup_epochs=10.0, warmup_start=1e-5),
        ),
    )


def barlow_twins_mini() -> Recipe:
    """The same on two CPU cores: a ResNet of ten layers at 64 px, four epochs.

    Command: isckit train --recipe pretrain.barlow_twins.mini --name NAME --data DIR
    Cost: measured, ten minutes of two cores beside a test run for 6,000 images.
    Published: nothing at this size. Measured: a network that was tuned for two epochs from it has uAP 0.287 and R@P90
    0.153 on the Descriptor track of disc_mini's public half, and 0.268 and 0.173 from random weights: within each
    other's intervals.
    Source: the full recipe, with a projector of 1,024, and AdamW, which needs fewer steps than LARS.
    """
    return _small(barlow_twins(), BarlowTwins(off_diagonal=0.0051, width=1_024))


def byol_mini() -> Recipe:
    """The same on two CPU cores.

    Command: isckit train --recipe pretrain.byol.mini --name NAME --data DIR
    Cost: derived, that of pretrain.barlow_twins.mini, and the teacher's forward pass beside it.
    Published: nothing at this size. Not measured.
    Source: as pretrain.barlow_twins.mini; a lower momentum, as there are few steps.
    """
    return _small(byol(), MomentumTeacher(momentum=0.97, hidden=512, width=128, statistics="batch"))


def momentum_teacher_mini() -> Recipe:
    """The same on two CPU cores.

    Command: isckit train --recipe pretrain.momentum_teacher.mini --name NAME --data DIR
    Cost: derived, that of pretrain.byol.mini.
    Published: nothing at this size. Not measured.
    Source: as pretrain.byol.mini.
    """
    return _small(momentum_teacher(), MomentumTeacher(momentum=0.97, hidden=512, width=128))


def _recipe(name: str, backbone: Backbone, stage: Stage) -> Recipe:
    network = Network(
        backbone=backbone,
        head=Head(kind="none"),
        dim=2_048,
        gem_p=1.0,
        gem_learnable=False,
        image_size=224,
        canvas=256,
        stages=(stage,),
    )
    return Recipe(name=name, members=(network,), matching=WHOLE_IMAGES)


def _small(recipe: Recipe, loss: BarlowTwins | MomentumTeacher) -> Recipe:
    (network,) = recipe.trained
    (stage,) = network.stages
    short = replace(
        stage,
        epochs=4,
        batch_images=128,
        loss=loss,
        optim=Optim(name="adamw", lr=2e-3, weight_decay=0.05, warmup_epochs=1.0),
    )
    small = replace(
        network,
        backbone=Backbone(name="resnet10t", normalisation="imagenet"),
        dim=512,
        image_size=64,
        canvas=128,
        stages=(short,),
    )
    return replace(recipe, name=f"{recipe.name}.mini", members=(small,))
