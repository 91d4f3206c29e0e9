"""Differences of two recipes, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def recipe_differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return every value in which two resolved recipes differ: "ensemble.dim: 256 there, 128 now", by key.

    Args:
        there, now: plain values, as of `config.to_dict` or read from JSON; tuples and lists are the same.
    """
    # Through JSON, so that a recipe in memory and one read from a file compare.
    before, after = (_flat(json.loads(json.dumps(values))) for values in (there, now))
    return [
        f"{key}: {before.get(key)!r} there, {after.get(key)!r} now"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def _flat(value: object, prefix: str = "") -> dict[str, object]:
    items: Sequence[tuple[object, object]]
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        items = list(enumerate(value))
    else:
        return {prefix: value}
    return {k: v for key, inner in items for k, v in _flat(inner, f"{prefix}.{key}" if prefix else str(key)).items()}
