"""Published hyper-parameters of S-square."""

from __future__ import annotations

from recipes.facts import Fact, columns

MEMBERS = ("m5", "m19", "m24", "m25_16", "m25_14", "m26", "m9", "m10")
S_SQUARE_MEMBERS = columns(
    "members",
    MEMBERS,
    {
        "backbone.name": (
            [
                "tf_efficientnetv2_l.in21k_ft_in1k",
                *["efficientnetv2_rw_s.ra2_in1k"] * 2,
                *["eca_nfnet_l1.ra2_in1k"] * 3,
                "efficientnet_b4.ra2_in1k",
                "eca_nfnet_l2.ra3_in1k",
            ],
            "C",
        ),
        "backbone.pretrained": ("hub", "C"),
        "backbone.cut": ("head", "D"),
        "backbone.normalisation": ("imagenet", "C"),
        "image_size": ([512, 224, 160, 160, 160, 160, 160, 160], "C"),
        "canvas": ([512, *[384] * 7], "C"),
        "dim": ([512, 384, 384, 384, 384, 256, 256, 256], "C"),
        "head.kind": ("linear", "C"),
        "head.bias": ([True, True, *[False] * 6], "C"),
        "head.norm": (False, "C"),
        "gem_p": (3.0, "C"),
        "gem_learnable": (True, "C"),
        "gem_p_at_test": (None, "C"),
        "weight": (1.0, "CN"),
    },
    "models of the final ensemble",
)
LAST = ("m5.stages.at512", "m19.stages.main", "m24.stages.main", *(f"{m}.stages.round5" for m in MEMBERS[3:5]))
LAST = (*LAST, *(f"{m}.stages.round6" for m in MEMBERS[5:]))
S_SQUARE_TRAINING = columns(
    "members",
    LAST,
    {
        "loss.kind": ("arcface", "PC"),
        "loss.scale": (40.0, "C"),
        "loss.margin": (0.4, "C"),
        "loss.start": (["random"] * 3 + ["centroids"] * 5, "C"),
        "loss.centroid_views": (4, "C"),
        "optim.name": ("adam", "C"),
        "optim.lr": (1e-3, "C"),
        "optim.weight_decay": (0.0, "C"),
        "optim.clip": (1.0, "C"),
        "optim.schedule": (["cosine"] * 2 + ["plateau"] * 6, "C"),
        "optim.plateau_factor": ([0.9] * 6 + [0.5] * 2, "C"),
        "optim.plateau_patience": ([2] * 6 + [3] * 2, "C"),
        "optim.warmup_epochs": ([4.0] * 2 + [0.0] * 6, "C"),
        "epochs": ([104, 104, 20, 16, 14, 17, 9, 37], "CI"),
        "stop_after": ([20, 20, *[0] * 6], "I"),
        "batch_images": (64, "CI"),
        "amp": (True, "C"),
        "views": ([("s_square.early",)] * 2 + [("s_square@1.0",)] * 3 + [("s_square@0.75",)] * 3, "C"),
    },
    "head, loss and optimiser",
)
ROUNDS: dict[str, list[tuple[int, int, float]]] = {
    "m25_16": [(50_000, 64, 1.0), (50_000, 64, 1.0), (100_000, 64, 1.0), (300_000, 64, 1.0), (800_000, 64, 1.0)],
    "m26": [
        (25_000, 200, 0.5), (50_000, 100, 0.5), (100_000, 64, 0.6), (250_000, 64, 0.7), (500_000, 64, 0.75),
        (0, 64, 0.75),
    ],
    "m9": [
        (40_000, 200, 0.5), (80_000, 100, 0.5), (150_000, 100, 0.6), (300_000, 64, 0.7), (500_000, 64, 0.75),
        (0, 64, 0.75),
    ],
    "m10": [
        (40_000, 200, 0.5), (80_000, 100, 0.5), (150_000, 100, 0.6), (150_000, 64, 0.7), (200_000, 64, 0.75),
        (500_000, 64, 0.75),
    ],
}  # fmt: skip
"""(classes of DISC21, 0 for all; images a step; intensity); classes of ImageNet are not there."""
S_SQUARE_ROUNDS: list[Fact] = [
    (f"members.{member}.stages.round{number}.{path}", value, "C", "drip training")
    for member, rounds in ROUNDS.items()
    for number, (ids, batch, intensity) in enumerate(rounds, start=1)
    for path, value in (
        ("data.ids", ids),
        ("data.partners", "others" if ids else "any"),
        ("batch_images", batch),
        ("views", (f"s_square@{intensity}",)),
        ("loss.start", "centroids" if number > 1 else "random"),
    )
]
S_SQUARE: list[Fact] = [
    *S_SQUARE_MEMBERS,
    *S_SQUARE_TRAINING,
    *S_SQUARE_ROUNDS,
    ("members.m5.stages.at384.image_size", 384, "C", "m5 in two steps"),
    ("members.m5.stages.at512.image_size", 512, "C", "m5 in two steps"),
    ("members.m5.stages.at512.data.ids", 980_000, "C", "the last 20,000 are overlays"),
    ("members.m5.stages.at512.data.partners", "others", "C", "the last 20,000 are overlays"),
    ("members.m19.stages.main.optim.warmup_start", 1e-5 / 1e-3, "C", "from 1e-5"),
    ("members.m19.stages.main.optim.final", 1e-6 / 1e-3, "C", "to 1e-6"),
    ("ensemble.how", "pca", "CN", "ensemble"),
    ("ensemble.dim", 256, "CN", "ensemble"),
    ("ensemble.whiten", 0.5, "CN", "ensemble"),
    ("ensemble.fit_images", 1_000_000, "CN", "ensemble"),
    ("normalise.push.amount", 1.8, "N", "query normalisation"),
    ("normalise.push.k", 100, "N", "query normalisation"),
    ("normalise.push.n", 3, "N", "query normalisation"),
    ("normalise.push.by", "coordinate", "N", "query normalisation"),
]
