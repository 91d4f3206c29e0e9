"""All published tables: hyper-parameters by recipe, sizes of networks, scores by row of the ablation."""

from __future__ import annotations

from recipes.facts import Fact
from recipes.published_baselines import BASELINES
from recipes.published_d2lv import D2LV_FIXED, D2LV_RANKED
from recipes.published_imgfp import IMGFP, OVERLAY_DETECTOR
from recipes.published_lyakaap import LYAKAAP, LYAKAAP_TRAIN_NEGATIVES
from recipes.published_others import (
    BARLOW_TWINS,
    BYOL,
    MOMENTUM_TEACHER,
    SSCD,
    SSCD_LARGE,
    SSCD_WIDE,
    TITANSHIELD,
    VISION_FORCE,
)
from recipes.published_s_square import S_SQUARE
from recipes.published_separate import SEPARATE

PUBLISHED: dict[str, list[Fact]] = {
    "lyakaap": LYAKAAP,
    "lyakaap.train_negatives": LYAKAAP_TRAIN_NEGATIVES,
    "s_square": S_SQUARE,
    "vision_force_descriptor": VISION_FORCE,
    "pretrain.barlow_twins": BARLOW_TWINS,
    "pretrain.byol": BYOL,
    "pretrain.momentum_teacher": MOMENTUM_TEACHER,
    "titanshield": TITANSHIELD,
    "sscd": SSCD,
    "sscd.large": SSCD_LARGE,
    "sscd.wide": SSCD_WIDE,
    "d2lv": D2LV_RANKED,
    "d2lv.fixed": D2LV_FIXED,
    "separate": SEPARATE,
    "imgfp": IMGFP,
    "overlay_detector": OVERLAY_DETECTOR,
} | BASELINES

PARAMETERS: dict[tuple[str, str], float] = {
    ("lyakaap", "network"): 52.33,
    ("s_square", "m5"): 118,
    ("s_square", "m19"): 23,
    ("s_square", "m24"): 23,
    ("s_square", "m25_16"): 39.5,
    ("s_square", "m26"): 39.1,
    ("s_square", "m9"): 18,
    ("s_square", "m10"): 54.4,
    ("sscd", "network"): 24.6,
    ("sscd.large", "network"): 44.2,
    ("sscd.wide", "network"): 24.6,
}
"""Millions of parameters of each published network, without the classifier that it is trained with."""

SCORES: dict[str, dict[str, str]] = {
    "lyakaap": {
        "after v83": "0.5831 / 0.4644",
        "after v86": "0.6231 / 0.5237",
        "after v98": "0.6435 / 0.5662",
        "after v107": "0.7557 / 0.6404",
        "+ subtraction": "0.7743 / 0.6892",
    },
    "lyakaap.train_negatives": {"+ subtraction": "0.6297"},
    "s_square": {
        "m5 alone": "0.6362 / 0.5257",
        "m19 alone": "0.6378 / 0.5223",
        "m24 alone": "0.6524 / 0.5372",
        "m25_16 alone": "0.6642 / 0.5548",
        "m25_14 alone": "0.6641 / 0.5458",
        "m26 alone": "0.6607 / 0.5488",
        "m9 alone": "0.6516 / 0.5552",
        "m10 alone": "0.6640 / 0.5504",
        "ensemble": "0.6869 / 0.5742",
        "+ push": "0.7267 / 0.6522",
    },
    "vision_force_descriptor": {
        "trained": "0.53218 / 0.29693",
        "+ stretching": "0.70481 / 0.61631",
        "+ overlay detection (with a boxes file)": "0.71487 / 0.62913",
        "+ four scales": "0.73017 / 0.63975",
    },
    "sscd": {
        "raw": "0.6094 / 0.377",
        "raw + score normalisation": "0.7180 / 0.625",
        "whitened": "0.6143 / 0.383",
        "whitened + score normalisation": "0.7243 / 0.631",
    },
    "d2lv": {
        "whole images": "0.70813 / 0.62773",
        "+ query crops": "0.82726 / 0.74755",
        "+ both directions": "0.83720 / 0.75155",
        "+ all training sets": "0.88640 / 0.80124",
        "whole": "0.90035 / 0.81887",
    },
}
"""uAP / R@P90 of the published ablations, by row."""
