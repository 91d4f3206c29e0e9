"""The rows of each system's own ablation, with the scores its authors published."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from isckit import config
from isckit.recipes import catalogue


@dataclass(frozen=True)
class AblationRow:
    """One row: what differs from the whole recipe.

    Attributes:
        label: as the row is known by.
        settings: overrides `a.b=value` of the whole recipe; none of them may touch training.
        stages: weights after so many stages of every trained member; 0 before training, None after all.
        published: score and set it was measured on, with the source's tag; "" where none is known.
    """

    label: str
    settings: tuple[str, ...] = ()
    stages: int | None = None
    published: str = ""


RAW = "normalise=[]"
UNTRAINED = AblationRow("untrained", (RAW,), stages=0)

_PRIVATE, _PUBLIC = "phase 1 hidden half [paper]", "phase 1 public half"
LYAKAAP = {
    "v83": f"0.5831 / 0.4644, {_PRIVATE}",
    "v86": f"0.6231 / 0.5237, {_PRIVATE}",
    "v98": f"0.6435 / 0.5662, {_PRIVATE}",
    "v107": f"0.7557 / 0.6404, {_PRIVATE}",
    "whole": f"0.7743 / 0.6892, {_PRIVATE}",
}
"""uAP / R@P90 after each stage, and with negative embedding subtraction after the last."""
TRAIN_NEGATIVES = {"v83": LYAKAAP["v83"], "v86": LYAKAAP["v86"], "whole": "0.6297, phase 2 [paper]"}
S_SQUARE = {
    "m5": "0.6362 / 0.5257", "m19": "0.6378 / 0.5223", "m24": "0.6524 / 0.5372", "m25_16": "0.6642 / 0.5548",
    "m25_14": "0.6641 / 0.5458", "m26": "0.6607 / 0.5488", "m9": "0.6516 / 0.5552", "m10": "0.6640 / 0.5504",
}  # fmt: skip
"""uAP / R@P90 of each member alone, on phase 1's public half, at its own width; by the notebook."""
D2LV = {
    "whole images": "0.70813 / 0.62773",
    "+ query crops": "0.82726 / 0.74755",
    "+ both directions": "0.83720 / 0.75155",
    "+ all training sets": "0.88640 / 0.80124",
    "whole": "0.90035 / 0.81887",
}
"""uAP / R@P90 of the Matching track on phase 1; how many networks the first rows had is not told."""


def rows(name: str) -> tuple[AblationRow, ...]:
    """The ablation of a recipe of the catalogue, full or small, in the order of its paper.

    Raises:
        BadInput: no such recipe.
    """
    return rows_of(catalogue.recipe(name))


def rows_of(recipe: config.Recipe) -> tuple[AblationRow, ...]:
    """The ablation of a recipe by the family of its name; untrained, raw and whole where none was published.

    None was published for separate, imgFp and the baselines. What branches of local features, visual words and pairs of
    images describe and fit lies with the run itself, where a row does not find it: only whole recipes have them.
    """
    return TABLES.get(recipe.name.split(".")[0], _plain)(recipe)


def _plain(recipe: config.Recipe) -> tuple[AblationRow, ...]:
    trained = (UNTRAINED,) if recipe.trained else ()
    raw = (AblationRow("not normalised", (RAW,)),) if recipe.normalise else ()
    return (*trained, *raw, AblationRow("whole"))


def _lyakaap(recipe: config.Recipe) -> tuple[AblationRow, ...]:
    """Each stage at its own resolution, then subtraction in both forms, then six passes an image."""
    (network,) = recipe.trained
    negatives = {stage.data.negatives for stage in network.stages}
    published = LYAKAAP if "references" in negatives else TRAIN_NEGATIVES
    after = tuple(
        AblationRow(
            f"after {stage.name}",
            (RAW, f"members.{network.name}.image_size={stage.image_size}"),
            stages=number,
            published=published.get(stage.name, ""),
        )
        for number, stage in enumerate(network.stages, start=1)
    )
    sizes = [int(network.image_size * factor) for factor in (1 / math.sqrt(2), 1, math.sqrt(2))]
    passes = (
        f"members.{network.name}.scales={sizes}",
        f"members.{network.name}.flip=true",
        f"members.{network.name}.canvas={max(network.canvas, *sizes)}",
    )
    return (
        UNTRAINED,
        *after,
        AblationRow(
            "+ subtraction, queries only", ("normalise=[{kind: subtract, k: 10, beta: 0.35, sides: queries}]",)
        ),
        AblationRow("+ subtraction", published=published["whole"]),
        AblationRow("+ three scales, mirrored", passes),
    )


