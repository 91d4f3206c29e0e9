"""Rules 5.6 and 5.9, the package: what it takes from others is named with a licence, and others may use and can run it.

Sources: competition forum, answers on ImageNet and other licences; announcement of the winners. Whether a licence
permits a prize contest the participant judges and certifies; a program can see that the record is there and fits. Of
the duties the static part is seen, not whether the package runs in a clean room.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from isckit import config
from isckit.judge.rules.annotation import package_files
from isckit.judge.rules.finding import Case, Finding, judged
from isckit.judge.rules.training import training_logs
from isckit.runs.artifacts import file_digest, read_receipt, receipt_path
from isckit.runs.records import read_json
from isckit.types import BadInput, Role

PERMISSIVE = frozenset(
    {
        *("0BSD", "AFL-3.0", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC-BY-3.0", "CC-BY-4.0"),
        *("CC0-1.0", "HPND", "ISC", "MIT", "MIT-0", "MIT-CMU", "PDDL-1.0", "PSF-2.0", "Python-2.0", "Unlicense"),
        *("WTFPL", "Zlib"),
    }
)
"""SPDX ids of licences that permit any use, a prize contest among them."""
TEXTS = {
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
TRAINING_IMAGES = "training images"
"""The words that the `use` of an entry has where images from outside train a member."""

_ADDED = re.compile("non-?commercial|commons clause")
"""Additions to a licence text that take its permission back."""
_RESTRICTED = re.compile(r"\bNC\b|non-?commercial|research|academic", re.IGNORECASE)
_CERTIFY = "the participant certifies that it permits a prize contest"
_LOCKS = ("uv.lock", "poetry.lock", "pdm.lock")
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


def external_data(case: Case) -> Finding:
    """Judge rule 5.6: every source of weights and images outside the competition's data has an entry with address and
    licence.
    """
    if not case.workspace.recipe(case.name).is_file():
        return Finding("unknown", "none", "no recipe")
    recipe = case.recipe
    networks = [member for member in recipe.members if isinstance(member, config.Network)]
    parts: list[Part] = [*networks, *recipe.pair_networks, *([recipe.detector] if recipe.detector else [])]
    pretrained = [part for part in parts if start_of(part)[1] != "none"]
    differing, uncompared = _digests(recipe.external, pretrained)
    problems = [*differing, *_incomplete(case, pretrained)]
    notes = [*uncompared, *_warnings(recipe.external, pretrained), *_installed(case)]
    examined = f"{len(recipe.external)} external entries for {len(pretrained)} members with pretrained weights"
    return judged(problems, "proven" if differing else "declared", examined, note="; ".join(notes))


Part = config.Network | config.PairNetwork | config.Detector


def start_of(part: Part) -> tuple[str, str]:
    """Return what a trained part begins with: its architecture, and "none", "hub" or a weight file."""
    if isinstance(part, config.Detector):
        return part.architecture, part.pretrained
    return part.backbone.name, part.backbone.pretrained


def refers_to(entry: config.External, member: Part) -> bool:
    """Return True if an entry is about the weights that a part begins with: by architecture, file name or the part's
    name.
    """
    return (
        _is_named(entry, member) or re.search(rf"(?<![\w.-]){re.escape(member.name)}(?![\w-])", entry.use) is not None
    )


def _is_named(entry: config.External, member: Part) -> bool:
    return entry.name in (start_of(member)[0], Path(start_of(member)[1]).name)


def licence_class(licence: str) -> str:
    """Return the class of a licence (SPDX): "permissive", "restricted" (non-commercial, research only) or "unknown"."""
    parts = [part.strip(" ()") for part in re.split(r"\s(?:AND|OR)\s", licence)]
    known = {name.lower() for name in PERMISSIVE}
    if all(part.lower() in known for part in parts):
        return "permissive"
    return "restricted" if _RESTRICTED.search(licence) else "unknown"


def _incomplete(case: Case, members: list[Part]) -> Iterator[str]:
    """Weights and images without an entry, and entries without licence or address."""
    entries = case.recipe.external
    for member in members:
        if not any(refers_to(entry, member) for entry in entries):
            weights = ", ".join(reversed(start_of(member)))
            yield f"member {member.name}: no entry names its weights ({weights})"
    for entry in entries:
        for key in ("licence", "address"):
            if not getattr(entry, key).strip():
                yield f"entry {entry.name!r} has no {key}"
    drawn = [role for log in training_logs(case.checkpoint).values() for epoch in log for role in epoch["consumed"]]
    if Role.EXTERNAL.value in drawn and not any(TRAINING_IMAGES in entry.use for entry in entries):
        yield f"external images were trained on, and no entry's use mentions {TRAINING_IMAGES!r}"


def _warnings(entries: tuple[config.External, ...], members: list[Part]) -> Iterator[str]:
    """Licences that need a person's judgement, and weights that an entry covers by its use alone."""
    kinds = {"restricted": "restricted in use", "unknown": "not known as permissive"}
    for entry in entries:
        kind = licence_class(entry.licence)
        if kind in kinds:
            yield f"{entry.name}: licence {entry.licence} is {kinds[kind]}: {_CERTIFY}"
    for member in members:
        if not any(_is_named(entry, member) for entry in entries):
            yield f"member {member.name} begins with {start_of(member)[0]}, which no entry is named after"


