"""Published hyper-parameters of visionForce and SSCD, and those proposed after titanshield2."""

from __future__ import annotations

from recipes.facts import NET, Fact

BASIC = f"{NET}.stages.basic"
VISION_FORCE: list[Fact] = [
    (f"{NET}.backbone.name", "resnet50", "PR", "backbones"),
    (f"{NET}.backbone.pretrained", "resnet50.pth", "R", "Barlow Twins, public checkpoint"),
    (f"{NET}.backbone.stride16", True, "C", "trunk"),
    (f"{NET}.backbone.wave", True, "CP", "WaveBlock"),
    (f"{NET}.backbone.ibn", False, "C", "backbones"),
    (f"{NET}.backbone.normalisation", "imagenet", "C", "trunk"),
    (f"{NET}.head.kind", "projector", "C", "heads"),
    (f"{NET}.head.widths", (4_096, 8_192), "C", "heads"),
    (f"{NET}.dim", 256, "PC", "heads"),
    (f"{NET}.gem_p", 3.0, "PC", "GeM"),
    (f"{NET}.gem_learnable", True, "PC", "GeM"),
    (f"{NET}.gem_p_at_test", 3.0, "C", "GeM; not in the paper"),
    (f"{NET}.image_size", 256, "C", "trunk"),
    (f"{NET}.scales", (200, 256, 320, 400), "PC", "scales"),
    (f"{NET}.flip", False, "C", "scales"),
    (f"{BASIC}.loss.kind", "two_heads", "PC", "losses"),
    (f"{BASIC}.loss.cross_entropy", 10.0, "I", "losses"),
    (f"{BASIC}.loss.triplet", 1.0, "I", "losses"),
    (f"{BASIC}.loss.soft", 1.0, "I", "losses"),
    (f"{BASIC}.loss.smoothing", 0.1, "I", "losses"),
    (f"{BASIC}.loss.logit_temperature", 1.0, "I", "losses"),
    (f"{BASIC}.data.every", 10, "PS", "data"),
    (f"{BASIC}.data.ids", 0, "PS", "data"),
    (f"{BASIC}.data.partners", "others", "S", "data"),
    (f"{BASIC}.batch_images", 32, "P", "sampler"),
    (f"{BASIC}.views", ("vision_force.basic",) * 4, "P", "sampler"),
    (f"{BASIC}.image_size", 256, "PS", "data"),
    (f"{BASIC}.epochs", 25, "PC", "schedule"),
    (f"{BASIC}.stop_after", 0, "C", "schedule"),
    (f"{BASIC}.images_per_epoch", 256_000, "PD", "8,000 steps of 32"),
    (f"{BASIC}.optim.name", "adam", "P", "schedule"),
    (f"{BASIC}.optim.lr", 3.5e-4, "P", "schedule"),
    (f"{BASIC}.optim.weight_decay", 5e-4, "I", "schedule"),
    (f"{BASIC}.optim.warmup_epochs", 5.0, "PS", "schedule"),
    (f"{BASIC}.optim.warmup_start", 0.01, "PS", "schedule"),
    (f"{BASIC}.optim.hold_epochs", 5.0, "PS", "schedule"),
    (f"{BASIC}.optim.schedule", "cosine", "PS", "schedule"),
    (f"{BASIC}.optim.final", 0.0, "PS", "schedule"),
    (f"{BASIC}.optim.per", "epoch", "PS", "schedule"),
    (f"{BASIC}.ghost_batch", 32, "CS", "statistics of one GPU"),
    (f"{BASIC}.ema", 0.0, "P", "schedule"),
    ("ensemble.how", "shared", "C", "no PCA"),
    ("normalise.stretch.n", 5, "C", "stretching"),
    ("normalise.stretch.alpha", 2.5, "C", "stretching"),
    ("substitution", None, "I", "boxes are the user's"),
]

