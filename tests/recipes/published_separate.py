"""Published values of separate: two retrievers, three networks that see pairs of images, and the lists between."""

from __future__ import annotations

from recipes.facts import Fact, columns

R1, R2 = "members.r1", "members.r2"
BRANCHES = "matching.branches"
PAIRS = f"{BRANCHES}.pairs"
NETWORKS = f"{PAIRS}.networks"
OPTIM = {
    "optim.name": ("adam", "C"),
    "optim.lr": (1e-5, "C"),
    "optim.weight_decay": (1e-6, "C"),
    "optim.warmup_epochs": (0.0, "C"),
    "optim.schedule": ("constant", "C"),
    "amp": (False, "C"),
}
PAIR_STAGE = OPTIM | {
    "group": (24, "C"),
    "plain": ("separate.basic", "C"),
    "duplicate": (1.0, "C"),
    "micro_batch": (72, "D"),
}

RETRIEVERS: list[Fact] = [
    (f"{R1}.backbone.name", "vit_large_patch16_384.augreg_in21k_ft_in1k", "C", "trained retriever"),
    (f"{R1}.backbone.pretrained", "hub", "C", "trained retriever"),
    (f"{R1}.backbone.normalisation", "imagenet", "C", "trained retriever"),
    (f"{R1}.head.kind", "linear", "C", "trained retriever: one layer"),
    (f"{R1}.head.bias", False, "C", "trained retriever: one layer"),
    (f"{R1}.head.norm", False, "C", "trained retriever: one layer"),
    (f"{R1}.dim", 256, "C", "trained retriever"),
    (f"{R1}.pooling", "token", "C", "trained retriever: class token"),
    (f"{R1}.image_size", 384, "C", "trained retriever"),
    (f"{R1}.grey", True, "C", "trained retriever"),
    (f"{R2}.backbone.name", "vit_base_patch8_224.dino", "C", "frozen retriever"),
    (f"{R2}.backbone.pretrained", "hub", "C", "frozen retriever"),
    (f"{R2}.backbone.normalisation", "imagenet", "C", "frozen retriever"),
    (f"{R2}.head.kind", "none", "C", "frozen retriever"),
    (f"{R2}.dim", 768, "C", "frozen retriever"),
    (f"{R2}.pooling", "token", "C", "frozen retriever: class token"),
    (f"{R2}.image_size", 224, "C", "frozen retriever"),
    (f"{R2}.grey", False, "C", "frozen retriever"),
    (f"{R2}.stages", (), "C", "frozen retriever"),
    *columns(
        f"{R1}.stages",
        ("early", "late"),
        OPTIM
        | {
            "epochs": ([31, 25], "D"),  # of 500 steps each: 15,500 and 12,500
            "images_per_epoch": (500 * 56, "D"),
            "batch_images": (56, "C"),
            "views": ([("separate.basic", "separate.retrieved"), ("separate.basic", "separate.retrieved_later")], "C"),
            "loss.kind": ("ntxent", "C"),
            "loss.temperature": (0.1, "C"),
            "loss.koleo": (0.0, "C"),
        },
        "trained retriever",
    ),
]
PAIR_NETWORKS: list[Fact] = [
    *columns(
        NETWORKS,
        ("pairs_a", "pairs_b", "pairs_c"),
        {
            "backbone.name": ("vit_large_patch16_224.augreg_in21k_ft_in1k", "C"),
            "backbone.pretrained": ("hub", "C"),
            "backbone.normalisation": ("imagenet", "C"),
            "image_size": (224, "C"),
            "tokens": (0, "C"),
            "grey": ([True, False, True], "C"),
            "weights_of": ("", "C"),
        },
        "pair classifier",
    ),
    *columns(
        f"{NETWORKS}.pairs_a.stages",
        ("stage1", "stage2", "stage3"),
        PAIR_STAGE
        | {
            "groups": ([50_500, 18_500, 30_000], "C"),
            "start": ([0, 50_500, 69_000], "C"),
            "view": (["separate.first", "separate.emoji", "separate.final"], "C"),
            "grey": (0.0, "C"),  # the network itself is grey
        },
        "schedule of A",
    ),
    *columns(
        f"{NETWORKS}.pairs_b.stages",
        ("stage1", "stage2", "stage3"),
        PAIR_STAGE
        | {
            "groups": ([44_500, 29_500, 7_000], "C"),
            "start": ([300_000, 400_000, 440_000], "C"),
            "view": (["separate.first", "separate.emoji", "separate.final"], "C"),
            "grey": (0.5, "C"),
        },
        "schedule of B",
    ),
    *columns(
        f"{NETWORKS}.pairs_c.stages",
        tuple(f"stage{number}" for number in range(1, 10)),
        PAIR_STAGE
        | {
            "groups": ([67_500, 32_000, 15_500, 44_500, 10_500, 46_000, 14_000, 6_000, 9_500], "C"),
            "start": ([0, 42_000, 74_000, 89_500, 134_000, 144_500, 190_500, 204_500, 210_500], "C"),
            "view": (
                [
                    f"separate.{view}"
                    for view in ("three", "distractor", "pixels", "pixels", "marked", "colours", "sizes", "sizes")
                ]
                + ["separate.final"],
                "C",
            ),
            "grey": (0.0, "C"),
        },
        "schedule of C",
    ),
]
LISTS: list[Fact] = [
    fact
    for member in ("r1", "r2")
    for fact in columns(
        BRANCHES,
        tuple(f"{member}_{name}" for name in ("full", "strips", "half_grid_left", "third_grid_right", "references")),
        {
            "members": ((member,), "C"),
            "space.dim": (0, "C"),
            "query_views": ([(), ("strips",), ("half_grid_left",), ("third_grid_right",), ()], "C"),
            "reference_views": ([(), (), (), (), ("half_grid",)], "C"),
            "cut.by": ("neighbours", "C"),
            "cut.amount": ([100.0, 20.0, 10.0, 5.0, 10.0], "C"),
            "norm_factor": (0.0, "C"),
            "crop_penalty": (0.0, "C"),
        },
        "candidate lists",
    )
]
SEPARATE: list[Fact] = [
    *RETRIEVERS,
    *PAIR_NETWORKS,
    *LISTS,
    (f"{PAIRS}.keep", 100, "C", "first pass"),
    (f"{PAIRS}.floor", 0.0, "C", "first pass: no threshold"),
    (f"{PAIRS}.views", ("pair_views",), "C", "second pass"),
    ("matching.fused", ("pairs",), "C", "similarities of the lists are not carried on"),
    ("matching.best_per_query", 1, "C", "final list"),
]