def _digests(entries: tuple[config.External, ...], members: list[Part]) -> tuple[list[str], list[str]]:
    """Weight files that are not the declared ones, and declared digests that could not be compared."""
    differing, notes = [], []
    for entry in entries:
        if not entry.sha256:
            continue
        files = [Path(start_of(m)[1]) for m in members if start_of(m)[1] != "hub" and refers_to(entry, m)]
        there = [path for path in files if path.is_file()]
        differing += [
            f"{path} has sha256 {digest}, entry {entry.name!r} declares {entry.sha256}"
            for path, digest in ((path, file_digest(path)) for path in there)
            if digest != entry.sha256
        ]
        if not there:
            notes.append(f"{entry.name}: no file at hand to compare with the declared sha256")
    return differing, notes


def _installed(case: Case) -> list[str]:
    weights = case.workspace.weights(case.name)
    receipt = read_receipt(weights) if receipt_path(weights).is_file() and weights.is_file() else {}
    if "checkpoint" not in receipt.get("made_from", {}):
        return []
    logs = (
        "logs of their training came along" if training_logs(case.checkpoint) else "their training is not recorded here"
    )
    return [f"weights were installed from {receipt['facts'].get('source')}; {logs}"]


def winners_duties(case: Case) -> Finding:
    """Judge rule 5.9: the package has a permissive licence, commands, a lock, a seed, live paths, weights and others'
    licences.
    """
    project, licences = case.project, _top(case.project, "LICENSE*", "LICENCE*", "COPYING*")
    if not licences and not (project / "pyproject.toml").is_file():
        return Finding("unknown", "none", "nothing", f"{project} has no licence and no pyproject.toml: no checkout")
    problems = [*_licence(licences), *_environment(project), *_weights_and_seed(case), *_paths(case)]
    examined = (
        "licence, README, lock, seed, paths, weights and third-party licences of the package; "
        "it was not run in a clean room: run_phase1.sh and tests/run.sh of a fresh checkout would do that"
    )
    return judged(problems, "proven", examined)


def recognise_licence(text: str) -> str | None:
    """Return the SPDX id of a permissive licence by its text; None for any other text, also one that adds limits."""
    plain = " ".join(text.lower().split())
    known = (name for name, phrases in TEXTS.items() if all(phrase in plain for phrase in phrases))
    return None if _ADDED.search(plain) else next(known, None)


def requirements(project: Path) -> dict[str, bool]:
    """Return the packages that a project needs at run time, and whether each is pinned to one version.

    From requirements.txt, else from all requirements*.txt, else from lock files. Raises BadInput where one is none.
    """
    files = _top(project, "requirements.txt") or _top(project, "requirements*.txt")
    lines = [line.split(" #")[0].strip() for file in files for line in _text(file).splitlines()]
    wanted = [line.rstrip("\\ ") for line in lines if line and not line.startswith(("#", "-"))]
    if wanted:
        return {_name(line): _PIN.fullmatch(line) is not None for line in wanted}
    return {name: True for lock in _top(project, *_LOCKS) for name in _locked(lock)}


