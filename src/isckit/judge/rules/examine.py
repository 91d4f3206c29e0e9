"""Every rule of the competition on one submission: none stops the others; each says how far its evidence reaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from textwrap import fill
from typing import Any

from isckit.data.containers import some
from isckit.data.layouts import given_disc
from isckit.judge.freeze import edits, read_freeze
from isckit.judge.ledger import PHASE_2_LIMIT, TRACKS, Entry, entries, hand_ins, submitted, verify
from isckit.judge.rules.annotation import no_annotation
from isckit.judge.rules.finding import CHECKOUT, Case, Fault, Finding, Probe, Rule, judged
from isckit.judge.rules.fitting import fitted_on_train
from isckit.judge.rules.form import file_faults
from isckit.judge.rules.independence import independent_descriptors, independent_pairs
from isckit.judge.rules.package import external_data, winners_duties
from isckit.judge.rules.training import no_augmentation, public_pairs
from isckit.judge.state import WORDS, compare, state
from isckit.runs.artifacts import broken_images, file_digest, write_json
from isckit.runs.workspace import DESCRIPTORS, MATCHES, Workspace
from isckit.runs.workspace import RULES as RULES_FILE
from isckit.types import BadInput, KitError, MissingInput


def frozen(case: Case) -> Finding:
    """Judge rule 5.8: everything that phase 1 deposited is still as it was: every file and value that changed is named.

    The deposited file counts where one is given, else the freeze beside the weights, which proves no time.
    """
    if case.phase == 1:
        return Finding("passed", "proven", "not asked for in phase 1")
    path = case.against or case.workspace.freeze(case.name)
    if not path.is_file():
        return Finding("failed", "none", f"no {path}", "nothing says what phase 1 deposited")
    record, descriptors = read_freeze(path), case.workspace.descriptors(2, case.name)
    now = state(case.workspace, case.name, descriptors=descriptors)
    references = (
        f"and the reference descriptors recomputed from {descriptors.name}"
        if now["reference_rows"]
        else f"but no reference descriptors, as there is no {descriptors.name}"
    )
    further = len(now["artifacts"].keys() - WORDS.keys())
    more = f"{further} more fitted files, " if further else ""
    examined = (
        f"weights, PCA, bank, {more}recipe, {len(now['code'])} code files, {len(now['environment'])} versions "
        f"{references}, against {path.name} of {record['time']}"
    )
    note = f"seal {record['seal']}" if case.against else "the freeze beside the weights, which nobody else holds"
    return judged(edits(path, record) + compare(record, now), "proven", examined, note=note)


def submission_count(case: Case) -> Finding:
    """Judge rule 5.10: at most three hand-ins a track in phase 2, none of them removed, and the files as they were last
    handed in.
    """
    path = case.workspace.ledger
    problems, handed = verify(path), hand_ins(entries(path))
    if not handed and not problems:
        return Finding("passed", "declared", "no hand-in recorded")
    for track in TRACKS:
        late = [entry.number for entry in handed if (entry.phase, entry.track) == (2, track)]
        if len(late) > PHASE_2_LIMIT:
            numbers = ", ".join(map(str, late))
            problems.append(
                f"{len(late)} phase-2 hand-ins of the {track} track (entries {numbers}), {PHASE_2_LIMIT} are allowed"
            )
        mine = [entry for entry in handed if (entry.phase, entry.track, entry.name) == (case.phase, track, case.name)]
        problems += _changed(case, mine[-1]) if mine else []
    first = sum(entry.phase == 1 for entry in handed)
    examined = (
        f"{path.name}: {first} hand-ins in phase 1, where no limit is documented, {len(handed) - first} in phase 2"
    )
    return judged(problems, "declared", examined)


def _changed(case: Case, entry: Entry) -> list[str]:
    """Return the problem where the file of the last hand-in is another one now, or gone."""
    path = submitted(case.workspace, case.phase, case.name, track=entry.track)
    if not path.is_file():
        return [f"{path.name} is gone, handed in as entry {entry.number}"]
    if (now := file_digest(path)) != entry.sha256:
        return [f"{path.name} was changed after entry {entry.number}: {entry.sha256[:12]} there, {now[:12]} now"]
    return []


def limits_on_form(case: Case) -> Finding:
    """Judge rule 5.7: both files keep to the official formats and limits."""
    faults = form_faults(case) if case.form is None else case.form
    problems = [f"{name}: {fault}" for name, found in faults.items() for fault in found]
    against = "the image sets at hand" if case.disc else "the ids of DISC21"
    broken = {image for name in faults for found in broken_images(case.folder / name).values() for image in found}
    note = f"{len(broken)} images do not decode and match nothing: {some(sorted(broken))}" if broken else ""
    return judged(problems, "proven", f"every row of {' and '.join(faults)}, against {against}", note=note)


def form_faults(case: Case) -> dict[str, list[Fault]]:
    """Return the faults of each submission file that is there."""
    paths = (case.workspace.descriptors(case.phase, case.name), case.workspace.matches(case.phase, case.name))
    return {path.name: file_faults(path, phase=case.phase, disc=case.disc) for path in paths if path.is_file()}


WIDTH = 120
"""Columns of the table."""
RULES = (
    Rule("5.1", "no-augmentation", "no image made from a query or reference trains anything", no_augmentation),
    Rule("5.2", "public-pairs", "public pairs may train; labels of the other half and of phase 2 not", public_pairs),
    Rule("5.3", "no-annotation", "nobody labelled images of phase 2", no_annotation),
    Rule("5.4", "pair-independence", "a score depends on its own query and reference only", independent_pairs),
    Rule("5.5", "independence", "a descriptor depends on its own image only", independent_descriptors),
    Rule("5.5-fit", "fitted-on-train", "whatever is fitted is fitted on train images", fitted_on_train),
    Rule("5.6", "external-data", "what comes from outside is named, with its licence", external_data),
    Rule("5.7", "form", "the files keep to the official formats and limits", limits_on_form),
    Rule("5.8", "phase-2-freeze", "phase 2 uses what phase 1 deposited", frozen),
    Rule("5.9", "winners-duties", "what winners must publish can be published", winners_duties),
    Rule("5.10", "submission-count", "at most three hand-ins a track in phase 2", submission_count),
)


def examine(case: Case) -> list[tuple[Rule, Finding]]:
    """Run every rule on a submission; a rule whose program meets a fault of the submission has failed."""
    return [(rule, guarded(rule.program, case)) for rule in RULES]


def guarded(program: Callable[[Case], Finding], case: Case) -> Finding:
    """Return what a rule's program finds; a fault of the submission that stops it is a failure."""
    try:
        return program(case)
    except KitError as error:
        return Finding("failed", "none", "nothing", error.seen)


