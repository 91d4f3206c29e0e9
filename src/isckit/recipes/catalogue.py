"""All recipes by name.

A recipe claims a publication by a line `Published:` in its docstring that begins with anything but "nothing"; the tests
then hold every value against a table with its source. Others need no entry there.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

from isckit import config
from isckit.recipes import (
    baseline,
    baselines,
    d2lv,
    how,
    imgfp,
    lyakaap,
    ours,
    ours_matching,
    overlay_detector,
    own,
    parajuli,
    pretrain,
    s_square,
    separate,
    sscd,
    titanshield,
    vision_force,
)
from isckit.types import BadInput

RECIPES: dict[str, Callable[[], config.Recipe]] = {
    "baseline": baseline.baseline,
    "baseline.mini": baseline.mini,
    "baseline.tiny": baseline.tiny,
    "phash": baselines.phash,
    "pdq": baselines.pdq,
    "gist": baselines.gist,
    "multigrain": baselines.multigrain,
    "multigrain.mini": baselines.multigrain_mini,
    "how": how.how,
    "how.mini": how.mini,
    "orb": parajuli.orb,
    "triplet": parajuli.triplet,
    "triplet.mini": parajuli.triplet_mini,
    "deeprank": parajuli.deeprank,
    "deeprank.mini": parajuli.deeprank_mini,
    "lyakaap": lyakaap.lyakaap,
    "lyakaap.train_negatives": lyakaap.train_negatives,
    "lyakaap.mini": lyakaap.mini,
    "s_square": s_square.s_square,
    "s_square.mini": s_square.mini,
    "vision_force_descriptor": vision_force.vision_force_descriptor,
    "vision_force_descriptor.mini": vision_force.mini,
    "pretrain.barlow_twins": pretrain.barlow_twins,
    "pretrain.barlow_twins.mini": pretrain.barlow_twins_mini,
    "pretrain.byol": pretrain.byol,
    "pretrain.byol.mini": pretrain.byol_mini,
    "pretrain.momentum_teacher": pretrain.momentum_teacher,
    "pretrain.momentum_teacher.mini": pretrain.momentum_teacher_mini,
    "titanshield": titanshield.titanshield,
    "titanshield.mini": titanshield.mini,
    "sscd": sscd.sscd,
    "sscd.wide": sscd.wide,
    "sscd.large": sscd.large,
    "sscd.mini": sscd.mini,
    "d2lv": d2lv.d2lv,
    "d2lv.fixed": d2lv.fixed,
    "d2lv.mini": d2lv.mini,
    "separate": separate.separate,
    "separate.mini": separate.mini,
    "imgfp": imgfp.imgfp,
    "imgfp.local": imgfp.local_only,
    "imgfp.mini": imgfp.mini,
    "overlay_detector": overlay_detector.overlay_detector,
    "overlay_detector.mini": overlay_detector.mini,
    "ours": ours.ours,
    "ours.mini": ours.mini,
    "ours.large": ours.large,
    "ours_default": ours_matching.default,
    "ours_matching": ours_matching.ours_matching,
    "ours_matching.mini": ours_matching.mini,
    "ours_matching.large": ours_matching.large,
    "ours_matching.tiny": ours_matching.tiny,
}


def recipe(name: str, *, settings: list[str] | None = None) -> config.Recipe:
    """Return a recipe by name, from a file or from a checkpoint of this kit, with `a.b=value` settings applied.

    Args:
        name: of this catalogue; or a file: `.json` or `.yaml`, `.py` (which is run), `.safetensors`.
        settings: as `config.override` takes them.

    Raises:
        BadInput: an unknown name or key, with the nearest right ones; a file that is no recipe.
        MissingInput: there is no such file.
    """
    if name in RECIPES:
        value = RECIPES[name]()
    elif Path(name).suffix in own.SUFFIXES:
        value = own.read(Path(name), known=RECIPES)
    elif name.endswith(".safetensors"):
        value = _of_checkpoint(Path(name))
    else:
        near = difflib.get_close_matches(name, RECIPES, n=2, cutoff=0.3)
        raise BadInput(
            seen=f"recipe {name!r}",
            allowed=f"{', '.join(RECIPES)}, a file ({' '.join(own.SUFFIXES)}), or a checkpoint",
            remedy=f"did you mean {' or '.join(near)}?" if near else "list them with: isckit recipes list",
        )
    return config.override(value, settings or [])


def _of_checkpoint(path: Path) -> config.Recipe:
    from isckit.runs.checkpoints import read_recipe

    values = read_recipe(path)
    if values is None:
        raise BadInput(
            seen=f"{path} carries no recipe",
            allowed="weights written by this kit",
            remedy="name the recipe, or its recipe.json",
        )
    return config.from_dict(values)
