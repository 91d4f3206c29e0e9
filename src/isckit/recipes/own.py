"""Recipes of one's own, read from a file.

`.yaml`, `.yml` and `.json` are data and never run code: a whole recipe, or `extends: NAME` and the values that differ.
`.py` is a program and is run: its `recipe()` returns the recipe.
"""

from __future__ import annotations

import difflib
import json
import runpy
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from isckit import config
from isckit.types import BadInput, KitError, MissingInput

DATA = (".yaml", ".yml", ".json")
SUFFIXES = (*DATA, ".py")

Known = Mapping[str, Callable[[], config.Recipe]]


def read(path: Path, *, known: Known) -> config.Recipe:
    """Return the recipe that a file describes; a `.py` file is run.

    A file with `extends` is named after itself unless it says a `name`.

    Args:
        path: one of `SUFFIXES`.
        known: the recipes that `extends` may name.

    Raises:
        MissingInput: there is no such file, or none that it extends.
        BadInput: the file cannot be read, or what it says is no recipe.
    """
    return _run(path) if path.suffix == ".py" else _resolve(path, known, through=())


def _resolve(path: Path, known: Known, *, through: tuple[Path, ...]) -> config.Recipe:
    through = (*through, path.resolve())
    if through.index(through[-1]) < len(through) - 1:
        raise BadInput(
            seen=f"files that extend each other in a circle: {' -> '.join(file.name for file in through)}",
            allowed="a chain that ends at a recipe of the catalogue or at a whole recipe",
            remedy="take `extends` out of one of them",
        )
    values = _values(path)
    if "extends" not in values:
        with _naming(path):
            return config.from_dict(values)
    base = _base(values.pop("extends"), path, known, through=through)
    with _naming(path):
        return config.merge(base, {"name": path.stem, **values})


def _base(name: Any, path: Path, known: Known, *, through: tuple[Path, ...]) -> config.Recipe:
    """The recipe that the file `path` extends."""
    if isinstance(name, str) and name in known:
        return known[name]()
    if isinstance(name, str) and Path(name).suffix in DATA:
        return _resolve(path.parent / name, known, through=through)
    near = difflib.get_close_matches(str(name), known, n=2, cutoff=0.3)
    remedy = f"did you mean {' or '.join(near)}?" if near else "list them with: isckit recipes list"
    if str(name).endswith(".py"):
        remedy = "extend it in Python: a data file runs no program"
    raise BadInput(
        seen=f"{path}: extends: {name!r}",
        allowed=f"{', '.join(known)}, or a file ({' '.join(DATA)}) relative to this one",
        remedy=remedy,
    )


def _values(path: Path) -> dict[str, Any]:
    """The plain values of a data file."""
    _require(path)
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise BadInput(
            seen=f"{path}: {' '.join(str(error).split())}",
            allowed=f"{'JSON' if path.suffix == '.json' else 'YAML'} in UTF-8",
            remedy="correct the file at that place",
        ) from error
    if not isinstance(values, dict):
        raise BadInput(
            seen=f"{path} holds a {type(values).__name__}",
            allowed="a mapping: a whole recipe, or `extends: NAME` and the values that differ",
            remedy="see a whole one with: isckit recipes show NAME",
        )
    return values


def _run(path: Path) -> config.Recipe:
    """The recipe that the program `path` returns."""
    _require(path)
    with _running(path):
        function = runpy.run_path(str(path), run_name=path.stem).get("recipe")
    if not callable(function):
        raise BadInput(
            seen=f"{path} has no function recipe()",
            allowed="a Python file whose recipe() returns an isckit.config.Recipe",
            remedy="define: def recipe() -> Recipe",
        )
    with _running(path):
        found = function()
    if not isinstance(found, config.Recipe):
        raise BadInput(
            seen=f"recipe() of {path} returned a {type(found).__name__}",
            allowed="an isckit.config.Recipe",
            remedy="return the recipe itself",
        )
    with _naming(path):
        return config.from_dict(config.to_dict(found))


@contextmanager
def _running(path: Path) -> Iterator[None]:
    """Turn whatever a user's program raises into a message with its line; the kit's own faults pass."""
    try:
        yield
    except KitError:
        raise
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        place = f"{path}, line {lines[-1]}" if lines else str(path)
        raise BadInput(
            seen=f"{place}: {type(error).__name__}: {' '.join(str(error).split())}",
            allowed="a program whose recipe() returns an isckit.config.Recipe",
            remedy="correct the file; the settings are those of isckit.config",
        ) from error


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Say in which file wrong values stand."""
    try:
        yield
    except BadInput as error:
        raise BadInput(seen=f"{path}: {error.seen}", allowed=error.allowed, remedy=error.remedy) from None


def _require(path: Path) -> None:
    if not path.is_file():
        raise MissingInput(seen=f"no file {path}", allowed="an existing recipe file", remedy="correct its path")
