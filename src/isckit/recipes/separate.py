"""The second system of the Matching track: two retrievers find candidates, networks that see both images score them.

Sources: SeungKee Jeon ("separate"), ISC 2021, the released code above all, and the winners' article.
"""

from __future__ import annotations

from collections.abc import Iterator

from isckit.config import (
    Backbone,
    Branch,
    Cut,
    Ensemble,
    Extract,
    Gist,
    Half,
    Head,
    Matching,
    Network,
    NtXent,
    Optim,
    PairNetwork,
    Pairs,
    PairStage,
    Recipe,
    Space,
    Stage,
    Views,
    replace,
)
from isckit.recipes.baseline import GIST_WEIGHT
from isckit.recipes.descriptor_track import head_start, hub_weights

ADAM = Optim(name="adam", lr=1e-5, weight_decay=1e-6, warmup_epochs=0.0, schedule="constant")
GROUP = 56
"""Images a step of the retriever."""
LOGGED = 500
"""Steps of the retriever between two lines of its log."""
SIDES = ("left", "vertical_center", "right")


def retriever_stage(name: str, view: str, *, steps: int) -> Stage:
    """Return a stage of the trained retriever: a plain view against an edited one."""
    return Stage(
        name=name,
        epochs=steps // LOGGED,
        images_per_epoch=LOGGED * GROUP,
        batch_images=GROUP,
        views=("separate.basic", view),
        loss=NtXent(temperature=0.1, koleo=0.0),
        optim=ADAM,
        amp=False,
    )


def retrievers() -> tuple[Network, Network]:
    """Return R1, trained, grey; R2, DINO as it is."""
    trained = Network(
        name="r1",
        backbone=Backbone(
            name="vit_large_patch16_384.augreg_in21k_ft_in1k", pretrained="hub", normalisation="imagenet"
        ),
        head=Head(bias=False, norm=False),
        dim=256,
        pooling="token",
        image_size=384,
        canvas=768,
        grey=True,
        stages=(
            retriever_stage("early", "separate.retrieved", steps=15_500),
            retriever_stage("late", "separate.retrieved_later", steps=12_500),
        ),
    )
    frozen = Network(
        name="r2",
        backbone=Backbone(name="vit_base_patch8_224.dino", pretrained="hub", normalisation="imagenet"),
        head=Head(kind="none"),
        dim=768,
        pooling="token",
        image_size=224,
        canvas=448,
        stages=(),
    )
    return trained, frozen


def pair_network(name: str, *stages: tuple[str, int, int], grey: bool) -> PairNetwork:
    """Return a ViT-L/16 over both images; a stage is (view, groups, first anchor)."""
    return PairNetwork(
        name=name,
        backbone=Backbone(
            name="vit_large_patch16_224.augreg_in21k_ft_in1k", pretrained="hub", normalisation="imagenet"
        ),
        image_size=224,
        canvas=448,
        grey=grey,
        neighbours="r2",
        stages=tuple(
            PairStage(
                name=f"stage{number}",
                groups=groups,
                group=24,
                start=start,
                view=f"separate.{view}",
                grey=0.0 if grey else 0.5,
                micro_batch=72,
                amp=False,
                optim=ADAM,
            )
            for number, (view, groups, start) in enumerate(stages, start=1)
        ),
    )


def pair_networks() -> tuple[PairNetwork, PairNetwork, PairNetwork]:
    """Return A and C, grey; B, in colour."""
    return (
        pair_network("pairs_a", ("first", 50_500, 0), ("emoji", 18_500, 50_500), ("final", 30_000, 69_000), grey=True),
        pair_network(
            "pairs_b", ("first", 44_500, 300_000), ("emoji", 29_500, 400_000), ("final", 7_000, 440_000), grey=False
        ),
        pair_network(
            "pairs_c",
            ("three", 67_500, 0),
            ("distractor", 32_000, 42_000),
            ("pixels", 15_500, 74_000),
            ("pixels", 44_500, 89_500),
            ("marked", 10_500, 134_000),
            ("colours", 46_000, 144_500),
            ("sizes", 14_000, 190_500),
            ("sizes", 6_000, 204_500),
            ("final", 9_500, 210_500),
            grey=True,
        ),
    )


