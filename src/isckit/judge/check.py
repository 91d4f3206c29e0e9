"""Checking a file's form, a submission folder against every rule, and a file made by something else."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from isckit.data.layouts import Disc, open_disc
from isckit.judge.rules.examine import examine, guarded, table, to_json
from isckit.judge.rules.faults import Fault
from isckit.judge.rules.finding import CHECKOUT, Case, Finding, Probe, Rule
from isckit.judge.rules.foreign import examine_file
from isckit.judge.rules.form import file_faults, form_faults
from isckit.judge.rules.independence import independent_descriptors, independent_pairs
from isckit.runs.artifacts import write_json
from isckit.runs.workspace import DESCRIPTORS, MATCHES, RULES, Workspace
from isckit.types import BadInput, MissingInput


def check_folder(
    folder: Path,
    *,
    phase: int | None = None,
    data: Path | None = None,
    against: Path | None = None,
    project: Path | None = None,
    probe: Probe | None = None,
) -> tuple[str, bool]:
    """Check a submission folder against every rule; writes rules.json into it.

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
        MissingInput: it holds no submission.
    """
    workspace, own_phase, name = Workspace.locate(folder)
    if phase not in (None, own_phase):
        raise BadInput(seen=f"--phase {phase} for {folder}", allowed=f"phase {own_phase}", remedy="leave --phase away")
    disc = open_disc(data) if data else None
    case = Case(workspace, own_phase, name, disc, against, project or CHECKOUT, probe)
    form = form_faults(case)
    if not form:
        raise MissingInput(
            seen=f"{folder} holds neither {DESCRIPTORS} nor {MATCHES}",
            allowed="a folder with at least one of them",
            remedy="run isckit descriptor or isckit matching",
        )
    findings = examine(dataclasses.replace(case, form=form))
    clean = _clean(findings)
    faults = {name: [dataclasses.asdict(fault) for fault in found] for name, found in form.items()}
    write_json(folder / RULES, {"form": faults, "rules": to_json(findings), "passed": clean})
    texts = [faults_text(folder / name, found) for name, found in form.items()]
    return "\n".join([*texts, table(findings)]), clean


def check_file(path: Path, *, phase: int | None = None, data: Path | None = None) -> tuple[str, bool]:
    """Check the form of one file. Text for people, and whether it is without fault."""
    disc = open_disc(data) if data else None
    faults = file_faults(path, phase=phase, disc=disc)
    return faults_text(path, faults), not faults


def check_foreign(
    path: Path,
    *,
    phase: int | None = None,
    data: Path | None = None,
    against: Path | None = None,
    probe: Probe | None = None,
) -> tuple[str, bool]:
    """Say of a file made by something else what can be said: from the file alone, and by running its pipeline.

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
    disc = open_disc(data) if data else None
    findings = examine_file(path, phase=phase, disc=disc, against=against)
    if probe is not None:
        if disc is None or phase is None:
            raise BadInput(
                seen="--pipeline without --data and --phase",
                allowed="experiments on images of a known phase",
                remedy="pass --data DIR and --phase 1 or 2",
            )
        findings = _with_experiments(findings, path, phase, disc, probe)
    return table(findings), _clean(findings)


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


def _clean(findings: list[tuple[Rule, Finding]]) -> bool:
    return all(finding.status != "failed" for _, finding in findings)


def faults_text(path: Path, faults: list[Fault]) -> str:
    """Faults of form as lines of text."""
    if not faults:
        return f"{path}: form without fault"
    lines = [f"  {fault}" for fault in faults]
    return "\n".join([f"{path}: {len(faults)} kinds of fault", *lines])
