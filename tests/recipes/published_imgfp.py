"""Published values of imgFp, and of detectors of pasted pictures, its own and visionForce's."""

from __future__ import annotations

from recipes.facts import NET, Fact, columns

BRANCHES = "matching.branches"
SIFT = {
    "keypoints.kind": ("sift", "C"),
    "keypoints.short_side": (300, "C"),
    "keypoints.points": (0, "C"),  # no limit
    "keypoints.least": (10, "C"),
    "keypoints.levels": (7, "C"),
    "keypoints.contrast": (0.0125, "D"),  # VLFeat's threshold in OpenCV's terms, 0.011 to 0.0137
    "keypoints.edge": (10.0, "C"),
    "keypoints.enlarged": (False, "C"),
    "verify.ratio": (1.8, "C"),
    "verify.model": ("none", "C"),  # the article speaks of RANSAC, the code has none
    "verify.least": (0, "C"),
    "verify.mirrored": (True, "C"),
    "verify.score": ("count", "C"),
}
VOTES = {
    "vote.index": ("exact", "C"),
    "vote.by": ("nearest", "C"),
    "vote.radius": (8_000.0, "C"),
    "vote.least_votes": (4, "C"),  # more than 3
    "vote.least_alone": (6, "C"),  # more than 5
    "vote.consistent": (False, "C"),
    "vote.mirrored": (False, "C"),
}

IMGFP: list[Fact] = [
    (f"{NET}.backbone.name", "swin_base_patch4_window7_224", "C", "descriptor: depths, heads and width"),
    (f"{NET}.backbone.window", 14, "C", "descriptor"),
    (f"{NET}.backbone.blocks", 4, "C", "descriptor: last four blocks, 3072 values"),
    (f"{NET}.backbone.normalisation", "imagenet", "C", "descriptor"),
    (f"{NET}.pooling", "mean", "C", "descriptor: tokens averaged"),
    (f"{NET}.head.kind", "linear", "C", "descriptor"),
    (f"{NET}.head.bias", True, "C", "descriptor"),
    (f"{NET}.head.norm", False, "C", "descriptor"),
    (f"{NET}.dim", 256, "C", "descriptor"),
    (f"{NET}.image_size", 224, "C", "descriptor"),
    (f"{NET}.stages.triplets.loss.kind", "triplet", "B", "first step"),
    (f"{NET}.stages.triplets.loss.improved", False, "B", "first step: a plain triplet"),
    (f"{NET}.stages.triplets.loss.mining", "random", "I", "first step"),
    (f"{NET}.stages.triplets.optim.name", "adamw", "I", "cited by the paper"),
    (f"{NET}.stages.pairs.data.anchors", "pairs", "C", "second step"),
    (f"{NET}.stages.pairs.data.negatives", "references", "C", "second step"),
    (f"{NET}.stages.pairs.data.negatives_per_anchor", 16, "C", "second step"),
    (f"{NET}.stages.pairs.batch_images", 8, "C", "second step, name of the checkpoint"),
    (f"{NET}.stages.pairs.epochs", 200, "C", "second step, name of the checkpoint"),
    (f"{NET}.stages.pairs.loss.margin", 1.0, "C", "second step, name of the checkpoint"),
    (f"{NET}.stages.pairs.loss.triplets", 128, "C", "second step: a negative each"),
    (f"{NET}.stages.pairs.optim.lr", 1e-4, "C", "second step, name of the checkpoint"),
    (f"{NET}.stages.pairs.optim.schedule", "constant", "C", "second step: adjustment off"),
    ("ensemble.how", "shared", "C", "no PCA"),
    ("ensemble.dim", 256, "C", "no PCA"),
    ("normalise", (), "C", "no normalisation"),
    ("detector.image_size", 640, "C", "detector"),
    ("substitution.confidence", 0.55, "C", "detector, before global search"),
    (f"{BRANCHES}.views.query_views", (), "C", "global search"),
    (f"{BRANCHES}.views.reference_views", (), "C", "global search"),
    (f"{BRANCHES}.views.norm_factor", 0.0, "C", "global search"),
    (f"{BRANCHES}.views.cut.by", "neighbours", "C", "global search"),
    (f"{BRANCHES}.views.cut.amount", 1.0, "C", "global search: the first alone"),
    (f"{BRANCHES}.global.vote", None, "C", "pairs of the global search"),
    (f"{BRANCHES}.global.candidates", ("views",), "C", "pairs of the global search"),
    *columns(BRANCHES, ("global", "local", "crop"), SIFT, "points and pair score"),
    *columns(BRANCHES, ("local", "crop"), VOTES, "local recall"),
    *columns(BRANCHES, ("global", "local", "crop"), {"of": (["image", "original", "overlay"], "C")}, "overview"),
    ("matching.fusion.kind", "sum", "C", "fusion"),
    ("matching.fused", ("global", "local", "crop"), "C", "fusion"),
    ("matching.best_per_query", 0, "C", "all pairs are written"),
]

OVERLAY_DETECTOR: list[Fact] = [
    ("detector.architecture", "fasterrcnn_resnet50_fpn_v2", "I", "in place of YOLOv5x, which is under the GPL"),
    ("detector.pretrained", "hub", "R", "visionForce: weights of COCO"),
    ("detector.image_size", 640, "RC", "visionForce and imgFp"),
    ("detector.epochs", 50, "R", "visionForce"),
    ("detector.confidence", 0.1, "CR", "visionForce"),
    ("detector.overlap", 0.45, "CR", "visionForce"),
    ("detector.pastes.background", (0.8, 1.0), "C", "imgFp's overlay augmentation"),
    ("detector.pastes.height", (0.2, 0.8), "I", "imgFp's 0.4 to 0.8, and hard cases below"),
    ("detector.pastes.opacity", (0.5, 1.0), "I", "proposal"),
    ("substitution.confidence", 0.9, "CR", "visionForce"),
]