def _s_square(recipe: config.Recipe) -> tuple[AblationRow, ...]:
    """Each member alone, then together, then with the push in both forms."""
    return (
        UNTRAINED,
        *(_alone(recipe, member) for member in recipe.trained),
        AblationRow("ensemble", (RAW,), published=f"0.6869 / 0.5742, {_PUBLIC} [notebook]"),
        AblationRow("+ push by vectors", ("normalise.push.by=vector",)),
        AblationRow("+ push", published=f"0.7267 / 0.6522, {_PUBLIC} [notebook]"),
    )


def _alone(recipe: config.Recipe, member: config.Network) -> AblationRow:
    """One member of an ensemble, turned but not whitened, reduced where it is wider than the track allows."""
    dim = min(member.dim, recipe.ensemble.dim)
    settings = (RAW, f"members=[{json.dumps(config.to_dict(member))}]", f"ensemble.dim={dim}", "ensemble.whiten=0")
    published = S_SQUARE.get(member.name, "") if not recipe.name.endswith(".mini") else ""
    return AblationRow(
        f"{member.name} alone", settings, published=f"{published}, {_PUBLIC} [notebook]" if published else ""
    )


def _vision_force(recipe: config.Recipe) -> tuple[AblationRow, ...]:
    """Rows before overlay detection go without boxes; where the recipe has none, that row repeats the one before."""
    (network,) = recipe.trained
    single, without = f"members.{network.name}.scales=[]", "substitution=null"
    learnt = f"members.{network.name}.gem_p_at_test=null"
    return (
        AblationRow("untrained", (RAW, single, without), stages=0),
        AblationRow("trained", (RAW, single, without), published=f"0.53218 / 0.29693, {_PUBLIC} [paper]"),
        AblationRow("+ stretching", (single, without), published=f"0.70481 / 0.61631, {_PUBLIC} [paper]"),
        AblationRow("+ stretching, with the learnt power in GeM", (learnt, single, without)),
        AblationRow(
            "+ overlay detection (with a boxes file)", (single,), published=f"0.71487 / 0.62913, {_PUBLIC} [paper]"
        ),
        AblationRow("+ four scales", published=f"0.73017 / 0.63975, {_PUBLIC} [paper]"),
    )


def _sscd(recipe: config.Recipe) -> tuple[AblationRow, ...]:
    """Whitened and not, with and without the score's normalisation; the width is the recipe's in all rows."""
    plain = "ensemble.whiten=0"
    confirmed = ("0.6094 / 0.377", "0.7180 / 0.625", "0.6143 / 0.383", "0.7243 / 0.631")
    of_large = ("", "", "0.637", "0.753")
    large = recipe.name == "sscd.large"
    source = "recalled" if large else "repository"
    tagged = [f"{score}, {_PUBLIC} [{source}]" if score else "" for score in (of_large if large else confirmed)]
    return (
        AblationRow("untrained", (RAW, plain), stages=0),
        AblationRow("raw", (RAW, plain), published=tagged[0]),
        AblationRow("raw + score normalisation", (plain,), published=tagged[1]),
        AblationRow("whitened", (RAW,), published=tagged[2]),
        AblationRow("whitened + score normalisation", published=tagged[3]),
    )


