"""Published hyper-parameters of lyakaap, and of its variant with train negatives."""

from __future__ import annotations

from recipes.facts import NET, Fact, columns

LYAKAAP_NETWORK: list[Fact] = [
    (f"{NET}.backbone.name", "tf_efficientnetv2_m.in21k_ft_in1k", "C", "network"),
    (f"{NET}.backbone.pretrained", "hub", "C", "network"),
    (f"{NET}.backbone.cut", "stages", "C", "network: last feature map only"),
    (f"{NET}.backbone.normalisation", "backbone", "D", "mean and deviation 0.5"),
    (f"{NET}.head.kind", "linear", "C", "network"),
    (f"{NET}.head.bias", False, "C", "network"),
    (f"{NET}.head.norm", True, "C", "network"),
    (f"{NET}.dim", 256, "PC", "network"),
    (f"{NET}.gem_p", 1.0, "C", "commands, training"),
    (f"{NET}.gem_learnable", False, "C", "commands"),
    (f"{NET}.gem_p_at_test", None, "C", "commands, evaluation: as in training"),
    (f"{NET}.image_size", 512, "C", "extraction"),
    (f"{NET}.canvas", 512, "C", "extraction: whole image to a square"),
    (f"{NET}.scales", (), "C", "no passes beyond one in the submission"),
    (f"{NET}.flip", False, "C", "no passes beyond one in the submission"),
]
LYAKAAP_STAGES = columns(
    f"{NET}.stages",
    ("v83", "v86", "v98", "v107"),
    {
        "image_size": ([256, 384, 512, 512], "C"),
        "epochs": ([10, 7, 3, 10], "C"),
        "stop_after": ([6, 6, 2, 0], "C"),
        "batch_images": ([128, 128, 64, 16], "C"),
        "images_per_epoch": (0, "C"),
        "data.anchors": (["train", "train", "train", "pairs"], "PC"),
        "data.every": (1, "PC"),
        "data.ids": (0, "PC"),
        "data.negatives": (["none", "none", "references", "references"], "PC"),
        "data.negatives_per_anchor": ([0, 0, 2, 30], "C"),
        "loss.kind": ("contrastive", "PC"),
        "loss.positive_margin": (0.0, "PC"),
        "loss.negative_margin": ([1.0, 1.0, 1.0, 1.1], "PC"),
        "loss.memory": ([20_000, 20_000, 20_000, 1_000], "PC"),
        "optim.name": ("sgd", "PC"),
        # Published rates over the number of processes that each divided the gradient by.
        "optim.lr": ([0.1 / 4, 0.1 / 8, 0.1 / 16, 0.5 / 16], "CD"),
        "optim.momentum": (0.9, "PC"),
        "optim.weight_decay": (1e-6, "PC"),
        "optim.warmup_epochs": (0.0, "C"),
        "optim.schedule": (["constant", "constant", "linear", "linear"], "C"),
        "optim.per": ("epoch", "C"),
        "optim.final": (0.0, "C"),
        "optim.clip": (0.0, "C"),
        "amp": (True, "C"),
        "ema": (0.0, "C"),
        "ghost_batch": (0, "C"),
        "micro_batch": ([256 // 4, 256 // 8, 256 // 16, 512 // 16], "D"),
        "views": (
            [
                ("lyakaap.moderate", "lyakaap.weak"),
                ("lyakaap.moderate", "lyakaap.intermediate"),
                ("lyakaap.moderate", "lyakaap.strong"),
                (),
            ],
            "C",
        ),
    },
    "the four stages",
)
LYAKAAP: list[Fact] = [
    *LYAKAAP_NETWORK,
    *LYAKAAP_STAGES,
    ("ensemble.how", "shared", "C", "one network, no PCA"),
    ("ensemble.dim", 256, "PC", "network"),
    ("normalise.subtract.iterations", 1, "PC", "subtraction"),
    ("normalise.subtract.k", 10, "PC", "subtraction"),
    ("normalise.subtract.beta", 0.35, "PC", "subtraction"),
    ("normalise.subtract.dba", 10, "C", "subtraction; not in the paper"),
    ("normalise.subtract.dba_power", 3.0, "C", "subtraction; not in the paper"),
    ("normalise.subtract.sides", "both", "C", "subtraction; the paper says queries"),
]
CHANGED = {"data.negatives": ["none", "none", "train", "train"]}
LYAKAAP_TRAIN_NEGATIVES: list[Fact] = [
    *(fact for fact in LYAKAAP if not fact[0].endswith(".data.negatives")),
    *columns(f"{NET}.stages", ("v83", "v86", "v98", "v107"), {k: (v, "P") for k, v in CHANGED.items()}, "variant"),
]
