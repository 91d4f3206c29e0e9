"""The ledger of submissions: what was handed in, when, and what the leaderboard said of it.

It is its owner's word: who can write the file can rewrite it. Source: rule 5.10 of the competition: 3 submissions a
track in phase 2; no limit of phase 1 is documented.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from isckit.runs.artifacts import file_digest, write_text
from isckit.runs.records import Scores, read_json
from isckit.runs.workspace import SCORE, Workspace
from isckit.types import BadInput, MissingInput, RuleViolation

PHASE_2_LIMIT = 3
"""Submissions a track may hand in during phase 2."""
Track = Literal["descriptor", "matching"]
TRACKS: tuple[Track, ...] = get_args(Track)
ScoreShare = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Entry:
    """One line: a hand-in, or what the leaderboard said later of one.

    Attributes:
        number: from 1.
        of: number of the hand-in that this line reports on; None for a hand-in.
        time: UTC, of this machine's clock.
        phase, track, name: the submission.
        sha256, bytes: of the file handed in.
        reported, recall: uAP and Recall@P90, as the leaderboard said.
        note: anything.
    """

    number: int = 0
    of: int | None = None
    time: str
    phase: Literal[1, 2]
    track: Track
    name: str
    sha256: str
    bytes: int
    reported: ScoreShare | None = None
    recall: ScoreShare | None = None
    note: str = ""


def record(
    workspace: Workspace,
    *,
    phase: int,
    name: str,
    track: str,
    reported: float | None = None,
    recall: float | None = None,
    note: str = "",
) -> Entry:
    """Write down that a file is handed in, with its digest as it stands.

    Raises:
        MissingInput: there is no such file.
        BadInput: another track, a score outside of 0 to 1, a ledger with faults.
        RuleViolation: the track has had its hand-ins of phase 2.
    """
    path = submitted(workspace, phase, name, track=track)
    if not path.is_file():
        raise MissingInput(seen=f"no {path}", allowed="a submission file", remedy=f"write it with: isckit {track}")
    values = {"phase": phase, "track": track, "name": name, "sha256": file_digest(path), "bytes": path.stat().st_size}
    said = {"reported": reported, "recall": recall, "note": note}
    with _locked(workspace.ledger):
        used = [e.number for e in hand_ins(entries(workspace.ledger)) if (e.phase, e.track) == (2, track)]
        if phase == 2 and len(used) >= PHASE_2_LIMIT:
            raise RuleViolation(
                seen=f"hand-in {len(used) + 1} of the {track} track in phase 2, after entries {_listed(used)}",
                allowed=f"{PHASE_2_LIMIT} hand-ins a track in phase 2",
                remedy="do not hand it in",
            )
        return _append(workspace.ledger, values | said)


def report(
    workspace: Workspace, number: int, *, reported: float | None = None, recall: float | None = None, note: str = ""
) -> Entry:
    """Write down, as a new line, what the leaderboard said of a hand-in.

    Raises:
        BadInput: there is no hand-in of that number, a score outside of 0 to 1, a ledger with faults.
    """
    if not workspace.ledger.is_file():
        raise MissingInput(
            seen=f"no {workspace.ledger}", allowed="a ledger", remedy="begin it with: isckit ledger add FOLDER"
        )
    with _locked(workspace.ledger):
        known = {entry.number: entry for entry in hand_ins(entries(workspace.ledger))}
        if number not in known:
            raise BadInput(
                seen=f"hand-in {number}",
                allowed=_listed(known) or "no hand-in is recorded yet",
                remedy="see them with: isckit ledger show",
            )
        said = {"reported": reported, "recall": recall, "note": note or None}
        news = {key: value for key, value in said.items() if value is not None}
        return _append(workspace.ledger, dataclasses.asdict(known[number]) | {"of": number} | news)


def submitted(workspace: Workspace, phase: int, name: str, *, track: str) -> Path:
    """Return where the file of a track lies.

    Raises:
        BadInput: it is no track.
    """
    if track not in TRACKS:
        raise BadInput(seen=f"track {track}", allowed=" or ".join(TRACKS), remedy="choose one of them")
    return workspace.descriptors(phase, name) if track == "descriptor" else workspace.matches(phase, name)


def entries(path: Path) -> list[Entry]:
    """Return all lines of a ledger, in order; none where there is no file yet.

    Raises:
        BadInput: lines that are no entries; they are named.
    """
    found, unreadable = [], []
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        try:
            values = json.loads(line)
            assert isinstance(values, dict)
        except (ValueError, AssertionError):
            unreadable.append(number)
            continue
        found.append(_entry(values, path))
    if unreadable:
        raise BadInput(
            seen=f"{path}: no entries are in line {', '.join(map(str, unreadable[:10]))}",
            allowed="one JSON object a line, as the kit wrote it",
            remedy="put the file back from a copy",
        )
    return found


def verify(path: Path) -> list[str]:
    """Return what is wrong with a ledger, in words: entries that are missing, moved or there twice.

    Raises:
        BadInput: lines that are no entries.
    """
    numbers = [entry.number for entry in entries(path)]
    if numbers == list(range(1, len(numbers) + 1)):
        return []
    return [f"entries are numbered {_listed(numbers)}, not from 1 to {len(numbers)}"]


def hand_ins(lines: list[Entry]) -> list[Entry]:
    """Return the hand-ins among the lines of a ledger, each with the score and note that came last."""
    found: dict[int, Entry] = {}
    for entry in lines:
        if entry.of is None:
            found[entry.number] = entry
        elif entry.of in found:
            found[entry.of] = dataclasses.replace(
                found[entry.of], reported=entry.reported, recall=entry.recall, note=entry.note
            )
    return list(found.values())


def table(workspace: Workspace) -> str:
    """Return the hand-ins as lines of text: local uAP and Recall@P90 beside the reported ones; "-" where unknown.

    A local score counts only where it is that of the very file handed in.
    """
    handed = hand_ins(entries(workspace.ledger))
    head = ("no.", "time", "phase", "track", "name", "sha256", "uAP", "reported", "R@P90", "reported", "note")
    rows = [head, *(_row(workspace, entry) for entry in handed)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    used = {track: sum((e.phase, e.track) == (2, track) for e in handed) for track in TRACKS}
    spent = ", ".join(f"{track} {n} of {PHASE_2_LIMIT}" for track, n in used.items())
    return "\n".join([*lines, f"phase 2: {spent}; phase 1: no limit is documented"])


def _row(workspace: Workspace, entry: Entry) -> tuple[str, ...]:
    file = submitted(workspace, entry.phase, entry.name, track=entry.track)
    scores = file.with_name(SCORE)
    score = read_json(scores, Scores).get(entry.track, {}) if scores.is_file() else {}
    if score.get("inputs", {}).get(file.name) != entry.sha256:
        score = {}
    figures = (score.get("average_precision"), entry.reported, score.get("recall_at_p90"), entry.recall)
    shown = ("-" if figure is None else f"{figure:.4f}" for figure in figures)
    who = (str(entry.number), entry.time, str(entry.phase), entry.track, entry.name, entry.sha256[:12])
    return (*who, *shown, entry.note)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time look at the ledger and add to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _append(path: Path, values: dict[str, Any]) -> Entry:
    """Add a line with its number and the time; the file is replaced as a whole, or not at all."""
    if faults := verify(path):
        raise BadInput(
            seen=f"{path}: {faults[0]}",
            allowed="the file as the kit wrote it",
            remedy="put it back from a copy; nothing was added",
        )
    known = entries(path)
    time = datetime.now(UTC).isoformat(timespec="seconds")
    entry = _entry(values | {"number": len(known) + 1, "time": time}, path)
    lines = [json.dumps(dataclasses.asdict(line), sort_keys=True) for line in (*known, entry)]
    write_text(path, "\n".join(lines) + "\n")
    return entry


def _entry(values: dict[str, Any], path: Path) -> Entry:
    try:
        return TypeAdapter(Entry).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(
            seen=f"{path}, entry {values.get('number', 'to be written')}: {'.'.join(map(str, first['loc']))} = "
            f"{first.get('input')!r}: {first['msg']}",
            allowed="an entry of this kit's ledger; scores from 0 to 1",
            remedy="correct the value, or put the file back from a copy",
        ) from None


def _listed(numbers: Any) -> str:
    return ", ".join(map(str, numbers))
