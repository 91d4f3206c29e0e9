"""Rule 5.9, winners' duties: a package that others may use and can run. Source: announcement of the winners.

The static part: licence, commands, pinned environment, seed, paths, weights, licences of others. Whether the package
runs in a clean room is not seen here.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

from isckit.judge.rules.annotation import package_files
from isckit.judge.rules.finding import Case, Finding, judged
from isckit.runs.artifacts import read_json, receipt_path
from isckit.types import BadInput

LICENCES = {
    "Apache-2.0": ("apache license version 2.0, january 2004",),
    "MIT": ("permission is hereby granted, free of charge, to any person obtaining a copy", "without restriction"),
    "BSD-3-Clause": ("redistribution and use in source and binary forms", "neither the name"),
    "BSD-2-Clause": ("redistribution and use in source and binary forms",),
    "ISC": ("permission to use, copy, modify, and/or distribute this software for any purpose with or without fee",),
    "Zlib": ("the origin of this software must not be misrepresented",),
    "BSL-1.0": ("boost software license - version 1.0",),
    "Unlicense": ("this is free and unencumbered software released into the public domain",),
}
"""OSI-approved permissive licences by phrases that stand in all their copies, in lower case with single spaces."""
NOT_PERMISSIVE = {
    "AGPL": "gnu affero general public license",
    "LGPL": "gnu lesser general public license",
    "GPL": "gnu general public license",
    "MPL": "mozilla public license",
    "EPL": "eclipse public license",
    "a Creative Commons licence for non-commercial use": "noncommercial",
    "a licence for non-commercial use": "non-commercial",
    "the Commons Clause": "commons clause",
}
"""Licences, and additions to licences, that forbid or demand too much, by a phrase that no permissive licence has."""

_LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "conda-lock.yml")
_COMMANDS = re.compile(r"^```(?:sh|bash|shell|zsh|console)[^\n]*\n\s*[^\s`]", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_PIN = re.compile(r"[A-Za-z0-9][\w.-]*(?:\[[^\]]*\])?\s*===?\s*[^\s;,*]+\s*(?:;.*)?")
_CODE = {"", ".py", ".sh", ".toml", ".json", ".yaml", ".yml", ".cfg", ".ini", ".txt"}
# Not after a word, a variable or another slash: that is the rest of a relative path or of an address.
_PATH = re.compile(
    r"""(?<![\w./:~$}>*-])/(?:home|root|mnt|media|data|datasets|scratch|workspace|Users)/[^\s"'`,;:()\[\]{}<>]+"""
    r"""|(?<![\w-])[A-Z]:\\{1,2}\w{2}[^\s"'`,;:]*"""
)
_HOME = re.compile(r"/(?:home|root|Users)/|[A-Z]:\\+Users")
_SHOWN = 5


def winners_duties(case: Case) -> Finding:
    """The package has a permissive licence, commands, a lock, a seed, live paths, weights and others' licences."""
    project = case.project
    licences = _top(project, "LICENSE*", "LICENCE*", "COPYING*")
    if not licences and not (project / "pyproject.toml").is_file():
        return Finding(
            "unknown", "none", "nothing", f"{project} has neither a licence nor a pyproject.toml: no checkout"
        )
    problems = [
        *_licence(licences),
        *_readme(project),
        *_lock(project),
        *_weights_and_seed(case),
        *_paths(case),
        *_others(project),
    ]
    examined = (
        "licence, README, lock, seed, paths, weights and third-party licences of the package; "
        "it was not run in a clean room: run_phase1.sh and tests/run.sh of a fresh checkout would do that"
    )
    return judged(problems, "proven", examined)


def recognise_licence(text: str) -> tuple[str, bool] | None:
    """Name of a licence by its text, and whether it is OSI-approved and permissive; None for an unknown text."""
    plain = " ".join(text.lower().split())
    for name, phrase in NOT_PERMISSIVE.items():
        if phrase in plain:
            return name, False
    for name, phrases in LICENCES.items():
        if all(phrase in plain for phrase in phrases):
            return name, True
    return None


def requirements(project: Path) -> dict[str, bool]:
    """Packages that the project needs at run time, and whether each is pinned to one version.

    From requirements.txt, else from all requirements*.txt, else from a lock file.
    """
    main = project / "requirements.txt"
    files = [main] if main.is_file() else _top(project, "requirements*.txt")
    lines = [line.split(" #")[0].strip() for file in files for line in _text(file).splitlines()]
    wanted = [line.rstrip("\\ ") for line in lines if line and not line.startswith(("#", "-"))]
    if wanted:
        return {_name(line): _PIN.fullmatch(line) is not None for line in wanted}
    return {name: True for lock in _locks(project) for name in _locked(lock)}


