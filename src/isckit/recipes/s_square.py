"""The second system of the Descriptor track: eight ArcFace networks, whitened together, queries off the sphere.

Sources: Papadakis and Addicam, "Producing augmentation-invariant embeddings from real-life imagery" (arXiv
2112.03415), and the released repository (MIT), its notebooks above all.
"""

from __future__ import annotations

from isckit.config import ArcFace, Backbone, Data, Ensemble, Head, Network, Optim, Push, Recipe, Stage, replace
from isckit.recipes.descriptor_track import WHOLE_IMAGES, head_start, hub_weights

ALL = 1_000_000
"""Train images of DISC21; a round with all of them as classes has no others to overlay and takes any."""
EPOCHS = 20
"""Epochs where no source says their number; the known last rounds took 9 to 37."""
EARLY_EPOCHS = 10
"""Published early rounds end where the train loss falls below 2; the number of epochs is not published."""

ARCFACE = ArcFace(scale=40.0, margin=0.4, centroid_views=4)
ADAM = Optim(name="adam", lr=1e-3, weight_decay=0.0, warmup_epochs=0.0, clip=1.0)
PLATEAU = replace(ADAM, schedule="plateau", plateau_factor=0.9, plateau_patience=2)
LATE_PLATEAU = replace(ADAM, schedule="plateau", plateau_factor=0.5, plateau_patience=3)
LONG_COSINE = replace(ADAM, schedule="cosine", warmup_epochs=4.0, warmup_start=0.01, final=0.001, per="epoch")
"""Four epochs up from 1e-5, then a hundred down to 1e-6."""


def classes(count: int) -> Data:
    """Return the first `count` train images as classes; overlays come from the others, where there are any."""
    return Data() if count == ALL else Data(ids=count, partners="others")


MINI_LR = 2e-4

Rounds = tuple[tuple[Data, int, float], ...]
"""(classes, images a step, intensity) of each round of drip training; of the published classes those of DISC21."""
ROUNDS_25: Rounds = tuple((classes(count), 64, 1.0) for count in (50_000, 50_000, 100_000, 300_000, 800_000))
ROUNDS_26: Rounds = (
    (classes(25_000), 200, 0.5),
    (classes(50_000), 100, 0.5),
    (classes(100_000), 64, 0.6),
    (classes(250_000), 64, 0.7),
    (classes(500_000), 64, 0.75),
    (classes(ALL), 64, 0.75),
)
ROUNDS_9: Rounds = (
    (classes(40_000), 200, 0.5),
    (classes(80_000), 100, 0.5),
    (classes(150_000), 100, 0.6),
    (classes(300_000), 64, 0.7),
    (classes(500_000), 64, 0.75),
    (classes(ALL), 64, 0.75),
)
ROUNDS_10: Rounds = (
    *ROUNDS_9[:3],
    (classes(150_000), 64, 0.7),
    (classes(200_000), 64, 0.75),
    (classes(500_000), 64, 0.75),
)


def drip(rounds: Rounds, *, epochs: int, optim: Optim, early: int = EARLY_EPOCHS) -> tuple[Stage, ...]:
    """Return rounds of more and more classes; after the first, class weights start from the images' embeddings."""
    return tuple(
        Stage(
            name=f"round{number}",
            epochs=epochs if number == len(rounds) else early,
            batch_images=batch,
            data=data,
            views=(f"s_square@{intensity}",),
            loss=replace(ARCFACE, start="random" if number == 1 else "centroids"),
            optim=optim,
        )
        for number, (data, batch, intensity) in enumerate(rounds, start=1)
    )


def from_the_start(optim: Optim, *, epochs: int) -> Stage:
    """Return one round with all classes, without drip training."""
    (stage,) = drip(((classes(ALL), 64, 1.0),), epochs=epochs, optim=optim)
    return replace(stage, name="main")


def member(name: str, backbone: str, *, size: int, dim: int, stages: tuple[Stage, ...], bias: bool = False) -> Network:
    """Return a network with GeM and a linear layer, with bias ("neck A") or not ("neck F"); ImageNet's statistics."""
    return Network(
        name=name,
        backbone=Backbone(name=backbone, pretrained="hub", normalisation="imagenet"),
        head=Head(bias=bias, norm=False),
        dim=dim,
        gem_p=3.0,
        gem_learnable=True,
        image_size=size,
        canvas=max(384, size),
        stages=stages,
    )


