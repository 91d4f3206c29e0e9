"""The kit's own descriptor, of published pieces, and the default model that it ships; matching: `ours_matching`.

Sources: softmax over the batch with an entropy term of SSCD (arXiv 2202.10261), edits, subtraction and stages of
lyakaap (arXiv 2112.04323), Fisher vectors of RootSIFT (Jegou et al., PAMI 2012).
"""

from __future__ import annotations

from isckit.config import (
    Backbone,
    Ensemble,
    Extract,
    Fisher,
    Network,
    NtXent,
    Offset,
    Optim,
    Recipe,
    Stage,
    Subtract,
    replace,
)
from isckit.recipes import lyakaap
from isckit.recipes.descriptor_track import head_start, hub_weights

FISHER = Fisher(weight=0.6)
"""Content of an image, wherever it stands: it finds crops and pasted copies that the network does not."""
SPACE = Ensemble(how="pca", dim=255, whiten=0.25)
NORMALISE = (Subtract(), Offset(beta=1.25, n=5))
"""Score normalisation by an offset is exact; stretching comes close to it only where its alpha fits."""


def ours() -> Recipe:
    """The default model: a residual network of ten layers from random weights, beside Fisher vectors.

    Command: isckit train --recipe ours --name ours --data DIR
    Cost: measured, 74 minutes on two cores of a server CPU with bf16 instructions, beside other work.
    Score: docs/default_model.md.
    Source: see above. Small images and mild edits come first, since nothing is learnt by a young network from copies
    that keep little; then larger images.
    """
    network = Network(
        backbone=Backbone(name="resnet10t"),
        dim=256,
        gem_p=3.0,
        image_size=128,
        canvas=192,
        flip=True,
        stages=(
            head_start(epochs=12),
            _sharpen("sharpen", epochs=16, image_size=96),
            _sharpen("harder", epochs=16, image_size=128, views=("mild", "lyakaap.moderate"), lr=5e-4),
        ),
    )
    return Recipe(name="ours", members=(network, FISHER), ensemble=SPACE, normalise=NORMALISE)


def mini() -> Recipe:
    """The same in a quarter of an hour of one core: fewer epochs, and none of the last stage.

    Command: ./run_phase1.sh --data DIR --recipe ours.mini
    Cost: not measured in this form; derived from its stages, 14 minutes of one core and 3 for the Fisher vectors.
    Score: docs/descriptor_systems.md.
    Source: the full recipe.
    """
    full = ours()
    network = full.members[0]
    assert isinstance(network, Network)
    stages = (head_start(epochs=10), _sharpen("sharpen", epochs=4, image_size=96))
    network = replace(network, stages=stages)
    return replace(full, name="ours.mini", members=(network, *full.members[1:]))


def large() -> Recipe:
    """EfficientNetV2-M through lyakaap's first three stages, negatives from train, beside Fisher vectors.

    Command: torchrun --nproc-per-node 16 -m isckit train --recipe ours.large --name ours --data DISC21
    Cost: planned, not measured: 3e18 FLOP in training, tens of A100-hours.
    Score: not measured. lyakaap's paper has uAP 0.6435 after these stages, before anything is normalised; it trains on
    references there. No query and no reference is trained on here, so the public labels stay a measure.
    Source: see above; the order "subtract, then one score normalisation" is the one that leaves unit vectors between.
    """
    (first,) = lyakaap.train_negatives().members
    assert isinstance(first, Network)
    network = replace(first, stages=first.stages[:3])
    return Recipe(
        name="ours.large",
        members=(network, FISHER),
        extract=Extract(batch_images=64, shard_images=16_384),
        ensemble=Ensemble(how="pca", dim=255, whiten=0.25),
        normalise=(lyakaap.SUBTRACT, Offset(beta=1.0, n=3)),
        external=hub_weights([network]),
    )


def _sharpen(
    name: str, *, epochs: int, image_size: int, views: tuple[str, ...] = ("weak", "mild"), lr: float = 1e-3
) -> Stage:
    """Return a stage after the first: larger images, a lower rate."""
    return Stage(
        name=name,
        epochs=epochs,
        images_per_epoch=6_000,
        batch_images=128,
        image_size=image_size,
        views=views,
        loss=NtXent(temperature=0.05, koleo=1.0),
        optim=Optim(name="adamw", lr=lr, weight_decay=0.05, warmup_epochs=0.2, schedule="cosine"),
    )
