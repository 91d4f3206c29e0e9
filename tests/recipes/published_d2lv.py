"""Published hyper-parameters of D2LV, with what is the same for many networks and branches told of the first.

`test_d2lv` holds every network and branch to the table of sets.
"""

from __future__ import annotations

from recipes.facts import Fact

NETWORK = "members.basic_r50_256"
STAGE = f"{NETWORK}.stages.basic"
CROPS = "matching.branches.basic_256"
PARTS = "matching.branches.parts"

D2LV: list[Fact] = [
    (f"{NETWORK}.backbone.name", "resnet50", "CR", "backbones"),
    (f"{NETWORK}.backbone.pretrained", "resnet50.pth", "R", "Barlow Twins, public checkpoint"),
    (f"{NETWORK}.backbone.stride16", True, "C", "trunk"),
    (f"{NETWORK}.backbone.wave", True, "CP", "WaveBlock"),
    (f"{NETWORK}.backbone.normalisation", "imagenet", "C", "trunk"),
    ("members.basic_r152_256.backbone.name", "resnet152", "CR", "backbones"),
    ("members.basic_ibn_256.backbone.ibn", True, "C", "backbones"),
    (f"{NETWORK}.head.kind", "projector", "C", "heads"),
    (f"{NETWORK}.head.widths", (4_096, 8_192), "C", "heads"),
    (f"{NETWORK}.dim", 8_192, "C", "heads; the wide output is what is retrieved with"),
    (f"{NETWORK}.gem_p", 3.0, "PC", "GeM"),
    (f"{NETWORK}.gem_p_at_test", 3.0, "C", "GeM; not in the paper"),
    ("members.blur_r50_256.blur", 5.0, "C", "references and train of the blur sets"),
    ("members.blur_grey_ibn_200.blur", 5.0, "C", "references and train of the blur sets"),
    ("members.face_grey_r50_320.grey", True, "PC", "grey sets"),
    (f"{STAGE}.loss.kind", "two_heads", "PC", "losses"),
    (f"{STAGE}.loss.cross_entropy", 10.0, "I", "losses"),
    (f"{STAGE}.loss.triplet", 1.0, "I", "losses"),
    (f"{STAGE}.loss.soft", 0.0, "C", "losses; there is one head"),
    (f"{STAGE}.loss.smoothing", 0.1, "I", "losses"),
    (f"{STAGE}.data.every", 10, "PS", "data"),
    (f"{STAGE}.batch_images", 32, "P", "sampler"),
    (f"{STAGE}.views", ("d2lv.basic",) * 4, "P", "sampler"),
    (f"{STAGE}.image_size", 256, "PS", "data"),
    (f"{STAGE}.epochs", 25, "PC", "schedule"),
    (f"{STAGE}.images_per_epoch", 256_000, "PD", "8,000 steps of 32"),
    (f"{STAGE}.optim.name", "adam", "P", "schedule"),
    (f"{STAGE}.optim.lr", 3.5e-4, "P", "schedule"),
    (f"{STAGE}.optim.weight_decay", 5e-4, "I", "schedule"),
    (f"{STAGE}.optim.warmup_epochs", 5.0, "PS", "schedule"),
    (f"{STAGE}.optim.hold_epochs", 5.0, "PS", "schedule"),
    ("detector.confidence", 0.1, "CR", "detection"),
    ("detector.overlap", 0.45, "CR", "detection"),
    ("detector.epochs", 50, "R", "detection"),
    ("overlays.confidence", 0.1, "C", "every box of the class is a crop"),
    ("proposals.scale", 500.0, "C", "selective search"),
    ("proposals.sigma", 0.9, "C", "selective search"),
    ("proposals.least_size", 10, "C", "selective search"),
    ("proposals.least_pixels", 2_000, "C", "selective search"),
    ("proposals.aspect", 2.0, "C", "selective search"),
    ("proposals.overlap", 0.5, "C", "selective search"),
    (f"{CROPS}.query_views", ("rotations", "centre", "sixths", "proposals", "overlays"), "C", "query crops"),
    (f"{CROPS}.reference_views", (), "C", "whole references"),
    (f"{CROPS}.space.dim", 1_500, "PC", "PCA"),
    (f"{CROPS}.space.whiten", 0.5, "C", "PCA"),
    (f"{CROPS}.space.fit_images", 20_000, "C", "PCA"),
    (f"{CROPS}.norm_factor", 2.0, "C", "score normalisation"),
    (f"{CROPS}.norm_first", 1, "C", "score normalisation"),
    (f"{CROPS}.norm_last", 10, "C", "score normalisation"),
    (f"{CROPS}.need", 2, "PC", "agreement"),
    (f"{CROPS}.min_side", 200, "C", "small crops"),
    (f"{CROPS}.crop_penalty", 0.05, "C", "completeness"),
    (f"{CROPS}.privileged", ("whole", "overlays"), "C", "completeness"),
    (f"{PARTS}.reference_views", ("quarters", "centre", "thirds", "sixths"), "C", "reference views"),
    (f"{PARTS}.query_views", (), "C", "whole queries"),
    (f"{PARTS}.need", 3, "C", "agreement"),
    (f"{PARTS}.faceless", True, "C", "faces"),
    (f"{PARTS}.privileged", (), "C", "completeness"),
    ("matching.fusion.kind", "top_mean", "C", "final list"),
    ("matching.fusion.rows", 2, "C", "final list"),
    ("matching.max_rows", 500_000, "C", "final list"),
]

D2LV_RANKED: list[Fact] = [
    *D2LV,
    (f"{CROPS}.cut.by", "rows", "C", "ranks"),
    (f"{CROPS}.cut.amount", 20.0, "CD", "ranks"),
]
"""`d2lv` as published; `d2lv.fixed` differs in the cut."""
D2LV_FIXED: list[Fact] = [
    *D2LV,
    (f"{CROPS}.cut.by", "share", "I", "thresholds"),
    (f"{CROPS}.cut.amount", 7e-7, "D", "ranks"),
]