def members() -> tuple[Network, ...]:
    """Return the eight members of the final ensemble, by the numbers that their authors gave them."""
    cosine = replace(from_the_start(LONG_COSINE, epochs=104), stop_after=EPOCHS, views=("s_square.early",))
    large = replace(cosine, data=classes(980_000))
    twice = (replace(large, name="at384", image_size=384), replace(large, name="at512", image_size=512))
    steady = (from_the_start(PLATEAU, epochs=EPOCHS),)
    rw_s, nfnet_l1 = "efficientnetv2_rw_s.ra2_in1k", "eca_nfnet_l1.ra2_in1k"
    m25 = member("m25_16", nfnet_l1, size=160, dim=384, stages=drip(ROUNDS_25, epochs=16, optim=PLATEAU))
    return (
        member("m5", "tf_efficientnetv2_l.in21k_ft_in1k", size=512, dim=512, stages=twice, bias=True),
        member("m19", rw_s, size=224, dim=384, stages=(cosine,), bias=True),
        member("m24", rw_s, size=160, dim=384, stages=steady),
        m25,
        replace(m25, name="m25_14", stages=drip(ROUNDS_25, epochs=14, optim=PLATEAU)),
        member("m26", nfnet_l1, size=160, dim=256, stages=drip(ROUNDS_26, epochs=17, optim=PLATEAU)),
        member(
            "m9", "efficientnet_b4.ra2_in1k", size=160, dim=256, stages=drip(ROUNDS_9, epochs=9, optim=LATE_PLATEAU)
        ),
        member(
            "m10", "eca_nfnet_l2.ra3_in1k", size=160, dim=256, stages=drip(ROUNDS_10, epochs=37, optim=LATE_PLATEAU)
        ),
    )


def s_square() -> Recipe:
    """Every train image a class, in rounds of more classes; eight networks, 2,816 values, whitened to 256.

    Command: torchrun --nproc-per-node 8 -m isckit train --recipe s_square --name s_square --data DISC21
    Cost: planned, not measured: 1.9e19 FLOP in training, 1.2e19 of them for member m5: about 54 GPU-hours at 100
    TFLOP/s, 21 without m5. Memory: 5.5 GB of class weights with their moments at 1.2M classes of 384 values. Disk:
    vectors of all sets 23 GB.
    Published: uAP 0.7267, R@P90 0.6522 on phase 1's public half; 0.5905 and 0.5086 in phase 2, the second prize.
    Source: the released code, with the PCA fitted on train images as in phase 2. The push is the notebook's, whose
    numbers are the published ones: it divides coordinates, though its comment speaks of dividing each difference by
    its own length (`--set normalise.push.by=vector`).
    Not reproduced: classes of ImageNet (0.2M to 0.8M in the last rounds of six members), clean images in every fifth
    epoch of m5, rounds that end by their loss, validation on 5 % of the batches, templates made of phase-1 queries.
    Epochs where none are published, the batches of m5, m19, m24 and of m9's first rounds are guesses. m25_14 is m25_16
    two epochs earlier, and is trained by itself.
    """
    networks = members()
    return Recipe(
        name="s_square",
        members=networks,
        ensemble=Ensemble(how="pca", dim=256, whiten=0.5, fit_images=ALL),
        normalise=(Push(amount=1.8, k=100, n=3, by="coordinate"),),
        matching=WHOLE_IMAGES,
        external=hub_weights(networks),
    )


def mini() -> Recipe:
    """The same code path on two CPU cores: three small members with the three ways of training, at 96 px.

    Command: ./run_phase1.sh --data DIR --recipe s_square.mini
    Cost: measured, at most 20 minutes of one core (beside other work).
    Published: nothing at this size.
    Source: the full recipe. Classes are every twentieth, every fourth and each of the train images; a head start stands
    in for ImageNet's weights, and learning rates are a fifth, as so few steps would only undo what it has learnt. The
    members differ in their width, which makes their first weights differ.
    """
    start = head_start(epochs=3)
    cosine, plateau, late = (replace(o, lr=MINI_LR) for o in (LONG_COSINE, PLATEAU, LATE_PLATEAU))
    main = replace(from_the_start(replace(cosine, warmup_epochs=1.0), epochs=3), views=("s_square@0.5",))
    few, more = (Data(every=every, partners="others") for every in (20, 4))
    rounds: Rounds = ((few, 64, 0.5), (more, 64, 0.5), (Data(), 64, 0.6))
    networks = (
        small("m19", dim=192, stages=(start, main), bias=True),
        small("m26", dim=160, stages=(start, *drip(rounds, epochs=1, early=4, optim=plateau))),
        small("m10", dim=128, stages=(start, *drip(rounds, epochs=1, early=4, optim=late))),
    )
    ensemble = Ensemble(how="pca", dim=256, whiten=0.5)
    return replace(s_square(), name="s_square.mini", members=networks, ensemble=ensemble, external=())


def small(name: str, *, dim: int, stages: tuple[Stage, ...], bias: bool = False) -> Network:
    """Return a member of the mini: the same parts around a ResNet of ten layers from random weights, at 96 px."""
    whole = member(name, "resnet10t", size=96, dim=dim, stages=stages, bias=bias)
    return replace(whole, backbone=replace(whole.backbone, pretrained="none"), canvas=192)