def to_json(findings: list[tuple[Rule, Finding]]) -> list[dict[str, Any]]:
    """Return findings as plain values."""
    return [
        {"rule": rule.number, "title": rule.title, "statement": rule.statement} | asdict(finding)
        for rule, finding in findings
    ]


def table(findings: list[tuple[Rule, Finding]]) -> str:
    """Return findings as lines of text; what was found wrong, or is worth knowing, stands below what was examined."""
    lines = ["rules (evidence: proven, sampled, declared or none)"]
    for rule, found in findings:
        status = "FAILED" if found.status == "failed" else found.status
        head = f"  {status:8} {rule.number:7} {rule.title:17} {found.level:9} "
        lines.append(fill(found.examined, WIDTH, initial_indent=head, subsequent_indent=" " * len(head)))
        if found.detail:
            mark = " " * (len(head) - 3) + "-> "
            lines.append(fill(found.detail, WIDTH, initial_indent=mark, subsequent_indent=" " * len(head)))
    return "\n".join(lines)


def check_folder(
    folder: Path,
    *,
    phase: int | None = None,
    data: Path | None = None,
    against: Path | None = None,
    project: Path | None = None,
    probe: Probe | None = None,
) -> tuple[str, bool]:
    """Check a submission folder against every rule; write rules.json into it.

    Args:
        folder: submissions/phaseN/NAME.
        phase: what the user takes it for; None where the folder is to say.
        data: the images, for the form's ids and for experiments.
        against: a freeze file deposited elsewhere.
        project: the package that winners would publish; the kit's checkout by default.
        probe: how to run the pipeline in experiments.

    Returns:
        Text for people, and whether no rule is broken.

    Raises:
        BadInput: it is no submission folder, or one of another phase.
        MissingInput: it holds no submission; there is no such freeze or package.
    """
    workspace, own_phase, name = Workspace.locate(folder)
    if phase not in (None, own_phase):
        raise BadInput(seen=f"--phase {phase} for {folder}", allowed=f"phase {own_phase}", remedy="leave --phase away")
    disc = given_disc(data)
    if against is not None:
        read_freeze(against)
    if project is not None and not project.is_dir():
        raise MissingInput(seen=f"no folder {project}", allowed="a package's folder", remedy="correct --project")
    case = Case(workspace, own_phase, name, disc, against, project or CHECKOUT, probe)
    form = form_faults(case)
    if not form:
        raise MissingInput(
            seen=f"{folder} holds neither {DESCRIPTORS} nor {MATCHES}",
            allowed="a folder with at least one of them",
            remedy="run isckit descriptor or isckit matching",
        )
    findings = examine(replace(case, form=form))
    passed = unbroken(findings)
    faults = {name: [asdict(fault) for fault in found] for name, found in form.items()}
    write_json(folder / RULES_FILE, {"form": faults, "rules": to_json(findings), "passed": passed})
    texts = [faults_text(folder / name, found) for name, found in form.items()]
    return "\n".join([*texts, table(findings)]), passed


def check_file(path: Path, *, phase: int | None = None, data: Path | None = None) -> tuple[str, bool]:
    """Check the form of one file; return text for people, and whether it is without fault."""
    disc = given_disc(data)
    faults = file_faults(path, phase=phase, disc=disc)
    return faults_text(path, faults), not faults


def unbroken(findings: list[tuple[Rule, Finding]]) -> bool:
    """Return whether no rule is broken, as far as can be seen."""
    return all(finding.status != "failed" for _, finding in findings)


def faults_text(path: Path, faults: list[Fault]) -> str:
    """Return faults of form as lines of text."""
    if not faults:
        return f"{path}: form without fault"
    lines = [f"  {fault}" for fault in faults]
    return "\n".join([f"{path}: {len(faults)} kinds of fault", *lines])
