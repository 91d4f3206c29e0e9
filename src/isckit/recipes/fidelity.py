"""The page that says of every published system what its recipe does and does not reproduce, by its docstring."""

from __future__ import annotations

import inspect
import re

from isckit.recipes.catalogue import RECIPES

FIELDS = ("Published", "Cost", "Source", "Not reproduced")
_HEAD = """# What is published, what the recipes do, and what differs

Made by `isckit recipes fidelity` from the recipes' own docstrings, of every recipe that claims a publication. Every
number of a recipe that a publication names is held to it by `tests/recipes/published*.py`; names and shapes of
published weight files by `tests/models/published/`. The minis walk the same path at a small size; their scores are in
matching_systems.md and descriptor_systems.md.
"""


def parts(name: str) -> dict[str, str]:
    """Return the first sentence of a recipe's docstring ("") and its fields by name, each in one line."""
    text = inspect.getdoc(RECIPES[name]) or ""
    first, _, rest = text.partition("\n\n")
    found = re.split(r"^([A-Z][a-z ]+): ", rest, flags=re.MULTILINE)
    fields = {"": f"{first}\n{found[0]}"} | dict(zip(found[1::2], found[2::2], strict=True))
    return {field: " ".join(words.split()) for field, words in fields.items()}


def claims(name: str) -> bool:
    """Return True for a recipe that claims a publication: what it says of it begins with more than "nothing"."""
    return not parts(name).get("Published", "nothing").startswith("nothing")


def claiming() -> list[str]:
    """Return the recipes that claim a publication."""
    return [name for name in RECIPES if claims(name)]


def page() -> str:
    """Return the page as Markdown."""
    sections = [_HEAD]
    for name in claiming():
        own = parts(name)
        lines = [f"## `{name}`", "", own[""], ""]
        lines += [f"* **{field}:** {own[field]}" for field in FIELDS if field in own]
        lines += [] if "Not reproduced" in own else ["* **Not reproduced:** nothing that is known."]
        sections.append("\n".join(lines) + "\n")
    return "\n".join(sections)
