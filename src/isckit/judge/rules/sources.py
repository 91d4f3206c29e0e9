"""Rule 5.6, external data and pretrained models: every source is named, with a licence that the participant certifies.

Source: competition forum, answers on ImageNet and other licences. Sources are allowed where their licence permits use
in a prize contest, which the participant judges and certifies; a program can see that the record is there and fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from isckit import config
from isckit.judge.rules.finding import Case, Finding, judged
from isckit.judge.rules.training import training_logs
from isckit.runs.artifacts import file_digest, read_receipt, receipt_path
from isckit.types import Role

PERMISSIVE = frozenset(
    {
        *("0BSD", "AFL-3.0", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC-BY-3.0", "CC-BY-4.0"),
        *("CC0-1.0", "HPND", "ISC", "MIT", "MIT-0", "MIT-CMU", "PDDL-1.0", "PSF-2.0", "Python-2.0", "Unlicense"),
        *("WTFPL", "Zlib"),
    }
)
"""SPDX ids of licences that permit any use, a prize contest among them."""
TRAINING_IMAGES = "training images"
"""What the `use` of an entry says where images from outside train a member."""

_RESTRICTED = re.compile(r"\bNC\b|non-?commercial|research|academic", re.IGNORECASE)
_CERTIFY = "the participant certifies that it permits a prize contest"


def external_data(case: Case) -> Finding:
    """Every source of weights and images outside the competition's data has an entry with address and licence."""
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
    """What a trained part begins with: its architecture, and "none", "hub" or a weight file."""
    if isinstance(part, config.Detector):
        return part.architecture, part.pretrained
    return part.backbone.name, part.backbone.pretrained


def refers_to(entry: config.External, member: Part) -> bool:
    """Whether an entry is about the weights that a part begins with: by architecture, file name or the part's name."""
    return (
        _is_named(entry, member) or re.search(rf"(?<![\w.-]){re.escape(member.name)}(?![\w-])", entry.use) is not None
    )


def _is_named(entry: config.External, member: Part) -> bool:
    return entry.name in (start_of(member)[0], Path(start_of(member)[1]).name)


def licence_class(licence: str) -> str:
    """Class of an SPDX expression: "permissive", "restricted" (non-commercial, research only) or "unknown"."""
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