def _licence(files: list[Path]) -> Iterator[str]:
    if not files:
        yield "no LICENSE file"
    for path in files:
        found = recognise_licence(_text(path))
        if found is None:
            yield f"{path.name} is not the text of a known permissive licence ({', '.join(LICENCES)})"
        elif not found[1]:
            yield f"{path.name} is {found[0]}, which is not permissive"


def _readme(project: Path) -> Iterator[str]:
    texts = [_text(path) for path in _top(project, "README*")]
    if not texts:
        yield "no README"
    elif not any(_COMMANDS.search(text) for text in texts):
        yield "the README has no block of shell commands (```sh)"


def _lock(project: Path) -> Iterator[str]:
    wanted = requirements(project)
    loose = [name for name, pinned in wanted.items() if not pinned]
    if not wanted:
        yield f"no lock of the environment (requirements.txt with ==, {', '.join(_LOCKS)})"
    elif loose and not _locks(project):
        yield f"{len(loose)} requirements are not pinned with ==: {', '.join(loose[:_SHOWN])}"


def _weights_and_seed(case: Case) -> Iterator[str]:
    weights, recipe = case.workspace.weights(case.name), case.workspace.recipe(case.name)
    if not weights.is_file():
        yield f"no weights ({weights})"
    elif not receipt_path(weights).is_file() and not case.workspace.freeze(case.name).is_file():
        yield f"no digest of {weights.name}: neither a receipt nor a freeze"
    if not recipe.is_file() or "seed" not in read_json(recipe):
        yield f"no seed is recorded ({recipe})"


def _paths(case: Case) -> Iterator[str]:
    """Absolute paths in code and settings that lead nowhere, or into somebody's home."""
    places = [(path, path.relative_to(case.project).as_posix()) for path in _code(case.project)]
    recipe = case.workspace.recipe(case.name)
    if recipe.is_file():
        places.append((recipe, f"{case.name}/{recipe.name}"))
    dead = [f"{name}, line {line}: {path}" for file, name in places for line, path in dead_paths(file)]
    if dead:
        more = f" and {len(dead) - _SHOWN} more" if len(dead) > _SHOWN else ""
        yield f"dead absolute paths: {', '.join(dead[:_SHOWN])}{more}"


def dead_paths(file: Path) -> list[tuple[int, str]]:
    """Lines and absolute paths of a source or settings file that lead into a home, or to data that is not there.

    Comments and docstrings are left out: examples stand there. Binary files have none.
    """
    text = _text(file)
    if "\0" in text or not _PATH.search(text):
        return []
    prose = _docstring_lines(text) if file.suffix == ".py" else set()
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        for match in _PATH.finditer(line):
            comment = file.suffix != ".json" and "#" in line[: match.start()]
            if number not in prose and not comment and (_HOME.match(match[0]) or not Path(match[0]).exists()):
                found.append((number, match[0]))
    return found


def _docstring_lines(source: str) -> set[int]:
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return set()
    lines: set[int] = set()
    for node in ast.walk(tree):
        # A statement that is nothing but a string documents what stands before it.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def _others(project: Path) -> Iterator[str]:
    files = _top(project, "THIRD_PARTY*", "THIRD-PARTY*", "NOTICE*")
    if not files:
        yield "no list of third-party licences (THIRD_PARTY.md)"
        return
    words = {_name(word) for path in files for word in _NAME.findall(_text(path))}
    missing = sorted(set(requirements(project)) - words)
    if missing:
        yield f"{files[0].name} does not name {len(missing)} requirements: {', '.join(missing[:_SHOWN])}"


def _code(project: Path) -> Iterator[Path]:
    return (path for path in package_files(project) if path.suffix in _CODE)


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", errors="replace")


def _top(project: Path, *patterns: str) -> list[Path]:
    return sorted({path for pattern in patterns for path in project.glob(pattern) if path.is_file()})


def _locks(project: Path) -> list[Path]:
    return [project / name for name in _LOCKS if (project / name).is_file()]


def _locked(lock: Path) -> list[str]:
    try:
        values = yaml.safe_load(_text(lock)) if lock.suffix == ".yml" else tomllib.loads(_text(lock))
        assert isinstance(values, dict)
    except (tomllib.TOMLDecodeError, yaml.YAMLError, AssertionError) as error:
        raise BadInput(
            seen=f"{lock} is no lock file: {error}", allowed="a lock file", remedy="make it again"
        ) from error
    # The project itself stands in its own lock, without a registry.
    own = ("editable", "virtual", "directory")
    packages = [p for p in values.get("package", []) if not any(key in p.get("source", {}) for key in own)]
    return [_name(package["name"]) for package in packages]


def _name(requirement: str) -> str:
    """Name of a package as PEP 503 compares it."""
    match = _NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", match[0]).lower().strip("-") if match else ""