def _titanshield(recipe: config.Recipe) -> tuple[AblationRow, ...]:
    """Nothing is published: queries by the anchor itself, by each student in its space, and by all students."""
    anchor, *students = (json.dumps(config.to_dict(member)) for member in recipe.trained)
    names = [member.name for member in recipe.trained]
    pairs = [(name, f"members=[{anchor}, {student}]") for name, student in zip(names[1:], students, strict=True)]
    return (
        UNTRAINED,
        AblationRow("queries by the anchor", (RAW, f"members=[{anchor}]")),
        *(AblationRow(f"queries by {name}", (RAW, setting)) for name, setting in pairs),
        AblationRow("queries by all students", (RAW,)),
        AblationRow("+ subtraction"),
    )


def _d2lv(recipe: config.Recipe) -> tuple[AblationRow, ...]:
    """Rows of the Matching track; the descriptor is that of the first set's networks in all of them.

    Whole images, crops of queries, parts of references, the other training sets, and the other scales with the whole
    recipe. Where a recipe has one set, or one scale, that row repeats the one before.
    """
    *crops, parts = _viewed(recipe)
    trained = {member.name for member in recipe.trained}
    first, at_first_scale = crops[0], [branch for branch in crops if trained.issuperset(branch.members)]
    whole = config.replace(first, query_views=())
    published = {label: f"{score}, phase 1 [paper]" for label, score in D2LV.items()} if recipe.name == "d2lv" else {}
    steps = {
        "whole images": (whole,),
        "+ query crops": (first,),
        "+ both directions": (first, parts),
        "+ all training sets": (*at_first_scale, parts),
    }
    return (
        AblationRow("untrained", (RAW, *_looking(recipe, whole)), stages=0),
        *(
            AblationRow(label, _looking(recipe, *some), published=published.get(label, ""))
            for label, some in steps.items()
        ),
        AblationRow("whole", published=published.get("whole", "")),
    )


def _looking(recipe: config.Recipe, *branches: config.Views | config.Agreement) -> tuple[str, ...]:
    """Settings for these branches alone, with the members that they look at."""
    names = {name for branch in branches for name in branch.members}
    members = [config.to_dict(member) for member in recipe.members if member.name in names]
    kept = [config.to_dict(branch) for branch in branches]
    return (f"members={json.dumps(members)}", f"matching.branches={json.dumps(kept)}")


def _ours(recipe: config.Recipe) -> tuple[AblationRow, ...]:
    """The network after each stage of its training, each step after it, then the other members beside it."""
    (network,) = recipe.trained
    alone = f"members={json.dumps([config.to_dict(network)])}"
    raw = (RAW, alone, "ensemble.whiten=0")
    subtraction = f"normalise={json.dumps([config.to_dict(recipe.normalise[0])])}"
    return (
        AblationRow("untrained", raw, stages=0),
        *(
            AblationRow(f"after {stage.name}", raw, stages=number)
            for number, stage in enumerate(network.stages, start=1)
        ),
        AblationRow("+ whitening", (RAW, alone)),
        AblationRow("+ subtraction", (subtraction, alone)),
        AblationRow("+ score normalisation", (alone,)),
        AblationRow("+ Fisher vectors"),
    )


def _viewed(recipe: config.Recipe) -> list[Any]:
    """Return the branches that compare embeddings of views."""
    return [b for b in recipe.matching.branches if b.compares_views]


def _ours_matching(recipe: config.Recipe) -> tuple[AblationRow, ...]:
    """The branch of views by itself, on whole images and on all views; local features come with the whole recipe."""
    (views,) = _viewed(recipe)
    alone = {
        "whole images": config.replace(views, query_views=(), reference_views=()),
        "+ views": views,
    }
    best = "matching.fusion={kind: best}"
    return (
        UNTRAINED,
        *(
            AblationRow(label, (f"matching.branches=[{json.dumps(config.to_dict(one))}]", best))
            for label, one in alone.items()
        ),
        AblationRow("whole"),
    )


TABLES: dict[str, Callable[[config.Recipe], tuple[AblationRow, ...]]] = {
    "lyakaap": _lyakaap,
    "s_square": _s_square,
    "vision_force_descriptor": _vision_force,
    "sscd": _sscd,
    "titanshield": _titanshield,
    "d2lv": _d2lv,
    "ours": _ours,
    "ours_matching": _ours_matching,
}
