"""Published hyper-parameters, value by value, as tables of the sources; independent of the recipes.

A fact is (path in the recipe, value, tag, source). Tags: P paper, C released code, N notebook, R the authors' readme or
slides, B the winners' article, S sibling repositories of the same authors, D derived from published values, I inference
where nothing is told.
"""

from __future__ import annotations

from typing import Any

Fact = tuple[str, Any, str, str]


NET = "members.network"
"""The member of systems with one."""


def columns(prefix: str, names: tuple[str, ...], table: dict[str, tuple[Any, str]], source: str) -> list[Fact]:
    """A table with a column a name; one value stands for all columns, a list holds one a column."""
    facts = []
    for path, (values, tag) in table.items():
        each = values if isinstance(values, list) else [values] * len(names)
        assert len(each) == len(names), path
        facts += [(f"{prefix}.{name}.{path}", value, tag, source) for name, value in zip(names, each, strict=True)]
    return facts
