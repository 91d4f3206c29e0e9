"""All recipes by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

from isckit import config
from isckit.recipes import baseline, organisers
from isckit.storage.artifacts import read_json
from isckit.types import BadInput

RECIPES: dict[str, Callable[[], config.Recipe]] = {
    "baseline": baseline.baseline,
    "baseline.mini": baseline.mini,
    "baseline.tiny": baseline.tiny,
    "gist": organisers.gist,
}


def recipe(name: str, *, settings: list[str] | None = None) -> config.Recipe:
    """A recipe by name or from a JSON file, with `a.b=value` settings applied.

    Raises:
        BadInput: an unknown name or key, with the nearest right ones.
    """
    if name in RECIPES:
        value = RECIPES[name]()
    elif name.endswith(".json"):
        value = config.from_dict(read_json(Path(name)))
    else:
        near = difflib.get_close_matches(name, RECIPES, n=2, cutoff=0.3)
        raise BadInput(
            seen=f"recipe {name!r}",
            allowed=f"{', '.join(RECIPES)}, or a recipe.json file",
            remedy=f"did you mean {' or '.join(near)}?" if near else "list them with: isckit recipes list",
        )
    return config.override(value, settings or [])