def candidates(member: str) -> Iterator[tuple[Views, str]]:
    """Return the five lists of a retriever; beside those of grids the half of the query with their columns, else ""."""

    def views(name: str, query: tuple[str, ...], reference: tuple[str, ...], amount: int) -> Views:
        return Views(
            name=f"{member}_{name}",
            members=(member,),
            space=Space(),
            query_views=query,
            reference_views=reference,
            norm_factor=0.0,
            crop_penalty=0.0,
            cut=Cut(by="neighbours", amount=amount),
        )

    yield views("full", (), (), 100), ""
    yield views("strips", ("strips",), (), 20), ""
    for grid, amount in (("half_grid", 10), ("third_grid", 5)):
        for side in SIDES:
            yield views(f"{grid}_{side}", (f"{grid}_{side}",), (), amount), side
    yield views("references", (), ("half_grid",), 10), ""


def separate() -> Recipe:
    """Two retrievers with five lists of candidates each, three pair networks, the best reference of each query.

    Command: torchrun --nproc-per-node 8 -m isckit train --recipe separate --name separate --data DISC21
    Cost: planned, not measured: 425,500 groups of 576 pairs, 9.4e19 FLOP in training; up to 30M pairs in the first pass
    and 5M in 8 views in the second, 1.3e19 FLOP. Published hardware: 8 A100, at least 4 TB of disk.
    Published: uAP 0.8291, R@P90 0.7917 in phase 2, the second prize of the Matching track.
    Source: the released code. Its horizontal strips are cut where they were meant, not where its error puts them.
    Not reproduced: groups of look-alikes in the retriever's training (its batches are drawn at random here), its
    optimiser's state carried from stage to stage, look-alikes by an ImageNet ViT-L/16 (DINO finds them here), lists of
    300 for the first 65,746 anchors, the cartoon filter, emoji that avoid what was pasted. All draws of a view are
    fixed for a group, where the published code leaves those through numpy free.
    """
    members, networks = retrievers(), pair_networks()
    lists = [pair for member in members for pair in candidates(member.name)]
    branches: tuple[Branch, ...] = (
        *(views for views, _ in lists),
        Pairs(
            networks=networks,
            candidates=tuple(views.name for views, _ in lists),
            halves=tuple(Half(branch=views.name, side=side) for views, side in lists if side),  # type: ignore[arg-type]
            keep=100,
        ),
    )
    backbones = (*members, *(Network(name=n.name, backbone=n.backbone, stages=()) for n in networks))
    return Recipe(
        name="separate",
        members=members,
        extract=Extract(batch_images=64, shard_images=16_384),
        ensemble=Ensemble(how="pca", dim=256),
        matching=Matching(branches=branches, fused=("pairs",), best_per_query=1, rows_per_query=1),
        external=hub_weights(backbones),
    )


def mini() -> Recipe:
    """The same code path on two CPU cores, from random weights: one small network compares tokens of both images.

    Command: ./run_phase1.sh --data DIR --recipe separate.mini
    Cost: measured, at most 14 minutes of one core for training and 6 for the rest (beside other work).
    Published: nothing at this size.
    Source: the full recipe. The one retriever learns by a head start. Another network stands in for the ViT over the
    joined picture: the backbone, which begins with the descriptor's weights, sees each image by itself, and attention
    compares their tokens. Candidates enter, and stay, by their own score alone, so that no score depends on others.
    """
    network = Network(backbone=Backbone(name="resnet10t"), image_size=96, canvas=192, stages=(head_start(epochs=6),))
    pairs = PairNetwork(
        backbone=Backbone(name="resnet10t", stride16=True),
        image_size=80,
        canvas=160,
        tokens=128,
        weights_of="network",
        stages=(
            PairStage(
                groups=400,
                log_groups=50,
                group=12,
                view="separate.mini",
                duplicate=0.95,
                optim=Optim(name="adamw", lr=3e-4, weight_decay=0.05, warmup_epochs=0.5, clip=1.0),
            ),
        ),
    )
    whole = Views(name="whole", query_views=(), reference_views=(), norm_factor=0.0, cut=Cut(by="share", amount=0.005))
    halves = tuple(
        replace(whole, name=side, query_views=(f"half_grid_{side}",), cut=Cut(by="share", amount=0.001))
        for side in SIDES
    )
    branch = Pairs(
        networks=(pairs,),
        candidates=("whole", *SIDES),
        halves=tuple(Half(branch=side, side=side) for side in SIDES),  # type: ignore[arg-type]
        keep=0,
    )
    return replace(
        separate(),
        name="separate.mini",
        members=(network, Gist(weight=GIST_WEIGHT)),
        extract=Extract(),
        matching=Matching(branches=(whole, *halves, branch), fused=("pairs",)),
        external=(),
    )