def _locked(lock: Path) -> list[str]:
    try:
        packages = tomllib.loads(_text(lock)).get("package", [])
    except tomllib.TOMLDecodeError as error:
        seen = f"{lock} is no lock file: {error}"
        raise BadInput(seen=seen, allowed="a lock file", remedy="make it again") from error
    # The project itself stands in its own lock, without a registry.
    own = {"editable", "virtual", "directory"}
    return [_name(package["name"]) for package in packages if not own & package.get("source", {}).keys()]


def _licence(files: list[Path]) -> Iterator[str]:
    if not files:
        yield "no LICENSE file"
    for path in files:
        if recognise_licence(_text(path)) is None:
            yield f"{path.name} is not the text of a known permissive licence ({', '.join(TEXTS)})"


def _environment(project: Path) -> Iterator[str]:
    """Commands to run, pinned packages, and their licences."""
    readmes = _top(project, "README*")
    if not readmes:
        yield "no README"
    elif not any(_COMMANDS.search(_text(path)) for path in readmes):
        yield "the README has no block of shell commands (```sh)"
    wanted = requirements(project)
    loose = [name for name, pinned in wanted.items() if not pinned]
    if not wanted:
        yield f"no lock of the environment (requirements.txt with ==, {', '.join(_LOCKS)})"
    elif loose and not _top(project, *_LOCKS):
        yield f"{len(loose)} requirements are not pinned with ==: {', '.join(loose[:_SHOWN])}"
    files = _top(project, "THIRD_PARTY*", "THIRD-PARTY*", "NOTICE*")
    words = {_name(word) for path in files for word in _NAME.findall(_text(path))}
    missing = sorted(wanted.keys() - words)
    if not files:
        yield "no list of third-party licences (THIRD_PARTY.md)"
    elif missing:
        yield f"{files[0].name} does not name {len(missing)} requirements: {', '.join(missing[:_SHOWN])}"


def _weights_and_seed(case: Case) -> Iterator[str]:
    weights, recipe = case.workspace.weights(case.name), case.workspace.recipe(case.name)
    if not weights.is_file():
        yield f"no weights ({weights})"
    elif not receipt_path(weights).is_file() and not case.workspace.freeze(case.name).is_file():
        yield f"no digest of {weights.name}: neither a receipt nor a freeze"
    if not recipe.is_file() or "seed" not in read_json(recipe, dict):
        yield f"no seed is recorded ({recipe})"


def _paths(case: Case) -> Iterator[str]:
    """Absolute paths in code and settings that lead nowhere, or into somebody's home."""
    files = {path.relative_to(case.project).as_posix(): path for path in package_files(case.project)}
    files = {name: path for name, path in files.items() if path.suffix in _CODE}
    recipe = case.workspace.recipe(case.name)
    files |= {f"{case.name}/{recipe.name}": recipe} if recipe.is_file() else {}
    dead = [f"{name}, line {line}: {path}" for name, file in files.items() for line, path in dead_paths(file)]
    if dead:
        more = f" and {len(dead) - _SHOWN} more" if len(dead) > _SHOWN else ""
        yield f"dead absolute paths: {', '.join(dead[:_SHOWN])}{more}"


def dead_paths(file: Path) -> list[tuple[int, str]]:
    """Return lines and absolute paths of a source or settings file that lead into a home, or to data that is not there.

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
    """Lines of statements that are nothing but a string: these document what stands before them."""
    try:
        nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr)]
    except SyntaxError:
        return set()
    prose = [node for node in nodes if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)]
    return {line for node in prose for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", errors="replace")


def _top(project: Path, *patterns: str) -> list[Path]:
    return sorted({path for pattern in patterns for path in project.glob(pattern) if path.is_file()})


def _name(requirement: str) -> str:
    """Name of a package as PEP 503 compares it."""
    match = _NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", match[0]).lower().strip("-") if match else ""