MIXED = f"{NET}.stages.mixed"
SSCD: list[Fact] = [
    (f"{NET}.backbone.name", "resnet50", "C", "architecture"),
    (f"{NET}.backbone.pretrained", "none", "C", "architecture"),
    (f"{NET}.backbone.normalisation", "imagenet", "C", "inference"),
    (f"{NET}.head.kind", "linear", "C", "architecture"),
    (f"{NET}.head.bias", True, "C", "architecture"),
    (f"{NET}.head.norm", False, "C", "architecture"),
    (f"{NET}.dim", 512, "C", "architecture"),
    (f"{NET}.gem_p", 3.0, "C", "architecture"),
    (f"{NET}.gem_learnable", False, "C", "architecture"),
    (f"{NET}.image_size", 288, "C", "inference"),
    (f"{MIXED}.loss.kind", "ntxent", "C", "losses"),
    (f"{MIXED}.loss.temperature", 0.05, "C", "losses"),
    (f"{MIXED}.loss.koleo", 30.0, "C", "losses"),
    (f"{MIXED}.image_size", 224, "C", "training"),
    (f"{MIXED}.epochs", 100, "C", "training"),
    (f"{MIXED}.stop_after", 0, "C", "training"),
    (f"{MIXED}.batch_images", 4_096, "C", "training"),
    (f"{MIXED}.views", ("sscd.advanced", "sscd.advanced"), "C", "augmentation"),
    (f"{MIXED}.mix.probability", 0.05, "C", "mixing"),
    (f"{MIXED}.mix.beta", 2.0, "C", "mixing"),
    (f"{MIXED}.optim.name", "lars", "C", "training"),
    (f"{MIXED}.optim.lr", 4.8, "C", "training"),
    (f"{MIXED}.optim.momentum", 0.9, "C", "training"),
    (f"{MIXED}.optim.weight_decay", 1e-6, "C", "training"),
    (f"{MIXED}.optim.trust", 0.001, "C", "training"),
    (f"{MIXED}.optim.warmup_epochs", 5.0, "C", "training"),
    (f"{MIXED}.optim.schedule", "cosine", "C", "training"),
    (f"{MIXED}.optim.per", "step", "C", "training"),
    ("ensemble.how", "pca", "C", "whitening"),
    ("ensemble.whiten", 0.5, "C", "whitening"),
    ("ensemble.dim", 255, "I", "256 with the score's normalisation"),
    ("normalise.offset.beta", 1.0, "C", "score normalisation"),
    ("normalise.offset.n", 3, "C", "score normalisation"),
]
WIDE = "matching.branches.views"
SSCD_WIDE: list[Fact] = [
    *SSCD,
    (f"{WIDE}.space.dim", 512, "C", "whitening"),
    (f"{WIDE}.space.whiten", 0.5, "C", "whitening"),
    (f"{WIDE}.norm_factor", 1.0, "C", "score normalisation"),
    (f"{WIDE}.norm_first", 1, "C", "score normalisation"),
    (f"{WIDE}.norm_last", 3, "C", "score normalisation"),
]
OTHER = (f"{NET}.backbone.name", f"{NET}.dim")
SSCD_LARGE: list[Fact] = [
    *(fact for fact in SSCD if fact[0] not in OTHER),
    (OTHER[0], "resnext101_32x4d", "C", "architecture"),
    (OTHER[1], 1_024, "C", "architecture"),
]

TITANSHIELD: list[Fact] = [
    (f"members.{student}.stages.compatible.{path}", value, "I", "proposal")
    for student in ("student_s", "student_nf")
    for path, value in (
        ("loss.kind", "compatibility"),
        ("loss.anchor", "anchor"),
        ("loss.temperature", 0.05),
        ("loss.distillation", 0.5),
        ("loss.restoration", 0.1),
        ("loss.student_temperature", 0.1),
        ("loss.teacher_temperature", 0.04),
        ("loss.teacher_momentum", 0.996),
        ("views", ("lyakaap.moderate", "lyakaap.strong", "lyakaap.strong")),
    )
] + [("ensemble.how", "shared", "I", "proposal"), ("ensemble.dim", 256, "I", "proposal")]


def _pretraining(name: str, *facts: tuple[str, object, str]) -> list[Fact]:
    """Facts of a stage, those that the three systems share behind them."""
    stage = f"{NET}.stages.{name}"
    shared = (("views", ("byol.first", "byol.second"), "views"), ("optim.warmup_epochs", 10.0, "schedule"),
              ("optim.schedule", "cosine", "schedule"), ("optim.per", "step", "schedule"))  # fmt: skip
    own = [(f"{stage}.{path}", value, "P", section) for path, value, section in (*facts, *shared)]
    return [*own, (f"{NET}.image_size", 224, "P", "views")]


BARLOW_TWINS = _pretraining(
    "barlow_twins",
    ("epochs", 1_000, "2.2"), ("batch_images", 2_048, "2.2"), ("optim.name", "lars", "2.2"),
    ("optim.lr", 0.2 * 2_048 / 256, "2.2"), ("optim.weight_decay", 1.5e-6, "2.2"), ("optim.final", 0.001, "2.2"),
    ("loss.off_diagonal", 0.0051, "released file"), ("loss.width", 8_192, "2.2"),
)  # fmt: skip
BYOL = _pretraining(
    "byol",
    ("epochs", 1_000, "3.2"), ("batch_images", 4_096, "3.2"), ("optim.name", "lars", "3.2"),
    ("optim.lr", 0.2 * 4_096 / 256, "3.2"), ("optim.weight_decay", 1.5e-6, "3.2"), ("loss.momentum", 0.996, "3.2"),
    ("loss.hidden", 4_096, "3.2"), ("loss.width", 256, "3.2"), ("loss.statistics", "batch", "3.2"),
)  # fmt: skip
MOMENTUM_TEACHER = _pretraining(
    "momentum_teacher",
    ("epochs", 300, "D2LV"), ("batch_images", 512, "D2LV"), ("optim.name", "sgd", "D2LV"),
    ("optim.momentum", 0.9, "D2LV"), ("optim.lr", 0.05 * 512 / 256, "D2LV"), ("optim.weight_decay", 1e-4, "D2LV"),
    ("loss.momentum", 0.99, "D2LV"),
    ("loss.hidden", 4_096, "D2LV"), ("loss.width", 256, "D2LV"), ("loss.statistics", "momentum", "D2LV"),
)  # fmt: skip
