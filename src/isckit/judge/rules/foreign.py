"""A file made by something else, rule by rule: what the file alone can say, and what would say the rest."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from isckit.data.layouts import Disc, given_disc, ids_of
from isckit.judge.rules.examine import RULES, guarded, table, unbroken
from isckit.judge.rules.finding import Case, Finding, Probe, Rule, judged
from isckit.judge.rules.form import file_faults
from isckit.judge.rules.independence import independent_descriptors, independent_pairs
from isckit.judge.rules.suspicion import Suspicion, row_keys, suspect_descriptors
from isckit.judge.rules.suspicion_matches import REFERENCES, suspect_matches
from isckit.runs.artifacts import rows_digest
from isckit.runs.workspace import Workspace
from isckit.submission import BLOCK, open_descriptors
from isckit.types import BadInput, KitError, MissingInput

MISSING = {
    "5.1": "training is not in the file; the training command, run under watch, would show what it augments",
    "5.2": "training is not in the file; logs of the ids that were trained on would show it",
    "5.3": "labels made by people are not in the file; the pipeline would have to make it from the images alone",
    "5.4": "the images and the pipeline would show it: isckit check --foreign FILE --data DIR --pipeline '...'",
    "5.5": "the images and the pipeline would show it: isckit check --foreign FILE --data DIR --pipeline '...'",
    "5.5-fit": "the fitted parts and the roles of the images they were fitted on would show it",
    "5.6": "weights and data sources are not in the file; a list of them with licences and digests would show it",
    "5.8": "phase 1's descriptor file (--against FILE.h5) would show changed references; weights and code the rest",
    "5.9": "code, licence and report are not in the file; the package would show them",
    "5.10": "other submissions are not in the file; a ledger of all of them would show it",
}
"""Rule number -> what the file lacks."""
ANYTHING = "the file alone does not show it; the pipeline, its parts and its records would"

_NOT_COMPARED = "weights, parameters and code are not in the files"
_SHOWN = 5


def check_foreign(
    path: Path,
    *,
    phase: int | None = None,
    data: Path | None = None,
    against: Path | None = None,
    probe: Probe | None = None,
) -> tuple[str, bool]:
    """Judge a file made by something else as far as can be: from the file alone, and by running its pipeline.

    Args:
        path: .csv of matches or .h5 of descriptors.
        phase: 1 or 2, where known.
        data: the images; experiments need them.
        against: the same system's descriptor file of phase 1, for a descriptor file of phase 2.
        probe: how to run the pipeline that made it; None to judge by the file alone.

    Returns:
        Text for people, and whether no rule is broken as far as can be seen.
    """
    if not path.is_file():
        raise MissingInput(
            seen=f"no file {path}", allowed="a .csv of matches or a .h5 of descriptors", remedy="check it"
        )
    disc = given_disc(data)
    if against is not None:
        with open_descriptors(against):
            pass
    findings = examine_file(path, phase=phase, disc=disc, against=against)
    if probe is not None:
        if disc is None or phase is None:
            raise BadInput(
                seen="--pipeline without --data and --phase",
                allowed="experiments on images of a known phase",
                remedy="pass --data DIR and --phase 1 or 2",
            )
        findings = _with_experiments(findings, path, phase, disc, probe)
    return table(findings), unbroken(findings)


def _with_experiments(
    findings: list[tuple[Rule, Finding]], path: Path, phase: int, disc: Disc, probe: Probe
) -> list[tuple[Rule, Finding]]:
    """Put what the experiments found in the place of what the file alone could tell."""
    with tempfile.TemporaryDirectory(prefix="isckit-") as folder:
        workspace = Workspace(Path(folder))
        csv = path.suffix == ".csv"
        place = workspace.matches(phase, path.stem) if csv else workspace.descriptors(phase, path.stem)
        place.parent.mkdir(parents=True)
        place.symlink_to(path.resolve())
        case = Case(workspace, phase, path.stem, disc, probe=probe)
        number, program = ("5.4", independent_pairs) if csv else ("5.5", independent_descriptors)
        found = guarded(program, case)
    return [
        (rule, found if rule.number == number and finding.status != "failed" else finding) for rule, finding in findings
    ]


def examine_file(
    path: Path, *, phase: int | None, disc: Disc | None, against: Path | None = None
) -> list[tuple[Rule, Finding]]:
    """Return one finding for every rule on one submission file, without the pipeline that made it.

    A rule fails where form or numbers cannot come from a pipeline that keeps it; all but form are unknown otherwise.

    Args:
        path: .csv of matches or .h5 of descriptors.
        phase: 1 or 2, where known.
        disc: the image sets, for their ids.
        against: the same system's descriptor file of phase 1.
    """
    matching = path.suffix == ".csv"
    known = ids_of(disc, "references")
    sized = partial(suspect_matches, references=REFERENCES if known is None else len(known))
    suspicions = _suspicions(path, sized if matching else suspect_descriptors)
    found = {"5.7": _form(path, phase, disc)}
    for number in ("5.4",) if matching else ("5.5", "5.5-fit"):
        found[number] = suspected(suspicions, MISSING[number]) if isinstance(suspicions, list) else suspicions
    if phase == 1:
        found["5.8"] = Finding("passed", "proven", "not asked for in phase 1")
    elif phase == 2 and against is not None and not matching:
        found["5.8"] = _same_references(path, against)
    return [(rule, found.get(rule.number) or _unknown(rule.number)) for rule in RULES]


def suspected(suspicions: list[Suspicion], missing: str) -> Finding:
    """Return failed where a test found what an honest pipeline cannot produce; else unknown, for want of `missing`."""
    words = [str(suspicion) for suspicion in suspicions if suspicion.suspicious]
    if words:
        return judged(words, "proven", f"numbers of every row, {len(suspicions)} tests")
    return Finding(
        "unknown", "none", f"nothing suspicious (value/threshold): {'; '.join(map(str, suspicions))}", missing
    )


def _suspicions(path: Path, tests: Callable[[Path], list[Suspicion]]) -> list[Suspicion] | Finding:
    try:
        return tests(path)
    except KitError as error:
        return Finding("unknown", "none", "nothing: the file cannot be read", error.seen)


def _unknown(number: str) -> Finding:
    return Finding("unknown", "none", "nothing", MISSING.get(number, ANYTHING))


def _form(path: Path, phase: int | None, disc: Disc | None) -> Finding:
    faults = file_faults(path, phase=phase, disc=disc)
    sets = "the image sets at hand" if disc else "the ids of DISC21"
    return judged([str(fault) for fault in faults], "proven", f"every row, against {sets}")


def _same_references(path: Path, against: Path) -> Finding:
    """Judge whether the reference vectors are those of phase 1, in any order."""
    try:
        (ids, keys, digest), (old_ids, old_keys, old_digest) = map(_references, (path, against))
    except KitError as error:
        return Finding("unknown", "none", "nothing: a file cannot be read", error.seen)
    examined = f"{len(ids):,} reference vectors against the {len(old_ids):,} of {against.name}"
    if digest == old_digest:
        return Finding("passed", "sampled", f"{examined}, equal bit for bit", _NOT_COMPARED)
    old = dict(zip(old_ids.tolist(), old_keys.tolist(), strict=True))
    new = dict(zip(ids.tolist(), keys.tolist(), strict=True))
    changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    more = ", ..." if len(changed) > _SHOWN else ""
    return judged([f"{len(changed):,} differ: {', '.join(changed[:_SHOWN])}{more}"], "proven", examined)


def _references(path: Path) -> tuple[np.ndarray, np.ndarray, str]:
    """Ids, a key of each vector, and the order-free digest of the references of a descriptor file."""
    with open_descriptors(path) as (_, references):
        vectors = references.vectors[:]
    keys = [row_keys(vectors[start : start + BLOCK]) for start in range(0, len(vectors), BLOCK)]
    return references.ids, np.concatenate([np.zeros(0, np.uint64), *keys]), rows_digest(references.ids, vectors)
